//! The sweep that finishes interrupted deletions.

use std::borrow::Cow;
use std::time::Duration;

use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use crate::deletions::AccountDeletionService;

const SWEEP_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("profile.deletions"),
    // A deletion is left to the sweep only ten seconds after its last attempt.
    interval: Duration::from_secs(5),
    retry_after: WAITING_PAUSE,
    // Ten deletions of five seconds each, and the statements that claim them.
    deadline: Duration::from_mins(1),
    first_turn: FirstTurnStart::AfterInterval,
};

/// The pause while there are deletions to finish.
const WAITING_PAUSE: Duration = Duration::from_secs(1);

/// Starts the sweep, which may run on many replicas at once.
pub(crate) fn start_deletion_sweep(
    lifecycle: &ProcessLifecycle,
    deletions: AccountDeletionService,
) {
    periodic::start(lifecycle, SWEEP_WORK, move || {
        finish_pending(deletions.clone())
    });
}

async fn finish_pending(deletions: AccountDeletionService) -> anyhow::Result<NextTurnStart> {
    Ok(if deletions.finish_pending().await? {
        NextTurnStart::After(WAITING_PAUSE)
    } else {
        NextTurnStart::AfterInterval
    })
}
