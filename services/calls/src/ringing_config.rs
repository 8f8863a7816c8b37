//! Settings of calls that ring before they begin.

use anyhow::ensure;
use serde::Deserialize;

use crate::domain::CallError;
use crate::domain::call::CallMedia;

/// Longest ring in seconds.
const RING_SECS_MAX: i32 = 120;

/// Settings of calls that ring before they begin.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct RingingConfig {
    /// Whether every call must ring, so that a start at once is refused.
    pub required: bool,
    /// Time in seconds after which a ring ends by itself.
    pub ring_secs: i32,
    /// Time in seconds within which a device of the listener must ring.
    pub reach_secs: i32,
    /// Time in seconds within which the platform's media must connect both parties of an accepted call.
    pub connect_secs: i32,
    /// Minutes for which the caller must have coins when the call rings.
    pub min_minutes: u32,
    /// Unanswered rings of a caller for the same listener within the window, after which the caller has to
    /// wait.
    pub rings_per_pair: i64,
    /// Unanswered rings of a caller within the window, after which the caller has to wait.
    pub rings_per_caller: i64,
    /// Length of that window in minutes.
    pub window_mins: i32,
    /// Rings that a listener may let go by, one after another, before they take no more calls. Zero: any
    /// number.
    pub auto_pause_after: i32,
    /// Time in seconds for which the caller may show no sign of life when the listener accepts. Apps without a
    /// socket send a heartbeat a minute, and one of them may be late: a shorter time would end rings of callers
    /// who are still there.
    pub caller_silence_secs: i32,
    /// Whether the platform has a media engine, which carries calls that ring unless the app has media of its
    /// own.
    pub platform_media: bool,
}

impl Default for RingingConfig {
    fn default() -> Self {
        Self {
            required: false,
            ring_secs: 40,
            reach_secs: 15,
            connect_secs: 25,
            min_minutes: 1,
            rings_per_pair: 3,
            rings_per_caller: 20,
            window_mins: 10,
            auto_pause_after: 3,
            caller_silence_secs: 90,
            platform_media: false,
        }
    }
}

impl RingingConfig {
    /// Refuses settings under which no call could ring.
    pub(crate) fn validate(&self) -> anyhow::Result<()> {
        ensure!(
            (1..=RING_SECS_MAX).contains(&self.ring_secs),
            "TALKTIME_CALLS__RINGING__RING_SECS must be 1 to {RING_SECS_MAX}"
        );
        ensure!(
            (1..=self.ring_secs).contains(&self.reach_secs),
            "TALKTIME_CALLS__RINGING__REACH_SECS must be 1 to RING_SECS"
        );
        ensure!(
            self.connect_secs > 0 && self.caller_silence_secs > 0 && self.window_mins > 0,
            "times of TALKTIME_CALLS__RINGING must be above zero"
        );
        ensure!(
            self.rings_per_pair > 0 && self.rings_per_caller > 0 && self.auto_pause_after >= 0,
            "limits of TALKTIME_CALLS__RINGING must be above zero"
        );
        Ok(())
    }

    /// Returns who carries a call, or refuses one that this platform does not take.
    pub(crate) fn choose_media(
        &self,
        rings: bool,
        requested: Option<CallMedia>,
    ) -> Result<CallMedia, CallError> {
        if self.required && !rings {
            return Err(CallError::RingRequired);
        }
        let by_default = if self.platform_media && rings {
            CallMedia::Platform
        } else {
            CallMedia::Own
        };
        match requested.unwrap_or(by_default) {
            CallMedia::Platform if !self.platform_media || !rings => {
                Err(CallError::MediaUnavailable)
            }
            media => Ok(media),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(
        config: RingingConfig,
        (rings, requested): (bool, Option<CallMedia>),
    ) -> Result<CallMedia, String> {
        let chosen = config.choose_media(rings, requested);
        chosen.map_err(|error| talktime_kit::Error::from(error).code().to_owned())
    }

    #[test]
    fn the_platform_carries_rings_where_it_has_an_engine_unless_the_app_does() {
        let without = RingingConfig::default();
        let with = RingingConfig {
            platform_media: true,
            ..without
        };
        let (own, platform) = (Some(CallMedia::Own), Some(CallMedia::Platform));
        assert_eq!(chosen(without, (true, None)), Ok(CallMedia::Own));
        assert_eq!(chosen(with, (true, None)), Ok(CallMedia::Platform));
        assert_eq!(chosen(with, (true, own)), Ok(CallMedia::Own));
        assert_eq!(chosen(with, (false, None)), Ok(CallMedia::Own));
        let unavailable = Err("media_unavailable".to_owned());
        assert_eq!(chosen(without, (true, platform)), unavailable);
        assert_eq!(chosen(with, (false, platform)), unavailable);
    }

    #[test]
    fn a_call_that_does_not_ring_is_refused_where_every_call_must() {
        let required = RingingConfig {
            required: true,
            ..RingingConfig::default()
        };
        let refused = Err("ring_required".to_owned());
        assert_eq!(chosen(required, (false, None)), refused);
        assert_eq!(chosen(required, (true, None)), Ok(CallMedia::Own));
    }

    #[test]
    fn the_default_settings_are_valid() {
        assert!(RingingConfig::default().validate().is_ok());
    }
}
