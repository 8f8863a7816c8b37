//! Deletes the traffic of relays after three months.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use talktime_kit::db::Database;
use talktime_kit::lifecycle::Lifecycle;
use talktime_kit::periodic::{self, FirstTurn, NextTurn, PeriodicWork};

use crate::store::relay_allocations;

/// Days for which traffic is kept, longer than a caller may dispute a call.
const KEPT_DAYS: i32 = 90;
/// Allocations deleted in one transaction.
const BATCH_ALLOCATIONS: i64 = 1_000;
const EVERY: Duration = Duration::from_hours(1);
const RETRY_AFTER: Duration = Duration::from_mins(1);
const TURN_TIMEOUT: Duration = Duration::from_secs(30);

/// Deletes old traffic until the service stops. Every replica runs this; they skip rows that another deletes.
pub(crate) fn start_relay_cleanup(lifecycle: &Lifecycle, db: Database) {
    let work = PeriodicWork {
        name: Cow::Borrowed("calls.relay_cleanup"),
        interval: EVERY,
        retry_after: RETRY_AFTER,
        deadline: TURN_TIMEOUT,
        first_turn: FirstTurn::AfterInterval,
    };
    periodic::start(lifecycle, work, move || delete_batch(db.clone()));
}

async fn delete_batch(db: Database) -> anyhow::Result<NextTurn> {
    let mut tx = db.begin().await?;
    let deleted = relay_allocations::delete_old(&mut tx, KEPT_DAYS, BATCH_ALLOCATIONS)
        .await
        .context("failed to delete old traffic of relays")?;
    tx.commit().await?;
    let is_full = i64::try_from(deleted).is_ok_and(|deleted| deleted >= BATCH_ALLOCATIONS);
    Ok(if is_full {
        NextTurn::AtOnce
    } else {
        NextTurn::AfterInterval
    })
}
