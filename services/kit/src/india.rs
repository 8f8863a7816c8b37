//! Calendar days in India, since the day of the platform is that of its users.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime, TimeDelta, Utc};

/// Five and a half hours ahead all year round: India has had no daylight saving time since 1945, so a
/// table of time zones would say the same.
const OFFSET: FixedOffset = FixedOffset::east_opt(5 * 3_600 + 1_800).expect("below a day");

/// Returns the date in India at an instant.
pub fn date(at: DateTime<Utc>) -> NaiveDate {
    at.with_timezone(&OFFSET).date_naive()
}

/// Returns the instant at which a date begins in India.
pub fn begins_at(date: NaiveDate) -> DateTime<Utc> {
    let midnight = date.and_time(NaiveTime::MIN).and_utc();
    midnight - TimeDelta::seconds(OFFSET.local_minus_utc().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_half_past_six_in_the_evening_utc() {
        let instant = |text: &str| -> DateTime<Utc> { text.parse().expect("RFC 3339") };
        let day = |day| NaiveDate::from_ymd_opt(2026, 11, day).expect("a date");
        assert_eq!(date(instant("2026-11-23T18:29:59Z")), day(23));
        assert_eq!(date(instant("2026-11-23T18:30:00Z")), day(24));
        assert_eq!(begins_at(day(24)), instant("2026-11-23T18:30:00Z"));
    }
}
