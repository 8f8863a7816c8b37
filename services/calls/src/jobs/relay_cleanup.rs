//! Deletes the traffic of relays after three months.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use talktime_kit::db::DatabasePool;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use crate::store::relay_allocations;

/// Days for which traffic is kept, longer than a caller may dispute a call.
const KEPT_DAYS: i32 = 90;
/// Allocations deleted in one transaction.
const BATCH_ALLOCATIONS: i64 = 1_000;
const EVERY: Duration = Duration::from_hours(1);
const RETRY_AFTER: Duration = Duration::from_mins(1);
const TURN_TIMEOUT: Duration = Duration::from_secs(30);

/// Deletes old traffic until the service stops. Every replica runs this; they skip rows that another deletes.
pub(crate) fn start_relay_cleanup(lifecycle: &ProcessLifecycle, db: DatabasePool) {
    let work = PeriodicWork {
        name: Cow::Borrowed("calls.relay_cleanup"),
        interval: EVERY,
        retry_after: RETRY_AFTER,
        deadline: TURN_TIMEOUT,
        first_turn: FirstTurnStart::AfterInterval,
    };
    periodic::start(lifecycle, work, move || delete_batch(db.clone()));
}

async fn delete_batch(db: DatabasePool) -> anyhow::Result<NextTurnStart> {
    let mut tx = db.begin().await?;
    let deleted = relay_allocations::delete_old(&mut tx, KEPT_DAYS, BATCH_ALLOCATIONS)
        .await
        .context("failed to delete old traffic of relays")?;
    tx.commit().await?;
    let is_full = i64::try_from(deleted).is_ok_and(|deleted| deleted >= BATCH_ALLOCATIONS);
    Ok(if is_full {
        NextTurnStart::AtOnce
    } else {
        NextTurnStart::AfterInterval
    })
}
