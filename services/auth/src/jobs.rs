//! What auth does by itself now and then.

use std::time::Duration;

use sqlx::PgPool;
use talktime_kit::Clock;
use tokio_util::sync::CancellationToken;

use crate::store::revocations;

const PURGE_EVERY: Duration = Duration::from_mins(5);

/// Forgets revocations of tokens that have expired, until told to stop; harmless on many replicas at
/// once.
pub async fn purge_revocations(db: PgPool, clock: Clock, stopping: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PURGE_EVERY) => {}
            () = stopping.cancelled() => return,
        }
        if let Err(error) = revocations::purge(&db, clock.now()).await {
            tracing::warn!(%error, "expired revocations stay for another round");
        }
    }
}
