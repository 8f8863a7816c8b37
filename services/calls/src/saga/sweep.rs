//! The sweeper takes every call whose next step is due one step further, whichever replica or request left
//! it.

use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;

use super::bounds::{LEASE_SECS, sum_concurrently};
use crate::domain::CallError;
use crate::domain::call::Call;
use crate::domain::steps::{self, DueSagaStep};
use crate::metrics;
use crate::service::CallService;
use crate::store::calls;

/// Calls claimed per batch.
const BATCH_CALLS: i64 = 500;
/// Maximum number of batches per requested sweep.
const REQUESTED_BATCHES_MAX: usize = 200;

/// The outcome of a sweep.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SagaSweepOutcome {
    /// Calls whose next step was due.
    pub due: usize,
    /// Live calls that ended.
    pub ended: usize,
    /// Ended calls that were settled.
    pub settled: usize,
    /// Failed starts that were undone.
    pub undone: usize,
    /// Rings whose time was over.
    pub rings_ended: usize,
    /// Time until the next step of a call is due, zero if some were due; `None` if no call has a next step.
    pub next_due_in: Option<Duration>,
}

/// The calls whose steps this replica takes, and when to look again.
struct DueCallClaim {
    calls: Vec<Call>,
    next_due_in: Option<Duration>,
}

impl SagaSweepOutcome {
    fn add_outcome(&mut self, other: Self) {
        self.due += other.due;
        self.ended += other.ended;
        self.settled += other.settled;
        self.undone += other.undone;
        self.rings_ended += other.rings_ended;
    }

    pub(crate) fn is_full_batch(self) -> bool {
        usize::try_from(BATCH_CALLS).is_ok_and(|batch| self.due >= batch)
    }
}

impl CallService {
    /// Ends silent calls and takes every due call one step further.
    pub async fn sweep_all_due(&self) -> Result<SagaSweepOutcome, CallError> {
        let mut total = SagaSweepOutcome {
            ended: self.end_silent_calls_best_effort().await,
            ..SagaSweepOutcome::default()
        };
        for _ in 0..REQUESTED_BATCHES_MAX {
            let swept = self.sweep_batch().await?;
            total.add_outcome(swept);
            if !swept.is_full_batch() {
                break;
            }
        }
        Ok(total)
    }

    /// Claims a batch of due calls. Most sweeps of a quiet platform find none, and cost one round trip.
    async fn claim_due_calls(&self) -> Result<DueCallClaim, CallError> {
        let due_in_secs = self
            .db
            .poll(|db| calls::find_next_due_secs(db).boxed())
            .await?;
        let next_due_in = due_in_secs
            .map(|secs| Duration::try_from_secs_f64(secs.max(0.0)).unwrap_or(Duration::MAX));
        if next_due_in.is_none_or(|due_in| !due_in.is_zero()) {
            return Ok(DueCallClaim {
                calls: vec![],
                next_due_in,
            });
        }
        let mut tx = self.db.begin().await?;
        let calls = calls::claim_due(&mut tx, LEASE_SECS, BATCH_CALLS).await?;
        tx.commit().await?;
        Ok(DueCallClaim { calls, next_due_in })
    }

    /// Claims a batch of due calls and takes each one step further.
    pub(crate) async fn sweep_batch(&self) -> Result<SagaSweepOutcome, CallError> {
        let claim = self.claim_due_calls().await?;
        let claimed = claim.calls;
        let mut swept = SagaSweepOutcome {
            due: claimed.len(),
            next_due_in: claim.next_due_in,
            ..SagaSweepOutcome::default()
        };
        let (mut to_end, mut to_bill, mut to_settle, mut to_undo) =
            (vec![], vec![], vec![], vec![]);
        let mut rings_to_end = vec![];
        let late_by = claimed.iter().filter_map(Call::late_by);
        self.backlog.record_lateness(late_by, swept.is_full_batch());
        for call in claimed {
            match steps::next_due_step(&call, &self.terms.limits) {
                DueSagaStep::End(cause) => to_end.push((call.call_id, cause)),
                DueSagaStep::Charge => to_bill.push(call),
                DueSagaStep::Settle => to_settle.push(call),
                DueSagaStep::Undo => to_undo.push(call),
                DueSagaStep::EndRing => rings_to_end.push(call.call_id),
                DueSagaStep::Nothing => {}
            }
        }
        swept.ended += self.end_for_causes(to_end).await;
        if !to_bill.is_empty() {
            swept.ended += self.bill_due_calls(to_bill).await;
        }
        let rings = rings_to_end.into_iter();
        let ended = join_all(rings.map(|call_id| self.end_ring_best_effort(call_id))).await;
        swept.rings_ended += ended.into_iter().sum::<usize>();
        metrics::record_repairs((to_settle.len() + to_undo.len()) as u64);
        swept.settled += sum_concurrently(to_settle, |call| self.settle_best_effort(call)).await;
        swept.undone += sum_concurrently(to_undo, |call| self.undo_best_effort(call)).await;
        Ok(swept)
    }
}
