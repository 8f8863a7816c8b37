//! Minutes: a started minute counts (contract, section 7).

use chrono::{DateTime, TimeDelta, Utc};

/// How long a call was, as it is billed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BilledDuration {
    /// Begun seconds.
    pub seconds: i64,
    /// `max(1, ceil(seconds / minute_secs))`.
    pub minutes: i32,
}

/// The duration of a call between two instants. An end before the start is a call of no length,
/// which costs its first minute.
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

/// Whole minutes that a balance pays for on top of those paid.
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
