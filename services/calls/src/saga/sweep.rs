//! The sweeper: drives on every call whose time has come, whoever left it.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use talktime_kit::{Error, grpc};
use tokio_util::sync::CancellationToken;

use super::{CONCURRENCY, Calls, LEASE_SECS};
use crate::domain::call::{Call, Phase};
use crate::store::calls;

/// How late a minute is billed at most, when there is nothing else to do.
const EVERY: Duration = Duration::from_millis(100);
/// Calls taken at once.
const BATCH_CALLS: i64 = 500;
/// Shorter than [`LEASE_SECS`], so that a step ends before another replica takes the call.
const STEP_TIMEOUT: Duration = Duration::from_secs(4);

/// Sweeps until told to stop; on every replica.
pub async fn sweep(service: Calls, stopping: CancellationToken) {
    while !stopping.is_cancelled() {
        let deadline = Instant::now() + STEP_TIMEOUT;
        let swept = grpc::with_deadline(deadline, Box::pin(service.sweep_once())).await;
        match swept {
            Ok(calls) if calls == usize::try_from(BATCH_CALLS).unwrap_or(usize::MAX) => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the sweep has to wait"),
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stopping.cancelled() => {}
        }
    }
}

impl Calls {
    /// Takes a batch of due calls one step further; answers how many there were.
    async fn sweep_once(&self) -> Result<usize, Error> {
        let mut connection = self.db.acquire().await?;
        let due = calls::claim_due(&mut connection, LEASE_SECS, BATCH_CALLS).await?;
        drop(connection);
        if due.is_empty() {
            return Ok(0);
        }
        let swept = due.len();
        let (live, others): (Vec<Call>, Vec<Call>) = due
            .into_iter()
            .partition(|call| call.phase == Phase::Active);
        if !live.is_empty() {
            self.bill_due(live).await;
        }
        stream::iter(&others)
            .for_each_concurrent(CONCURRENCY, |call| self.drive(call))
            .await;
        Ok(swept)
    }

    async fn drive(&self, call: &Call) {
        match call.phase {
            Phase::Reserving | Phase::Undoing => {
                if let Err(error) = self.undo(call.call_id).await.map_err(Error::from) {
                    tracing::warn!(%error, call_id = call.call_id, "undoing waits");
                }
            }
            Phase::Settling => self.settle_at_best(call).await,
            Phase::Active | Phase::Settled => {}
        }
    }
}
