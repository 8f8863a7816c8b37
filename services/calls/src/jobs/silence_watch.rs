//! Ends calls whose parties are both gone.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use talktime_kit::Error;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use crate::service::CallService;

/// Shortest interval between two passes over all live calls.
const EVERY_MIN: Duration = Duration::from_secs(1);
/// Longest interval between two passes.
const EVERY_MAX: Duration = Duration::from_secs(30);
/// Time limit of a pass.
const PASS_TIMEOUT: Duration = Duration::from_mins(1);

/// Ends silent calls until the service stops. Every replica runs this; two replicas that end the same call do
/// no harm.
pub(crate) fn start_silence_watch(lifecycle: &ProcessLifecycle, service: CallService) {
    let silence_max = service.terms.limits.silence_max.to_std();
    let interval = silence_max.unwrap_or(EVERY_MAX) / 4;
    let interval = interval.clamp(EVERY_MIN, EVERY_MAX);
    let work = PeriodicWork {
        name: Cow::Borrowed("calls.silence"),
        interval,
        retry_after: interval,
        deadline: PASS_TIMEOUT,
        first_turn: FirstTurnStart::AfterInterval,
    };
    periodic::start(lifecycle, work, move || pass_once(service.clone()));
}

async fn pass_once(service: CallService) -> anyhow::Result<NextTurnStart> {
    let ended = service.end_silent_calls().await.map_err(Error::from);
    let calls = ended.context("failed to end silent calls")?;
    if calls > 0 {
        tracing::info!(calls, "ended silent calls");
    }
    Ok(NextTurnStart::AfterInterval)
}
