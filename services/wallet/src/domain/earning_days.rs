//! Earnings of a listener by day, in days of India.

use std::ops::RangeInclusive;

use chrono::{Datelike, Days, NaiveDate};

use super::WalletError;

/// Days that one summary covers, at most: a quarter.
const RANGE_DAYS_MAX: u64 = 92;
/// Days that a summary covers if the request names no first day.
const DEFAULT_DAYS: u64 = 7;

/// The earnings of one day.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EarningDay {
    /// A day of India.
    pub date: NaiveDate,
    pub totals: EarningSums,
}

/// The sums of several calls.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EarningSums {
    pub calls: i64,
    /// Minutes paid.
    pub minutes: i64,
    /// The coins that callers paid.
    pub coins: i64,
    /// The sum that the listener earned, in paise.
    pub paise: i64,
}

/// The days that a summary lists, and the periods that it adds up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EarningSummaryPeriods {
    /// The listed days.
    pub days: RangeInclusive<NaiveDate>,
    pub today: NaiveDate,
    /// From Monday to today.
    pub week: RangeInclusive<NaiveDate>,
    /// From the first of the month to today.
    pub month: RangeInclusive<NaiveDate>,
}

/// The earnings of a listener by day, and the sums of the current periods.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EarningSummary {
    /// Every day of the requested range, in order, also those without calls.
    pub days: Vec<EarningDay>,
    pub today: EarningSums,
    pub week: EarningSums,
    pub month: EarningSums,
}

impl EarningSummaryPeriods {
    /// Determines the periods of a request. The range ends today unless the request names its last day, and begins a
    /// week earlier unless it names its first.
    pub fn new(
        from: Option<NaiveDate>,
        to: Option<NaiveDate>,
        today: NaiveDate,
    ) -> Result<Self, WalletError> {
        let last = to.unwrap_or(today);
        let first = from.or_else(|| last.checked_sub_days(Days::new(DEFAULT_DAYS - 1)));
        let first = first.ok_or(WalletError::InvalidDateRange)?;
        let longest = first.checked_add_days(Days::new(RANGE_DAYS_MAX - 1));
        if first > last || longest.is_none_or(|longest| last > longest) {
            return Err(WalletError::InvalidDateRange);
        }
        let monday = today - Days::new(today.weekday().num_days_from_monday().into());
        let first_of_month = today - Days::new(today.day0().into());
        Ok(Self {
            days: first..=last,
            today,
            week: monday..=today,
            month: first_of_month..=today,
        })
    }

    /// Returns the days of the current periods, which begin with the week or with the month.
    pub fn current_days(&self) -> RangeInclusive<NaiveDate> {
        *self.week.start().min(self.month.start())..=self.today
    }

    /// Builds the summary from the days with calls: those of the requested range, and those of the current periods.
    pub fn summarize(&self, listed: &[EarningDay], current: &[EarningDay]) -> EarningSummary {
        EarningSummary {
            days: fill_gaps(&self.days, listed),
            today: add_up(current, &(self.today..=self.today)),
            week: add_up(current, &self.week),
            month: add_up(current, &self.month),
        }
    }
}

/// Parses a date of a request.
pub fn parse_date(text: &str) -> Result<NaiveDate, WalletError> {
    let is_plain = text.len() == "2026-01-31".len();
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    date.filter(|_| is_plain)
        .ok_or(WalletError::InvalidDateRange)
}

fn fill_gaps(range: &RangeInclusive<NaiveDate>, found: &[EarningDay]) -> Vec<EarningDay> {
    let dates = range.start().iter_days();
    let dates = dates.take_while(|date| date <= range.end());
    let totals = |date| {
        let day = found.iter().find(|day| day.date == date);
        day.map_or_else(EarningSums::default, |day| day.totals)
    };
    dates
        .map(|date| EarningDay {
            date,
            totals: totals(date),
        })
        .collect()
}

fn add_up(days: &[EarningDay], range: &RangeInclusive<NaiveDate>) -> EarningSums {
    let days = days.iter().filter(|day| range.contains(&day.date));
    days.fold(EarningSums::default(), |sum, day| EarningSums {
        calls: sum.calls + day.totals.calls,
        minutes: sum.minutes + day.totals.minutes,
        coins: sum.coins + day.totals.coins,
        paise: sum.paise + day.totals.paise,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        parse_date(text).expect("a date")
    }

    fn day(text: &str, paise: i64) -> EarningDay {
        EarningDay {
            date: date(text),
            totals: EarningSums {
                calls: 1,
                minutes: 2,
                coins: 20,
                paise,
            },
        }
    }

    #[test]
    fn a_range_is_a_week_unless_it_is_named_and_a_quarter_at_most() {
        let today = date("2026-11-26");
        let range = |from: Option<&str>, to: Option<&str>| {
            let periods = EarningSummaryPeriods::new(from.map(date), to.map(date), today);
            periods.map(|periods| periods.days).ok()
        };
        assert_eq!(range(None, None), Some(date("2026-11-20")..=today));
        let first = date("2026-11-01");
        assert_eq!(range(Some("2026-11-01"), None), Some(first..=today));
        let quarter = (Some("2026-01-01"), Some("2026-04-02"));
        assert!(range(quarter.0, quarter.1).is_some());
        for (from, to) in [
            (Some("2026-01-01"), Some("2026-04-03")),
            (Some("2026-11-02"), Some("2026-11-01")),
            (Some("2026-11-27"), None),
            (Some("0001-01-01"), None),
        ] {
            assert_eq!(range(from, to), None, "{from:?} {to:?}");
        }
    }

    #[test]
    fn dates_have_one_form() {
        for text in [
            "",
            "2026-1-1",
            "26-01-01",
            "2026-02-30",
            "+2026-1-1",
            "today",
            "20260101",
        ] {
            assert!(parse_date(text).is_err(), "{text}");
        }
    }

    #[test]
    fn days_without_calls_are_listed_as_zero() {
        let (from, to) = (date("2026-11-24"), date("2026-11-26"));
        let periods = EarningSummaryPeriods::new(Some(from), Some(to), to).expect("a range");
        let found = [day("2026-11-25", 300)];
        let summary = periods.summarize(&found, &found);
        let paise: Vec<i64> = summary.days.iter().map(|day| day.totals.paise).collect();
        assert_eq!(paise, [0, 300, 0]);
        assert_eq!(summary.today, EarningSums::default());
        assert_eq!(summary.week.paise, 300);
    }

    #[test]
    fn a_week_begins_on_monday_and_may_reach_into_the_month_before() {
        // A Wednesday.
        let today = date("2026-04-01");
        let periods = EarningSummaryPeriods::new(None, None, today).expect("a range");
        assert_eq!(periods.current_days(), date("2026-03-30")..=today);
        let found = [day("2026-03-30", 100), day("2026-04-01", 20)];
        let summary = periods.summarize(&[], &found);
        assert_eq!(summary.today.paise, 20);
        assert_eq!(summary.week.paise, 120);
        assert_eq!(summary.month.paise, 20);
        let late = EarningSummaryPeriods::new(None, None, date("2026-04-30")).expect("a range");
        assert_eq!(*late.current_days().start(), date("2026-04-01"));
    }
}
