//! The types of calls that a listener takes.

use sqlx::FromRow;

use super::ProfileError;

/// The type of a call.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CallType {
    /// Voice.
    Audio,
    /// Voice and picture.
    Video,
}

impl CallType {
    /// Parses the name of a type.
    pub fn parse(name: &str) -> Result<Self, ProfileError> {
        match name {
            "audio" => Ok(Self::Audio),
            "video" => Ok(Self::Video),
            _ => Err(ProfileError::InvalidCallType),
        }
    }
}

/// The types of calls that a listener takes; at least one of them.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
pub struct ListenerPreferences {
    /// Whether the listener takes audio calls.
    pub audio_enabled: bool,
    /// Whether the listener takes video calls.
    pub video_enabled: bool,
}

/// A change of preferences; a field that is `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ListenerPreferencesUpdate {
    /// Whether the listener is to take audio calls.
    pub audio_enabled: Option<bool>,
    /// Whether the listener is to take video calls.
    pub video_enabled: Option<bool>,
}

impl ListenerPreferences {
    /// Returns the preferences after an update. Refused when the update is empty or would disable both types.
    pub fn updated(self, update: ListenerPreferencesUpdate) -> Result<Self, ProfileError> {
        let updated = Self {
            audio_enabled: update.audio_enabled.unwrap_or(self.audio_enabled),
            video_enabled: update.video_enabled.unwrap_or(self.video_enabled),
        };
        let is_any_enabled = updated.audio_enabled || updated.video_enabled;
        if update == ListenerPreferencesUpdate::default() || !is_any_enabled {
            return Err(ProfileError::InvalidPreferences);
        }
        Ok(updated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_one_type_of_call_stays_enabled() {
        let only_video = ListenerPreferences {
            audio_enabled: false,
            video_enabled: true,
        };
        let update = |audio_enabled, video_enabled| {
            let update = ListenerPreferencesUpdate {
                audio_enabled,
                video_enabled,
            };
            only_video.updated(update).ok()
        };
        assert_eq!(update(None, None), None);
        assert_eq!(update(None, Some(false)), None);
        assert_eq!(update(Some(false), Some(false)), None);
        assert_eq!(update(Some(false), None), Some(only_video));
        let only_audio = ListenerPreferences {
            audio_enabled: true,
            video_enabled: false,
        };
        assert_eq!(update(Some(true), Some(false)), Some(only_audio));
    }
}
