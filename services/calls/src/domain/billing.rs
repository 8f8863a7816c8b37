//! Billing of minutes: a minute that has begun counts (contract, section 7).

use chrono::{DateTime, TimeDelta, Utc};

/// Duration of a call for billing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BilledDuration {
    /// Seconds, rounded up.
    pub seconds: i64,
    /// Minutes to bill: `max(1, ceil(seconds / minute_secs))`.
    pub minutes: i32,
}

/// Computes the billed duration between two instants. If the end is before the start, the duration is zero
/// and costs one minute.
pub fn billed_duration(
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    minute_secs: i32,
) -> BilledDuration {
    let talked = (end - start).max(TimeDelta::zero());
    let seconds = ceil_div(talked.num_milliseconds(), 1_000);
    let minutes = ceil_div(seconds, i64::from(minute_secs)).max(1);
    BilledDuration {
        seconds,
        minutes: i32::try_from(minutes).unwrap_or(i32::MAX),
    }
}

fn ceil_div(amount: i64, unit: i64) -> i64 {
    amount.div_euclid(unit) + i64::from(amount.rem_euclid(unit) > 0)
}

/// Counts the whole minutes that a balance pays for, beyond those already paid.
pub fn count_affordable_minutes(balance_coins: i64, coins_per_minute: i64) -> i64 {
    balance_coins / coins_per_minute.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_ms(ms: i64) -> BilledDuration {
        let start = DateTime::from_timestamp(1_800_000_000, 0).expect("valid");
        billed_duration(start, start + TimeDelta::milliseconds(ms), 60)
    }

    #[test]
    fn a_started_minute_counts() {
        assert_eq!(
            after_ms(0),
            BilledDuration {
                seconds: 0,
                minutes: 1
            }
        );
        assert_eq!(
            after_ms(59_001),
            BilledDuration {
                seconds: 60,
                minutes: 1
            }
        );
        assert_eq!(
            after_ms(60_000),
            BilledDuration {
                seconds: 60,
                minutes: 1
            }
        );
        assert_eq!(
            after_ms(60_001),
            BilledDuration {
                seconds: 61,
                minutes: 2
            }
        );
        assert_eq!(
            after_ms(150_000),
            BilledDuration {
                seconds: 150,
                minutes: 3
            }
        );
    }

    #[test]
    fn a_clock_that_went_back_costs_one_minute() {
        assert_eq!(
            after_ms(-5_000),
            BilledDuration {
                seconds: 0,
                minutes: 1
            }
        );
    }

    #[test]
    fn affordable_minutes_are_whole() {
        assert_eq!(count_affordable_minutes(29, 10), 2);
        assert_eq!(count_affordable_minutes(9, 10), 0);
    }
}
