//! Ends calls whose parties are both gone, so that nobody talks and nobody hangs up.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use talktime_kit::Error;
use talktime_kit::lifecycle::Lifecycle;
use talktime_kit::periodic::{self, FirstTurn, NextTurn, PeriodicWork};

use crate::domain::CallError;
use crate::domain::call::Call;
use crate::domain::steps;
use crate::service::CallService;
use crate::store::calls;

/// Shortest interval between two passes over all live calls.
const EVERY_MIN: Duration = Duration::from_secs(1);
/// Longest interval between two passes.
const EVERY_MAX: Duration = Duration::from_secs(30);
/// Time limit of a pass.
const PASS_TIMEOUT: Duration = Duration::from_mins(1);
/// Calls per request to presence, which accepts two hundred people at once.
const BATCH_CALLS: i64 = 100;

/// Ends silent calls until the service stops. Every replica runs this; two replicas that end the same call do
/// no harm.
pub fn start_silence_watch(lifecycle: &Lifecycle, service: CallService) {
    let silence_max = service.terms.limits.silence_max.to_std();
    let every = silence_max.unwrap_or(EVERY_MAX) / 4;
    let every = every.clamp(EVERY_MIN, EVERY_MAX);
    let work = PeriodicWork {
        name: Cow::Borrowed("calls.silence"),
        interval: every,
        retry_after: every,
        deadline: PASS_TIMEOUT,
        first_turn: FirstTurn::AfterInterval,
    };
    periodic::start(lifecycle, work, move || pass_once(service.clone()));
}

async fn pass_once(service: CallService) -> anyhow::Result<NextTurn> {
    let ended = service.end_silent_calls().await.map_err(Error::from);
    let calls = ended.context("failed to end silent calls")?;
    if calls > 0 {
        tracing::info!(calls, "ended silent calls");
    }
    Ok(NextTurn::AfterInterval)
}

impl CallService {
    /// As [`CallService::end_silent_calls`], but logs a failure and returns zero: the next pass retries.
    pub(super) async fn end_silent_calls_best_effort(&self) -> usize {
        match self.end_silent_calls().await.map_err(Error::from) {
            Ok(calls) => calls,
            Err(error) => {
                tracing::warn!(%error, "failed to end silent calls; the next pass will retry");
                0
            }
        }
    }

    /// Ends the calls of which neither party has shown a sign of life for too long; returns how many.
    async fn end_silent_calls(&self) -> Result<usize, CallError> {
        let mut ended = 0;
        let mut after = 0;
        loop {
            let mut connection = self.db.acquire().await?;
            let live = calls::list_live_after(&mut connection, after, BATCH_CALLS).await?;
            drop(connection);
            let Some(last) = live.last() else {
                return Ok(ended);
            };
            after = last.call_id;
            // A call that is younger than the limit cannot be silent yet, so presence is not asked.
            let limits = &self.terms.limits;
            let is_old = |call: &Call| steps::evaluate_silence(call, None, limits).is_some();
            let old: Vec<Call> = live.into_iter().filter(is_old).collect();
            if old.is_empty() {
                continue;
            }
            let signs = self.peers.load_last_signs(&old).await?;
            let silent = old.iter().filter_map(|call| {
                let last_sign = call.parties().iter().filter_map(|id| signs.get(id)).max();
                let cause = steps::evaluate_silence(call, last_sign.copied(), limits)?;
                Some((call.call_id, cause))
            });
            ended += self.end_for_causes(silent.collect()).await;
        }
    }
}
