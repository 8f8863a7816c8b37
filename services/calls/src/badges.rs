//! Assigns badges to all listeners each night and looks them up.

use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};
use futures::FutureExt;
use talktime_kit::Clock;
use talktime_kit::db::DatabasePool;

use crate::domain::badge::{Badge, BadgeCard, BadgeError};
use crate::domain::india;
use crate::store::answer_rates;
use crate::store::badges::{self, ExistingBadgePolicy, TimeSpan};
pub use crate::store::badges::{BadgeRangeFigures, ListenerDayBadge};

/// Listeners whose talk time is read in one query.
const BATCH_LISTENERS: i64 = 2_000;
/// Number of missed days whose badges are assigned after a long downtime.
const DAYS_MISSED_MAX: u64 = 31;
/// Longest range of days per request: a leap year.
const RANGE_DAYS_MAX: i64 = 366;
/// First year with badges. Some earlier years are beyond the dates that Postgres supports.
const FIRST_YEAR: i32 = 2_000;
/// Length of a range without a first day, including the last day.
const RANGE_DAYS_DEFAULT: u64 = 30;

/// Assigns and reads badges; cheap to clone.
#[derive(Clone)]
pub struct BadgeService {
    db: DatabasePool,
    clock: Clock,
    card: BadgeCard,
}

/// A badge of a listener with the figures behind it.
#[derive(Clone, Copy, Debug)]
pub struct ListenerBadgeProgress {
    /// The badge of today.
    pub badge: ListenerDayBadge,
    /// Seconds of the completed calls of yesterday.
    pub yesterday_secs: i64,
    /// Hours that the next higher badge requires; `None` above gold.
    pub next_threshold_hours: Option<u32>,
}

/// Numbers of the badges assigned for one day.
#[derive(Clone, Copy, Debug)]
pub struct BadgeAssignmentCounts {
    pub date: NaiveDate,
    /// Number of listeners per badge, from basic to gold.
    pub counts: [i64; 4],
}

/// Figures of all badges over a range of days.
#[derive(Clone, Debug)]
pub struct BadgeStatistics {
    pub range: InclusiveDateRange,
    pub counts: Vec<BadgeRangeFigures>,
    /// Number of listeners with a badge in the range.
    pub listeners: i64,
}

/// A range of days that includes both ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InclusiveDateRange {
    pub first: NaiveDate,
    pub last: NaiveDate,
}

impl InclusiveDateRange {
    /// Validates a requested range. Without a last day it ends today, and without a first day it has thirty
    /// days.
    pub fn new(
        first: Option<NaiveDate>,
        last: Option<NaiveDate>,
        today: NaiveDate,
    ) -> Result<Self, BadgeError> {
        let last = last.unwrap_or(today);
        let thirty_days = last.checked_sub_days(Days::new(RANGE_DAYS_DEFAULT - 1));
        let first = first.or(thirty_days).ok_or(BadgeError::BadRange)?;
        let days = (last - first).num_days() + 1;
        if first.year() >= FIRST_YEAR && (1..=RANGE_DAYS_MAX).contains(&days) {
            Ok(Self { first, last })
        } else {
            Err(BadgeError::BadRange)
        }
    }
}

impl BadgeService {
    /// Builds the service on a database, with the thresholds and rates of `card`.
    pub fn new(db: DatabasePool, clock: Clock, card: BadgeCard) -> Self {
        Self { db, clock, card }
    }

    /// Assigns the badges of every day that is due and was missed; returns the number of days.
    pub async fn assign_missed_days(&self, now: DateTime<Utc>) -> Result<usize, BadgeError> {
        let today = india::assigned_date(now);
        let last = self
            .db
            .poll(|db| badges::find_last_assigned_day(db).boxed());
        let last = last.await?;
        let mut days_assigned = 0;
        for date in list_missed_days(last, today) {
            if self
                .assign_day(date, now, BadgeAssignmentMode::Nightly)
                .await?
                .is_some()
            {
                days_assigned += 1;
            }
        }
        Ok(days_assigned)
    }

