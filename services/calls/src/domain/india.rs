//! Days as they are counted in India: the platform's day is that of its people.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime, TimeDelta, Utc};

/// Five and a half hours ahead all year round: India has had no daylight saving time since 1945, so a
/// table of time zones would say the same.
const OFFSET: FixedOffset = FixedOffset::east_opt(5 * 3_600 + 1_800).expect("below a day");

/// How long after midnight badges are given.
const ASSIGNED_AFTER: TimeDelta = TimeDelta::minutes(1);

/// The date in India.
pub fn date(at: DateTime<Utc>) -> NaiveDate {
    at.with_timezone(&OFFSET).date_naive()
}

/// When a date begins in India.
pub fn begins_at(date: NaiveDate) -> DateTime<Utc> {
    let midnight = date.and_time(NaiveTime::MIN).and_utc();
    midnight - TimeDelta::seconds(OFFSET.local_minus_utc().into())
}

/// The last date whose badges are to be given by now: from 00:01 on, today.
pub fn assigned_date(now: DateTime<Utc>) -> NaiveDate {
    date(now - ASSIGNED_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("RFC 3339")
    }

    fn day(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, day).expect("a date")
    }

    #[test]
    fn a_day_begins_at_half_past_six_in_the_evening_utc() {
        assert_eq!(date(at("2026-11-23T18:29:59Z")), day(23));
        assert_eq!(date(at("2026-11-23T18:30:00Z")), day(24));
        assert_eq!(begins_at(day(24)), at("2026-11-23T18:30:00Z"));
    }

    #[test]
    fn badges_are_given_a_minute_after_midnight() {
        assert_eq!(assigned_date(at("2026-11-23T18:30:59Z")), day(23));
        assert_eq!(assigned_date(at("2026-11-23T18:31:00Z")), day(24));
    }
}
