//! Deletes unanswered calls after half a year.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use talktime_kit::db::DatabasePool;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use crate::store::rings;

/// Days for which unanswered calls are kept.
const KEPT_DAYS: i32 = 180;
/// Calls deleted in one transaction.
const BATCH_CALLS: i64 = 1_000;
const EVERY: Duration = Duration::from_hours(1);
const RETRY_AFTER: Duration = Duration::from_mins(1);
const TURN_TIMEOUT: Duration = Duration::from_secs(30);

/// Deletes old unanswered calls until the service stops. Every replica runs this; they skip rows that another
/// deletes.
pub(crate) fn start_ring_cleanup(lifecycle: &ProcessLifecycle, db: DatabasePool) {
    let work = PeriodicWork {
        name: Cow::Borrowed("calls.unanswered_cleanup"),
        interval: EVERY,
        retry_after: RETRY_AFTER,
        deadline: TURN_TIMEOUT,
        first_turn: FirstTurnStart::AfterInterval,
    };
    periodic::start(lifecycle, work, move || delete_batch(db.clone()));
}

async fn delete_batch(db: DatabasePool) -> anyhow::Result<NextTurnStart> {
    let mut tx = db.begin().await?;
    let deleted = rings::delete_old_unanswered(&mut tx, KEPT_DAYS, BATCH_CALLS)
        .await
        .context("failed to delete old unanswered calls")?;
    tx.commit().await?;
    let is_full = i64::try_from(deleted).is_ok_and(|deleted| deleted >= BATCH_CALLS);
    Ok(if is_full {
        NextTurnStart::AtOnce
    } else {
        NextTurnStart::AfterInterval
    })
}
