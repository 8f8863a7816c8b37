//! Calls whose two sides are both gone: nobody hangs up, and nobody talks.

use std::time::Duration;

use talktime_kit::Error;
use tokio_util::sync::CancellationToken;

use crate::domain::CallError;
use crate::domain::call::Call;
use crate::domain::steps;
use crate::service::CallService;
use crate::store::calls;

/// How often all live calls are looked at, at most.
const EVERY_MIN: Duration = Duration::from_secs(1);
/// How often they are looked at, at least.
const EVERY_MAX: Duration = Duration::from_secs(30);
/// Calls looked at together: presence tells of two hundred people at once.
const BATCH_CALLS: i64 = 100;

/// Ends silent calls until told to stop; on every replica. Two that end the same call do no harm.
pub async fn run_silence_watch(service: CallService, stopping: CancellationToken) {
    let silence_max = service.terms.limits.silence_max.to_std();
    let every = silence_max.unwrap_or(EVERY_MAX) / 4;
    let every = every.clamp(EVERY_MIN, EVERY_MAX);
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stopping.cancelled() => return,
        }
        let calls = service.end_silent_calls_best_effort().await;
        if calls > 0 {
            tracing::info!(calls, "silent calls are ended");
        }
    }
}

impl CallService {
    /// As [`CallService::end_silent_calls`]; none while presence does not tell.
    pub(super) async fn end_silent_calls_best_effort(&self) -> usize {
        match self.end_silent_calls().await.map_err(Error::from) {
            Ok(calls) => calls,
            Err(error) => {
                tracing::warn!(%error, "silent calls are ended later");
                0
            }
        }
    }

    /// Ends the calls whose two sides have presence no sign of life for too long; answers how many.
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
            // Whoever has talked for less than that is not asked about.
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
