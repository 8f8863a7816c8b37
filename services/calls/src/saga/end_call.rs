//! Ending a call: people are free at once, the books are closed after.

use talktime_kit::Error;

use super::requests::{EndedCall, HangUpRequest};
use super::steps::end::{EndOutcome, EndRequest};
use crate::domain::CallError;
use crate::domain::steps::EndCause;
use crate::observe;
use crate::service::CallService;

impl CallService {
    /// Ends a call and settles it. Asked again while the wallet is away it tries to settle again; once
    /// settled there is nothing to end, but the same request under its key gets its receipt again.
    pub async fn end_call(&self, end: &HangUpRequest) -> Result<EndedCall, CallError> {
        let ended = self.end_live(EndRequest::HangUp(end.clone())).await?;
        let ended = ended.ok_or(CallError::NoSuchCall)?;
        let settled = self.settle(&ended.call).await?;
        let is_told = settled.call.user_id == end.user_id || end.as_admin;
        Ok(EndedCall {
            remaining_coins: is_told.then_some(settled.remaining_coins),
            call: settled.call,
        })
    }

    /// Ends a live call and frees its people; none when it goes on or there is nothing to end.
    pub(super) async fn end_live(
        &self,
        request: EndRequest,
    ) -> Result<Option<EndOutcome>, CallError> {
        let ended = self.steps.end.ask(request).await??;
        if let Some(EndOutcome { call, is_new: true }) = &ended {
            if !call.figures_follow_settlement {
                observe::record_ended(call.status);
            }
            self.presence.mark_free(call);
        }
        Ok(ended)
    }

    /// Ends a live call for a reason of its own and tries to settle it; the sweeper tries again where
    /// that fails. Answers how many ended now.
    pub(super) async fn end_for_cause(&self, call_id: i64, cause: EndCause) -> usize {
        let ended = self.end_live(EndRequest::ByService(call_id, cause)).await;
        match ended.map_err(Error::from) {
            Ok(Some(EndOutcome { call, is_new: true })) => {
                self.settle_best_effort(call).await;
                1
            }
            Ok(_) => 0,
            Err(error) => {
                tracing::warn!(%error, call_id, ?cause, "a call is ended later");
                0
            }
        }
    }
}
