//! Settings of calls that ring before they begin.

use anyhow::ensure;
use serde::Deserialize;

use crate::domain::CallError;

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

    /// Refuses a call that does not ring where every call must.
    pub(crate) fn check_ring(&self, rings: bool) -> Result<(), CallError> {
        if self.required && !rings {
            return Err(CallError::RingRequired);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_does_not_ring_is_refused_where_every_call_must() {
        let required = RingingConfig {
            required: true,
            ..RingingConfig::default()
        };
        let (with_ring, without_ring) = (true, false);
        assert!(matches!(
            required.check_ring(without_ring),
            Err(CallError::RingRequired)
        ));
        assert!(required.check_ring(with_ring).is_ok());
        assert!(RingingConfig::default().check_ring(without_ring).is_ok());
    }

    #[test]
    fn the_default_settings_are_valid() {
        assert!(RingingConfig::default().validate().is_ok());
    }
}
