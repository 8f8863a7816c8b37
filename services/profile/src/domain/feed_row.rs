//! The part of the feed's read model that other services own.

use std::fmt;

use chrono::{DateTime, Utc};
use sqlx::FromRow;

/// The fields of a listener in the feed that other services own.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column of the row")]
pub struct FeedSourceRow {
    pub user_id: i64,
    pub status_version: i64,
    pub is_online: bool,
    /// Whether the listener is on a call, or wants none.
    pub is_busy: bool,
    pub accepting_calls: bool,
    /// Minutes until the listener is free.
    pub wait_time: Option<i32>,
    /// The last sign of life. It changes without a new version, and is not compared.
    pub last_seen: Option<DateTime<Utc>>,
    pub call_count: i64,
    pub total_call_secs: i64,
    /// Accepted rings of the last thirty days in percent; `None` below twenty rings. Calls computes it once a
    /// night and publishes no event, so it is copied by each comparison.
    pub answer_percent: Option<i32>,
    pub is_verified: bool,
    pub verification_version: i64,
}

/// A row of the feed beside its sources.
#[derive(Clone, Copy, Debug)]
pub struct ComparedRow {
    /// The row in the feed.
    pub stored: FeedSourceRow,
    /// The row as the sources have it.
    pub source: FeedSourceRow,
}

impl ComparedRow {
    pub fn user_id(&self) -> i64 {
        self.stored.user_id
    }
}

impl FeedSourceRow {
    /// The row of a listener of whom no service has reported anything.
    pub fn new(user_id: i64) -> Self {
        Self {
            user_id,
            status_version: 0,
            is_online: false,
            is_busy: false,
            accepting_calls: true,
            wait_time: None,
            last_seen: None,
            call_count: 0,
            total_call_secs: 0,
            answer_percent: None,
            is_verified: false,
            verification_version: 0,
        }
    }

    /// Returns whether any of the fields that events carry differs.
    pub fn differs(&self, other: &Self) -> bool {
        self.status_differs(other) || self.totals_differ(other) || self.standing_differs(other)
    }

    pub fn status_differs(&self, other: &Self) -> bool {
        let status = |row: &Self| {
            (
                row.status_version,
                row.is_online,
                row.is_busy,
                row.accepting_calls,
                row.wait_time,
            )
        };
        status(self) != status(other)
    }

    pub fn totals_differ(&self, other: &Self) -> bool {
        let totals = |row: &Self| (row.call_count, row.total_call_secs);
        totals(self) != totals(other)
    }

    pub fn standing_differs(&self, other: &Self) -> bool {
        let standing = |row: &Self| (row.verification_version, row.is_verified);
        standing(self) != standing(other)
    }
}

/// The results of a comparison, in listeners.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FeedConsistencyReport {
    /// Listeners that were compared.
    pub listeners: u64,
    /// Rows that were missing, had no role, or had outdated fields of the profile.
    pub misplaced: u64,
    /// Repaired statuses.
    pub statuses: u64,
    /// Repaired call totals.
    pub totals: u64,
    /// Repaired verification standings.
    pub standings: u64,
    /// Answer rates that calls has computed since the comparison before. They were not wrong.
    pub answer_rates: u64,
}

impl fmt::Display for FeedConsistencyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            listeners,
            misplaced,
            statuses,
            totals,
            standings,
            answer_rates,
        } = self;
        write!(
            f,
            "{listeners} listeners compared; repaired: {misplaced} rows, {statuses} statuses, \
             {totals} call totals, {standings} standings; copied: {answer_rates} answer rates"
        )
    }
}
