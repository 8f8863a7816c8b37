//! Samples and the verification of a listener that follows from them.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::ReviewState;

/// The location of a sample's audio.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AudioLocation {
    /// The key of an object in our bucket.
    Object(String),
    /// An https address on another host.
    Address(String),
}

impl AudioLocation {
    /// Parses the column `audio_url`.
    pub fn from_column(text: String) -> Self {
        if text.starts_with("https://") {
            Self::Address(text)
        } else {
            Self::Object(text)
        }
    }
}

/// A sample that a listener has submitted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AudioSample {
    pub verification_id: i64,
    pub user_id: i64,
    pub location: AudioLocation,
    pub state: ReviewState,
    pub submitted_at: DateTime<Utc>,
    pub reviewed_at: Option<DateTime<Utc>>,
    pub reviewer_id: Option<i64>,
    pub reviewer_notes: Option<String>,
    pub description: Option<String>,
}

/// Numbers of a listener's samples.
#[derive(Clone, Copy, Debug, Default, Eq, FromRow, PartialEq)]
pub struct SampleCounts {
    pub total: i64,
    pub approved: i64,
    pub rejected: i64,
}

/// Whether a listener is verified, for services that keep a copy.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
pub struct ListenerVerificationState {
    pub user_id: i64,
    pub is_verified: bool,
    /// Version of the listener's latest event.
    pub version: i64,
}

/// The state of a listener's verification.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ListenerVerification {
    pub sample_count: i64,
    /// Whether a sample was approved and the approval was not revoked. A later sample that is pending or
    /// rejected does not change this.
    pub is_verified: bool,
    pub newest_sample: Option<AudioSample>,
}

impl ListenerVerification {
    /// Returns the name on the wire: the state of the newest sample, or `revoked` if its approval was revoked.
    pub fn status_name(&self) -> &'static str {
        match &self.newest_sample {
            None => "not_submitted",
            Some(sample) if sample.state == ReviewState::Approved && !self.is_verified => "revoked",
            Some(sample) => sample.state.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_without_samples_has_not_submitted() {
        let verification = ListenerVerification::default();
        assert_eq!(verification.status_name(), "not_submitted");
        assert!(!verification.is_verified);
    }

    #[test]
    fn addresses_and_keys_are_distinguished() {
        let address = "https://cdn.example/a.mp3".to_owned();
        let location = AudioLocation::from_column(address.clone());
        assert_eq!(location, AudioLocation::Address(address));
        let key = "verification-audio/7/1700000000_ab.mp3".to_owned();
        let location = AudioLocation::from_column(key.clone());
        assert_eq!(location, AudioLocation::Object(key));
    }
}
