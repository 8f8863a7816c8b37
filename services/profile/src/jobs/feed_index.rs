//! Keeps the index of the feed: builds it at the start, lets it follow changes while nobody asks for pages, compares it
//! with the database bit by bit, and deletes old removals.

use std::borrow::Cow;
use std::time::Duration;

use talktime_kit::db::DatabasePool;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use crate::feed_replica::FeedIndexReplica;
use crate::store::feed_changes;

const MAINTENANCE_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("profile.feed_index"),
    interval: Duration::from_secs(10),
    retry_after: CHANGING_PAUSE,
    // The whole feed may have to be read, a thousand listeners in ten milliseconds or some more.
    deadline: Duration::from_mins(2),
    first_turn: FirstTurnStart::AtOnce,
};
/// The pause while listeners change, so that the next page has few changes to take in.
const CHANGING_PAUSE: Duration = Duration::from_secs(1);
const PURGE_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("profile.feed_removals"),
    interval: Duration::from_mins(10),
    retry_after: Duration::from_mins(1),
    deadline: Duration::from_mins(1),
    first_turn: FirstTurnStart::AfterInterval,
};
const PURGED_ROWS_MAX: usize = 5_000;

/// Starts the maintenance, which runs on every replica.
pub(crate) fn start_feed_index(lifecycle: &ProcessLifecycle, index: FeedIndexReplica) {
    periodic::start(lifecycle, MAINTENANCE_WORK, move || maintain(index.clone()));
}

async fn maintain(index: FeedIndexReplica) -> anyhow::Result<NextTurnStart> {
    Ok(if index.maintain().await? {
        NextTurnStart::After(CHANGING_PAUSE)
    } else {
        NextTurnStart::AfterInterval
    })
}

/// Starts the deletion of old removals, which may run on many replicas at once.
pub(crate) fn start_removal_purge(lifecycle: &ProcessLifecycle, db: DatabasePool) {
    periodic::start(lifecycle, PURGE_WORK, move || purge_removals(db.clone()));
}

async fn purge_removals(db: DatabasePool) -> anyhow::Result<NextTurnStart> {
    let mut tx = db.begin().await?;
    let purged = feed_changes::purge_removals(&mut tx, PURGED_ROWS_MAX).await?;
    tx.commit().await?;
    if purged < PURGED_ROWS_MAX as u64 {
        Ok(NextTurnStart::AfterInterval)
    } else {
        Ok(NextTurnStart::AtOnce)
    }
}