    /// Assigns the badges of a day again, and replaces those assigned before. Calls that have begun keep
    /// their rate.
    ///
    /// # Errors
    ///
    /// [`BadgeError::BadDate`] for a day in the future or more than a year ago,
    /// [`BadgeError::AssignmentRunning`] while another replica assigns badges.
    pub async fn assign_badges(
        &self,
        date: Option<NaiveDate>,
    ) -> Result<BadgeAssignmentCounts, BadgeError> {
        let now = self.clock.now();
        let date = validate_date(date, india::date(now))?;
        let assigned = self
            .assign_day(date, now, BadgeAssignmentMode::Replace)
            .await?;
        assigned.ok_or(BadgeError::AssignmentRunning)
    }

    /// `None` if another replica is assigning badges, or has assigned those of this day already.
    async fn assign_day(
        &self,
        date: NaiveDate,
        now: DateTime<Utc>,
        mode: BadgeAssignmentMode,
    ) -> Result<Option<BadgeAssignmentCounts>, BadgeError> {
        let is_new = mode == BadgeAssignmentMode::Nightly;
        let existing = match mode {
            BadgeAssignmentMode::Nightly => ExistingBadgePolicy::Keep,
            BadgeAssignmentMode::Replace => ExistingBadgePolicy::Replace,
        };
        let span = span_of_day_before(date);
        let mut counts = [0; 4];
        let mut tx = self.db.begin().await?;
        if !badges::try_lock(&mut tx).await?
            || (is_new && badges::is_day_assigned(&mut tx, date).await?)
        {
            return Ok(None);
        }
        let mut after = i64::MIN;
        loop {
            let talked = badges::list_talked_secs(&mut tx, span, after, BATCH_LISTENERS).await?;
            let Some((last, _)) = talked.last() else {
                break;
            };
            after = *last;
            let earned: Vec<(i64, Badge)> = talked
                .iter()
                .map(|(listener_id, secs)| (*listener_id, self.card.badge_for(*secs)))
                .collect();
            for (_, badge) in &earned {
                counts[*badge as usize] += 1;
            }
            badges::insert_badges(&mut tx, date, &earned, &self.card, now, existing).await?;
            let listener_ids: Vec<i64> =
                talked.iter().map(|(listener_id, _)| *listener_id).collect();
            answer_rates::update(&mut tx, &listener_ids).await?;
        }
        badges::insert_assigned_day(&mut tx, date, now).await?;
        tx.commit().await?;
        Ok(Some(BadgeAssignmentCounts { date, counts }))
    }

    /// Loads the badge of a listener today. Someone who became a listener today has none yet and is
    /// assigned one here.
    pub async fn load_standing(
        &self,
        listener_id: i64,
    ) -> Result<ListenerBadgeProgress, BadgeError> {
        let today = india::assigned_date(self.clock.now());
        let badge = self.find_or_assign_badge(listener_id, today).await?;
        let mut connection = self.db.acquire().await?;
        let span = span_of_day_before(today);
        Ok(ListenerBadgeProgress {
            yesterday_secs: badges::load_talked_secs(&mut connection, listener_id, span).await?,
            next_threshold_hours: self.card.next_threshold_hours(badge.badge),
            badge,
        })
    }

    /// Finds the badge of a listener on a day, by default today.
    pub async fn find_badge(
        &self,
        listener_id: i64,
        date: Option<NaiveDate>,
    ) -> Result<ListenerDayBadge, BadgeError> {
        let today = india::assigned_date(self.clock.now());
        let date = validate_date(date, today)?;
        let mut connection = self.db.acquire().await?;
        if date == today && badges::is_listener(&mut connection, listener_id).await? {
            drop(connection);
            return self.find_or_assign_badge(listener_id, today).await;
        }
        let badge = badges::find_for_day(&mut connection, listener_id, date).await?;
        badge.ok_or(BadgeError::NoSuchBadge)
    }

