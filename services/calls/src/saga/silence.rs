//! Ends calls whose parties are both gone, so that nobody talks and nobody hangs up.

use talktime_kit::Error;

use crate::domain::CallError;
use crate::domain::call::Call;
use crate::domain::steps;
use crate::service::CallService;
use crate::store::calls;

/// Calls per request to presence, which accepts two hundred people at once.
const BATCH_CALLS: i64 = 100;

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
    pub(crate) async fn end_silent_calls(&self) -> Result<usize, CallError> {
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
            // A call that is younger than the limit cannot be silent yet, so presence is not queried.
            let limits = &self.terms.limits;
            let is_old = |call: &Call| steps::evaluate_silence(call, None, limits).is_some();
            let old: Vec<Call> = live.into_iter().filter(is_old).collect();
            if old.is_empty() {
                continue;
            }
            let signs = self
                .peers
                .load_last_signs(old.iter().flat_map(Call::parties).collect())
                .await?;
            let silent = old.iter().filter_map(|call| {
                let last_sign = call.parties().iter().filter_map(|id| signs.get(id)).max();
                let cause = steps::evaluate_silence(call, last_sign.copied(), limits)?;
                Some((call.call_id, cause))
            });
            ended += self.end_for_causes(silent.collect()).await;
        }
    }
}
