//! The sweeper takes every call whose next step is due one step further, whichever replica or request left
//! it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use talktime_kit::lifecycle::Lifecycle;
use talktime_kit::periodic::{self, FirstTurn, NextTurn, PeriodicWork};
use talktime_kit::{Error, grpc};

use super::bounds::{LEASE_SECS, sum_concurrently};
use crate::domain::CallError;
use crate::domain::call::Call;
use crate::domain::steps::{self, DueStep};
use crate::observe;
use crate::service::CallService;
use crate::store::calls;

const SWEEP_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("calls.sweep"),
    // The usual maximum lateness of a minute, as long as there is no backlog.
    interval: Duration::from_millis(100),
    retry_after: Duration::from_millis(100),
    // A step has lost its peers after `STEP_TIMEOUT`; what is left then is to write down what it knows.
    deadline: STEP_TIMEOUT.saturating_mul(2),
    first_turn: FirstTurn::AtOnce,
};
/// Calls claimed per batch.
const BATCH_CALLS: i64 = 500;
/// Shorter than [`LEASE_SECS`], so that a step ends before another replica claims the call.
const STEP_TIMEOUT: Duration = Duration::from_secs(4);

/// Concurrent batches while more calls are due than one batch holds, so that minutes do not wait behind the
/// many steps of a busy hour.
const CONCURRENT_BATCHES_MAX: usize = 4;
/// Maximum number of batches per requested sweep.
const REQUESTED_BATCHES_MAX: usize = 200;

/// The outcome of a sweep.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SweepOutcome {
    /// Calls whose next step was due.
    pub due: usize,
    /// Live calls that ended.
    pub ended: usize,
    /// Ended calls that were settled.
    pub settled: usize,
    /// Failed starts that were undone.
    pub undone: usize,
}

impl SweepOutcome {
    fn add_outcome(&mut self, other: Self) {
        self.due += other.due;
        self.ended += other.ended;
        self.settled += other.settled;
        self.undone += other.undone;
    }

    fn is_full_batch(self) -> bool {
        usize::try_from(BATCH_CALLS).is_ok_and(|batch| self.due >= batch)
    }
}

/// Sweeps until the service stops. Every replica runs this; leases keep them from claiming the same calls.
pub fn start_sweeper(lifecycle: &Lifecycle, service: CallService) {
    let has_backlog = Arc::new(AtomicBool::new(false));
    periodic::start(lifecycle, SWEEP_WORK, move || {
        sweep_once(service.clone(), has_backlog.clone())
    });
}

/// Sweeps one batch, or several at the same time while there is a backlog. A failed batch is logged, and the
/// others are completed.
async fn sweep_once(
    service: CallService,
    has_backlog: Arc<AtomicBool>,
) -> anyhow::Result<NextTurn> {
    let batches = if has_backlog.load(Ordering::Relaxed) {
        CONCURRENT_BATCHES_MAX
    } else {
        1
    };
    let swept = join_all((0..batches).map(|_| sweep_with_deadline(&service))).await;
    let all_are_full = swept.into_iter().all(|is_full| is_full);
    has_backlog.store(all_are_full, Ordering::Relaxed);
    Ok(if all_are_full {
        NextTurn::AtOnce
    } else {
        NextTurn::AfterInterval
    })
}

/// Sweeps one batch within [`STEP_TIMEOUT`]; returns whether more calls may be due.
async fn sweep_with_deadline(service: &CallService) -> bool {
    let deadline = Instant::now() + STEP_TIMEOUT;
    let swept = grpc::with_deadline(deadline, Box::pin(service.sweep_batch())).await;
    match swept.map_err(Error::from) {
        Ok(swept) => swept.is_full_batch(),
        Err(error) => {
            tracing::warn!(%error, "failed to sweep due calls; the next sweep will retry");
            false
        }
    }
}

impl CallService {
    /// Ends silent calls and takes every due call one step further.
    pub async fn sweep_all_due(&self) -> Result<SweepOutcome, CallError> {
        let mut total = SweepOutcome {
            ended: self.end_silent_calls_best_effort().await,
            ..SweepOutcome::default()
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

    /// Claims a batch of due calls and takes each one step further.
    async fn sweep_batch(&self) -> Result<SweepOutcome, CallError> {
        let mut tx = self.db.begin().await?;
        let claimed = calls::claim_due(&mut tx, LEASE_SECS, BATCH_CALLS).await?;
        tx.commit().await?;
        let mut swept = SweepOutcome {
            due: claimed.len(),
            ..SweepOutcome::default()
        };
        let (mut to_end, mut to_bill, mut to_settle, mut to_undo) =
            (vec![], vec![], vec![], vec![]);
        let late_by = claimed.iter().filter_map(Call::late_by);
        self.backlog.record_lateness(late_by, swept.is_full_batch());
        for call in claimed {
            match steps::next_due_step(&call, &self.terms.limits) {
                DueStep::End(cause) => to_end.push((call.call_id, cause)),
                DueStep::Charge => to_bill.push(call),
                DueStep::Settle => to_settle.push(call),
                DueStep::Undo => to_undo.push(call),
                DueStep::Nothing => {}
            }
        }
        swept.ended += self.end_for_causes(to_end).await;
        if !to_bill.is_empty() {
            swept.ended += self.bill_due_calls(to_bill).await;
        }
        observe::record_repairs((to_settle.len() + to_undo.len()) as u64);
        swept.settled += sum_concurrently(to_settle, |call| self.settle_best_effort(call)).await;
        swept.undone += sum_concurrently(to_undo, |call| self.undo_best_effort(call)).await;
        Ok(swept)
    }
}
