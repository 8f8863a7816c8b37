//! Ends a call: its parties are free at once, its settlement follows.

use talktime_kit::Error;

use super::requests::{EndedCall, HangUpRequest};
use super::steps::end::{EndOutcome, EndRequest};
use crate::domain::CallError;
use crate::domain::steps::EndCause;
use crate::metrics;
use crate::service::CallService;

impl CallService {
    /// Ends a call at the request of a user and settles it. If the wallet was unavailable, a repeated
    /// request retries the settlement. A settled call cannot be ended again, but a repeated request with
    /// the idempotency key that ended it gets the same receipt.
    ///
    /// # Errors
    ///
    /// [`CallError::NoSuchCall`] if there is no live or unsettled call, [`CallError::NotAParty`] if the
    /// user may not end it; otherwise the failure of the settlement, which the sweeper retries.
    pub async fn end_call(&self, end: &HangUpRequest) -> Result<EndedCall, CallError> {
        let ended = self.end_live_call(EndRequest::HangUp(end.clone())).await?;
        let ended = ended.ok_or(CallError::NoSuchCall)?;
        let settled = self.settle_call(&ended.call).await?;
        let may_see_coins = settled.call.user_id == end.user_id || end.as_admin;
        Ok(EndedCall {
            remaining_coins: may_see_coins.then_some(settled.remaining_coins),
            call: settled.call,
        })
    }

    /// Ends a live call and frees its parties. Returns `None` if the call goes on or there is nothing to
    /// end.
    pub(super) async fn end_live_call(
        &self,
        request: EndRequest,
    ) -> Result<Option<EndOutcome>, CallError> {
        let ended = self.steps.end.submit(request).await??;
        if let Some(EndOutcome { call, is_new: true }) = &ended {
            if !call.figures_follow_settlement {
                metrics::record_ended(call.status);
            }
            self.presence.mark_free(call);
        }
        Ok(ended)
    }

    /// Ends a live call for a cause other than a request and tries to settle it. If either fails, the
    /// sweeper retries. Returns how many calls ended now.
    pub(super) async fn end_for_cause(&self, call_id: i64, cause: EndCause) -> usize {
        let ended = self
            .end_live_call(EndRequest::ByService(call_id, cause))
            .await;
        match ended.map_err(Error::from) {
            Ok(Some(EndOutcome { call, is_new: true })) => {
                self.settle_best_effort(call).await;
                1
            }
            Ok(_) => 0,
            Err(error) => {
                tracing::warn!(
                    %error,
                    call_id,
                    ?cause,
                    "failed to end a call; the next sweep or silence check will retry"
                );
                0
            }
        }
    }
}
