//! The sweep that finishes interrupted deletions.

use std::borrow::Cow;
use std::time::Duration;

use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use crate::deletions::AccountDeletionService;

const SWEEP_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("profile.deletions"),
    interval: Duration::from_secs(1),
    retry_after: Duration::from_secs(1),
    // Ten deletions of five seconds each, and the statements that claim them.
    deadline: Duration::from_mins(1),
    first_turn: FirstTurnStart::AfterInterval,
};

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
    deletions.finish_pending().await?;
    Ok(NextTurnStart::AfterInterval)
}
