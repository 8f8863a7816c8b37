//! How busy the platform is, and how much of it everybody may know.

use sqlx::FromRow;

/// The step to which numbers of calls are rounded down for everybody, and the greatest number that they see.
const CALL_STEP: i64 = 10;
const CALLS_SHOWN_MAX: i64 = 100;
/// The same for coins.
const COIN_STEP: i64 = 100;
const COINS_SHOWN_MAX: i64 = 1_000;

/// Activity of the platform.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
pub struct PlatformActivity {
    /// Calls that are live now.
    pub active_calls: i64,
    /// Calls that began since midnight in India.
    pub calls_today: i64,
    /// Mean of those of today that ended.
    pub avg_duration_seconds: i64,
    /// Coins of the calls of today.
    pub coins_processed: i64,
}

impl PlatformActivity {
    /// Returns what users may know: how quiet a quiet platform is, and not how much business a busy one does.
    #[must_use]
    pub fn coarsen(self) -> Self {
        let round_calls = |calls| round_down(calls, CALL_STEP).min(CALLS_SHOWN_MAX);
        Self {
            active_calls: round_calls(self.active_calls),
            calls_today: round_calls(self.calls_today),
            coins_processed: round_down(self.coins_processed, COIN_STEP).min(COINS_SHOWN_MAX),
            ..self
        }
    }
}

fn round_down(number: i64, step: i64) -> i64 {
    number - number.rem_euclid(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_learn_how_quiet_the_platform_is_and_not_how_busy() {
        let quiet = PlatformActivity {
            active_calls: 9,
            calls_today: 27,
            avg_duration_seconds: 61,
            coins_processed: 540,
        };
        let coarse = PlatformActivity {
            active_calls: 0,
            calls_today: 20,
            avg_duration_seconds: 61,
            coins_processed: 500,
        };
        assert_eq!(quiet.coarsen(), coarse);
        for factor in [100, 10_000] {
            let busy = PlatformActivity {
                active_calls: 9 * factor,
                calls_today: 27 * factor,
                coins_processed: 540 * factor,
                ..quiet
            };
            let capped = PlatformActivity {
                active_calls: 100,
                calls_today: 100,
                coins_processed: 1_000,
                ..quiet
            };
            assert_eq!(busy.coarsen(), capped);
        }
    }
}
