//! Days of badges, which are calendar days in India.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
pub use talktime_kit::india::{begins_at, date};

/// Delay after midnight with which badges are assigned.
const ASSIGNED_AFTER: TimeDelta = TimeDelta::minutes(1);

/// Returns the newest date whose badges are due: today from 00:01 on.
pub fn assigned_date(now: DateTime<Utc>) -> NaiveDate {
    date(now - ASSIGNED_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn badges_are_assigned_a_minute_after_midnight() {
        let instant = |text: &str| -> DateTime<Utc> { text.parse().expect("RFC 3339") };
        let day = |day| NaiveDate::from_ymd_opt(2026, 11, day).expect("a date");
        assert_eq!(assigned_date(instant("2026-11-23T18:30:59Z")), day(23));
        assert_eq!(assigned_date(instant("2026-11-23T18:31:00Z")), day(24));
    }
}
