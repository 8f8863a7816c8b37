//! Compares the feed's read model with its sources from time to time, and repairs the differences. The table
//! is read and updated by events meanwhile, and is never empty.
//!
//! Statuses and standings have versions, so that a late one is recognised. Call totals have none: they are
//! written only over the numbers that were compared, and an event that was on its way for longer than the
//! grace period is repaired at the next comparison. Answer rates are copied at once, because no event carries them.

use std::time::Duration;

use talktime_kit::Error;
use talktime_kit::db::DatabasePool;
use talktime_kit::lease::Lease;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use crate::config::FeedConfig;
use crate::domain::feed_row::{ComparedRow, FeedConsistencyReport, FeedSourceRow};
use crate::metrics;
use crate::peers::FeedSourceClients;
use crate::store::feed_listeners;

/// The number of listeners in one request to a source.
const BATCH: i64 = 100;
/// The name of the lease and of the periodic work.
const LEASE: &str = "profile.feed_check";
const RETRY_AFTER: Duration = Duration::from_mins(1);
/// Each batch takes the grace period if any of its listeners differ, and there may be a thousand batches.
const TURN_TIMEOUT: Duration = Duration::from_hours(2);

/// Compares and repairs the feed; cheap to clone.
#[derive(Clone)]
pub struct FeedConsistencyCheck {
    db: DatabasePool,
    sources: FeedSourceClients,
    every: Duration,
    grace: Duration,
}

/// Starts the comparisons, which run on one replica at a time.
pub(crate) fn start_feed_checks(lifecycle: &ProcessLifecycle, check: FeedConsistencyCheck) {
    let work = PeriodicWork {
        name: LEASE.into(),
        interval: check.every,
        retry_after: RETRY_AFTER.min(check.every),
        deadline: TURN_TIMEOUT,
        first_turn: FirstTurnStart::AfterInterval,
    };
    periodic::start(lifecycle, work, move || compare_leased(check.clone()));
}

async fn compare_leased(check: FeedConsistencyCheck) -> anyhow::Result<NextTurnStart> {
    check.run_leased().await?;
    Ok(NextTurnStart::AfterInterval)
}

impl FeedConsistencyCheck {
    pub fn new(db: DatabasePool, sources: FeedSourceClients, config: FeedConfig) -> Self {
        Self {
            db,
            sources,
            every: Duration::from_secs(config.check_every_secs.max(1).into()),
            grace: Duration::from_millis(config.check_grace_ms),
        }
    }

    async fn run_leased(&self) -> Result<(), Error> {
        let Some(lease) = Lease::try_take(&self.db, LEASE).await? else {
            return Ok(());
        };
        let report = self.run_once(self.grace).await;
        lease.release().await?;
        tracing::info!(report = %report?, "compared the feed with its sources");
        Ok(())
    }

    /// Compares once. Only differences that are still there after `grace` are repaired.
    pub async fn run_once(&self, grace: Duration) -> Result<FeedConsistencyReport, Error> {
        self.compare_all(Some(grace)).await
    }

    /// Repairs every difference at once.
    pub async fn rebuild(&self) -> Result<FeedConsistencyReport, Error> {
        self.compare_all(None).await
    }

    async fn compare_all(&self, grace: Option<Duration>) -> Result<FeedConsistencyReport, Error> {
        let mut tx = self.db.begin().await?;
        let mut report = FeedConsistencyReport {
            misplaced: feed_listeners::align_with_profiles(&mut tx).await?,
            ..FeedConsistencyReport::default()
        };
        tx.commit().await?;
        let mut after_user_id = 0;
        loop {
            let rows = self.list_rows_after(after_user_id).await?;
            let Some(last) = rows.last() else {
                metrics::record_feed_repairs(report);
                return Ok(report);
            };
            after_user_id = last.user_id;
            report.listeners += rows.len() as u64;
            self.compare_batch(rows, grace, &mut report).await?;
        }
    }

    async fn list_rows_after(&self, user_id: i64) -> Result<Vec<FeedSourceRow>, Error> {
        let mut connection = self.db.acquire().await?;
        Ok(feed_listeners::list_rows_after(&mut connection, user_id, BATCH).await?)
    }

    async fn compare_batch(
        &self,
        rows: Vec<FeedSourceRow>,
        grace: Option<Duration>,
        report: &mut FeedConsistencyReport,
    ) -> Result<(), Error> {
        let compared = self.fetch_sources(rows).await?;
        report.answer_rates += self.copy_answer_rates(&compared).await?;
        let mut differences = keep_differences(compared);
        if let Some(grace) = grace
            && !differences.is_empty()
        {
            tokio::time::sleep(grace).await;
            differences = self.find_lasting(differences).await?;
        }
        for difference in differences {
            self.repair_row(difference, report).await?;
        }
        Ok(())
    }

    /// Fetches the rows as their sources have them.
    async fn fetch_sources(&self, rows: Vec<FeedSourceRow>) -> Result<Vec<ComparedRow>, Error> {
        let user_ids: Vec<i64> = rows.iter().map(|row| row.user_id).collect();
        let sources = self.sources.fetch(&user_ids).await?;
        let compared = rows.into_iter().filter_map(|stored| {
            let source = *sources.get(&stored.user_id)?;
            Some(ComparedRow { stored, source })
        });
        Ok(compared.collect())
    }

    /// Copies the answer rates that calls has computed again; returns how many.
    async fn copy_answer_rates(&self, compared: &[ComparedRow]) -> Result<u64, Error> {
        let is_new = |row: &&ComparedRow| row.stored.answer_percent != row.source.answer_percent;
        let new: Vec<FeedSourceRow> = compared
            .iter()
            .filter(is_new)
            .map(|row| row.source)
            .collect();
        if new.is_empty() {
            return Ok(0);
        }
        let mut tx = self.db.begin().await?;
        let copied = feed_listeners::update_answer_rates(&mut tx, &new).await?;
        tx.commit().await?;
        Ok(copied)
    }

    /// Compares again those whose row has not changed since: an event on its way would have changed it.
    async fn find_lasting(&self, differences: Vec<ComparedRow>) -> Result<Vec<ComparedRow>, Error> {
        let user_ids: Vec<i64> = differences.iter().map(ComparedRow::user_id).collect();
        let mut connection = self.db.acquire().await?;
        let rows = feed_listeners::list_rows(&mut connection, &user_ids).await?;
        drop(connection);
        let unchanged = rows.into_iter().filter(|row| {
            let mut before = differences.iter().map(|difference| difference.stored);
            before.any(|before| before.user_id == row.user_id && !before.differs(row))
        });
        let compared = self.fetch_sources(unchanged.collect()).await?;
        Ok(keep_differences(compared))
    }

    async fn repair_row(
        &self,
        ComparedRow { stored, source }: ComparedRow,
        report: &mut FeedConsistencyReport,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        if stored.status_differs(&source) {
            report.statuses += feed_listeners::repair_status(&mut tx, &source).await?;
        }
        if stored.totals_differ(&source) {
            report.totals += feed_listeners::repair_totals(&mut tx, &stored, &source).await?;
        }
        if stored.standing_differs(&source) {
            report.standings += feed_listeners::repair_standing(&mut tx, &source).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// Keeps the rows that differ in what events carry.
fn keep_differences(compared: Vec<ComparedRow>) -> Vec<ComparedRow> {
    let differs = |row: &ComparedRow| row.stored.differs(&row.source);
    compared.into_iter().filter(differs).collect()
}
