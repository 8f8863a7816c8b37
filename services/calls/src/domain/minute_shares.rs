//! Splits what happened between two reports over the minutes of a call.

use chrono::{DateTime, TimeDelta, Utc};

/// Longest time between two reports that is split, so that a report adds to few minutes. Of a longer one the end
/// counts.
const SPLIT_MAX: TimeDelta = TimeDelta::minutes(10);
/// Minutes that one report adds to at most, also where minutes are short.
const MINUTES_MAX: usize = 64;

/// The part of an interval that lies in one minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinuteShare {
    /// From 1.
    pub minute: i32,
    /// Length of the part in seconds.
    pub secs: f64,
    /// Length of the part relative to the interval, from 0 to 1.
    pub fraction: f64,
}

impl MinuteShare {
    /// The part of a count that belongs to this minute, if it grew evenly over the interval.
    pub fn part_of(&self, count: i64) -> i64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "counts of packets are far below 2^52"
        )]
        let part = (count as f64 * self.fraction).round() as i64;
        part
    }
}

/// Splits the interval over the minutes of a call that began at `start`. What precedes the start belongs to none.
pub fn split_by_minute(
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    start: DateTime<Utc>,
    minute_secs: i32,
) -> Vec<MinuteShare> {
    let from = from.max(to - SPLIT_MAX);
    let total_secs = secs(to - from);
    if total_secs <= 0.0 || to <= start {
        return vec![];
    }
    let mut shares = Vec::new();
    let mut begin = from.max(start);
    while begin < to && shares.len() < MINUTES_MAX {
        let before = (begin - start).num_milliseconds() / (i64::from(minute_secs) * 1_000);
        let minute_end = start + TimeDelta::seconds((before + 1) * i64::from(minute_secs));
        let end = minute_end.min(to);
        let part_secs = secs(end - begin);
        shares.push(MinuteShare {
            minute: i32::try_from(before + 1).unwrap_or(i32::MAX),
            secs: part_secs,
            fraction: part_secs / total_secs,
        });
        begin = end;
    }
    shares
}

fn secs(length: TimeDelta) -> f64 {
    length.as_seconds_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + secs, 0).expect("valid")
    }

    fn minutes(from: i64, to: i64) -> Vec<(i32, i64)> {
        let shares = split_by_minute((at(from), at(to)), at(0), 60);
        shares
            .iter()
            .map(|share| (share.minute, share.part_of(100)))
            .collect()
    }

    #[test]
    fn a_report_within_a_minute_belongs_to_it() {
        assert_eq!(minutes(10, 20), [(1, 100)]);
        assert_eq!(minutes(60, 70), [(2, 100)]);
        assert_eq!(minutes(50, 60), [(1, 100)]);
    }

    #[test]
    fn a_report_across_minutes_is_split_by_time() {
        assert_eq!(minutes(55, 65), [(1, 50), (2, 50)]);
        assert_eq!(minutes(50, 200), [(1, 7), (2, 40), (3, 40), (4, 13)]);
    }

    #[test]
    fn time_before_the_start_belongs_to_no_minute() {
        assert_eq!(minutes(-10, 10), [(1, 50)]);
        assert_eq!(minutes(-10, 0), []);
        assert_eq!(minutes(20, 20), []);
        assert_eq!(minutes(20, 10), []);
    }

    #[test]
    fn a_long_gap_is_bounded() {
        let shares = split_by_minute((at(0), at(86_400)), at(0), 60);
        assert_eq!(shares.len(), 10);
        assert_eq!(shares.last().map(|share| share.minute), Some(1_440));
        assert!(split_by_minute((at(0), at(600)), at(0), 1).len() <= MINUTES_MAX);
    }
}