    async fn find_or_assign_badge(
        &self,
        listener_id: i64,
        date: NaiveDate,
    ) -> Result<ListenerDayBadge, BadgeError> {
        let mut connection = self.db.acquire().await?;
        if let Some(badge) = badges::find_for_day(&mut connection, listener_id, date).await? {
            return Ok(badge);
        }
        drop(connection);
        let mut tx = self.db.begin().await?;
        let secs = badges::load_talked_secs(&mut tx, listener_id, span_of_day_before(date)).await?;
        let card = &self.card;
        let earned = [(listener_id, card.badge_for(secs))];
        let (now, existing) = (self.clock.now(), ExistingBadgePolicy::Keep);
        badges::insert_badges(&mut tx, date, &earned, card, now, existing).await?;
        let badge = badges::find_for_day(&mut tx, listener_id, date).await?;
        tx.commit().await?;
        badge.ok_or(BadgeError::NoSuchBadge)
    }

    /// Lists the badges of a listener in a range of days, newest first.
    pub async fn list_badges(
        &self,
        listener_id: i64,
        first: Option<NaiveDate>,
        last: Option<NaiveDate>,
    ) -> Result<Vec<ListenerDayBadge>, BadgeError> {
        let range = InclusiveDateRange::new(first, last, india::date(self.clock.now()))?;
        let mut connection = self.db.acquire().await?;
        Ok(badges::list_between(&mut connection, listener_id, range.first, range.last).await?)
    }

    /// Counts how often each badge was assigned in a range of days, and to how many listeners.
    pub async fn load_statistics(
        &self,
        first: Option<NaiveDate>,
        last: Option<NaiveDate>,
    ) -> Result<BadgeStatistics, BadgeError> {
        let range = InclusiveDateRange::new(first, last, india::date(self.clock.now()))?;
        let mut connection = self.db.acquire().await?;
        let counts = badges::count_by_badge(&mut connection, range.first, range.last).await?;
        let listeners = badges::count_listeners(&mut connection, range.first, range.last).await?;
        Ok(BadgeStatistics {
            range,
            counts,
            listeners,
        })
    }
}

/// Returns the requested day, by default today, unless it is in the future or more than a year ago.
fn validate_date(date: Option<NaiveDate>, today: NaiveDate) -> Result<NaiveDate, BadgeError> {
    let date = date.unwrap_or(today);
    if (0..=RANGE_DAYS_MAX).contains(&(today - date).num_days()) {
        Ok(date)
    } else {
        Err(BadgeError::BadDate)
    }
}

/// The way in which the badges of a day are assigned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum BadgeAssignmentMode {
    /// Once: existing badges stay.
    Nightly,
    /// Again, at the request of an admin: existing badges are replaced.
    Replace,
}

/// Lists the days after the last assigned one up to today, at most the newest [`DAYS_MISSED_MAX`].
fn list_missed_days(last: Option<NaiveDate>, today: NaiveDate) -> Vec<NaiveDate> {
    let earliest = today - Days::new(DAYS_MISSED_MAX - 1);
    let first = match last {
        None => today,
        Some(last) => (last + Days::new(1)).max(earliest),
    };
    first
        .iter_days()
        .take_while(|date| *date <= today)
        .collect()
}

fn span_of_day_before(date: NaiveDate) -> TimeSpan {
    TimeSpan {
        from: india::begins_at(date - Days::new(1)),
        until: india::begins_at(date),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, day).expect("a date")
    }

    #[test]
    fn missed_days_are_assigned_later() {
        assert_eq!(list_missed_days(None, day(24)), [day(24)]);
        assert_eq!(list_missed_days(Some(day(24)), day(24)), []);
        assert_eq!(
            list_missed_days(Some(day(21)), day(24)),
            [day(22), day(23), day(24)]
        );
        let long_ago = NaiveDate::from_ymd_opt(2020, 1, 1).expect("a date");
        assert_eq!(list_missed_days(Some(long_ago), day(24)).len(), 31);
    }

    #[test]
    fn a_range_of_days_is_limited() {
        let today = day(24);
        let range = |first, last| InclusiveDateRange::new(first, last, today).ok();
        let thirty_days = InclusiveDateRange {
            first: day(24) - Days::new(29),
            last: today,
        };
        assert_eq!(range(None, None), Some(thirty_days));
        assert!(range(Some(day(24)), Some(day(24))).is_some());
        assert!(range(Some(day(24)), Some(day(23))).is_none());
        assert!(range(NaiveDate::from_ymd_opt(2020, 1, 1), None).is_none());
        assert!(range(None, Some(NaiveDate::MIN)).is_none());
    }
}
