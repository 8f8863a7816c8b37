//! Sweeps due calls.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};
use talktime_kit::{Error, grpc};

use crate::saga::SagaSweepOutcome;
use crate::saga::sweep_pace::SweepFrequency;
use crate::service::CallService;

const SWEEP_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("calls.sweep"),
    // The first step of a call is due at least this long after its reservation, unless its settings are those of tests, so
    // every replica learns of the call in time. The one that has reserved it is woken.
    interval: Duration::from_secs(5),
    retry_after: PAUSE_MIN,
    // After `STEP_TIMEOUT` a step calls no peer any more, and only stores its results.
    deadline: STEP_TIMEOUT.saturating_mul(2),
    first_turn: FirstTurnStart::AtOnce,
};
/// The pause while some call has a next step. Later steps are due at least a second after the commit that plans them, so
/// every replica learns of them in time.
const FREQUENT_PAUSE: Duration = Duration::from_millis(900);
/// The usual maximum lateness of a minute, as long as there is no backlog.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Shorter than the lease of a call, so that a step ends before another replica claims the call.
const STEP_TIMEOUT: Duration = Duration::from_secs(4);
/// Concurrent batches while more calls are due than one batch holds, so that minutes do not wait behind the
/// many steps of a busy hour.
const CONCURRENT_BATCHES_MAX: usize = 4;

/// Sweeps until the service stops. Every replica runs this; leases keep them from claiming the same calls.
pub(crate) fn start_sweeper(lifecycle: &ProcessLifecycle, service: CallService) {
    let has_backlog = Arc::new(AtomicBool::new(false));
    let waker = service.sweep_pace.waker();
    periodic::start_wakeable(lifecycle, SWEEP_WORK, waker, move || {
        sweep_once(service.clone(), has_backlog.clone())
    });
}

/// Sweeps one batch, or several at the same time while there is a backlog. A failed batch is logged, and the
/// others are completed.
async fn sweep_once(
    service: CallService,
    has_backlog: Arc<AtomicBool>,
) -> anyhow::Result<NextTurnStart> {
    let batches = if has_backlog.load(Ordering::Relaxed) {
        CONCURRENT_BATCHES_MAX
    } else {
        1
    };
    service.sweep_pace.begin_sweep();
    let swept = join_all((0..batches).map(|_| sweep_with_deadline(&service))).await;
    let all_are_full = swept.iter().all(|swept| swept.is_full_batch());
    has_backlog.store(all_are_full, Ordering::Relaxed);
    let next_due_in = swept.iter().filter_map(|swept| swept.next_due_in).min();
    let frequency = service.sweep_pace.end_sweep(next_due_in.is_some());
    if all_are_full {
        return Ok(NextTurnStart::AtOnce);
    }
    Ok(match frequency {
        SweepFrequency::Seldom => NextTurnStart::AfterInterval,
        SweepFrequency::Frequent => {
            let due_in = next_due_in.unwrap_or(FREQUENT_PAUSE);
            NextTurnStart::After(due_in.clamp(PAUSE_MIN, FREQUENT_PAUSE))
        }
    })
}

/// Sweeps one batch within [`STEP_TIMEOUT`]. After a failure calls count as due.
async fn sweep_with_deadline(service: &CallService) -> SagaSweepOutcome {
    let deadline = Instant::now() + STEP_TIMEOUT;
    let swept = grpc::with_deadline(deadline, Box::pin(service.sweep_batch())).await;
    match swept.map_err(Error::from) {
        Ok(swept) => swept,
        Err(error) => {
            tracing::warn!(%error, "failed to sweep due calls; the next sweep will retry");
            SagaSweepOutcome {
                next_due_in: Some(Duration::ZERO),
                ..SagaSweepOutcome::default()
            }
        }
    }
}
