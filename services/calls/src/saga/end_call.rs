//! Ends a call: its parties are free at once, its settlement follows.

use talktime_kit::Error;

use super::requests::{EndedCall, HangUpRequest};
use super::steps::end::{CallEndOutcome, CallEndRequest};
use crate::domain::CallError;
use crate::domain::call::{Call, CallPhase};
use crate::domain::ending::EndingParty;
use crate::domain::ringing::RingEndCause;
use crate::domain::steps::CallEndCause;
use crate::metrics;
use crate::service::CallService;
use crate::store::calls;

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
        let hang_up = || self.end_live_call(CallEndRequest::HangUp(end.clone()));
        let ended = match hang_up().await? {
            Some(ended) => ended,
            None => match self.end_unstarted_call(end).await? {
                Some(unanswered) => return Ok(unanswered),
                // The call went live meanwhile, or there is none.
                None => hang_up().await?.ok_or(CallError::NoSuchCall)?,
            },
        };
        let settled = self.settle_call(&ended.call).await?;
        let may_see_coins = settled.call.user_id == end.user_id || end.as_admin;
        Ok(EndedCall {
            remaining_coins: may_see_coins.then_some(settled.remaining_coins),
            call: settled.call,
        })
    }

    /// Ends a call that rings, or was accepted and is not live yet, so that a client that only knows how to end
    /// calls is right. A repeated request gets the same answer. Returns `None` if the call went live meanwhile.
    async fn end_unstarted_call(
        &self,
        end: &HangUpRequest,
    ) -> Result<Option<EndedCall>, CallError> {
        let call = calls::find(&mut *self.db.acquire().await?, end.call_id).await?;
        let call = call.filter(Call::is_ring).ok_or(CallError::NoSuchCall)?;
        let cause = RingEndCause::HungUp {
            user_id: end.user_id,
        };
        let by = call.party_of(end.user_id).unwrap_or(EndingParty::Admin);
        match call.phase {
            CallPhase::Connecting if self.connect_before_end(&call).await.is_some() => {
                return Ok(None);
            }
            CallPhase::Ringing | CallPhase::Reserving | CallPhase::Connecting => {
                if self.end_before_live(&call, cause).await?.is_some() {
                    return Ok(None);
                }
            }
            CallPhase::Undoing | CallPhase::Unanswered if call.ended_by == Some(by) => {}
            _ => return Err(CallError::NoSuchCall),
        }
        let call = calls::find(&mut *self.db.acquire().await?, end.call_id).await?;
        let call = call.ok_or(CallError::NoSuchCall)?;
        let payer_id = if end.as_admin {
            call.user_id
        } else {
            end.user_id
        };
        Ok(Some(EndedCall {
            remaining_coins: self.load_remaining_coins(&call, payer_id).await,
            call,
        }))
    }

    /// Turns a connecting call that is hung up live if media flows already, so that it is paid.
    async fn connect_before_end(&self, call: &Call) -> Option<Call> {
        let live = self.connect_by_flow_best_effort(call).await;
        if live.is_some() {
            return live;
        }
        self.cut_and_count(call).await;
        self.connect_by_flow_best_effort(call).await
    }

    /// Ends a live call and frees its parties. Returns `None` if the call goes on or there is nothing to
    /// end.
    pub(super) async fn end_live_call(
        &self,
        request: CallEndRequest,
    ) -> Result<Option<CallEndOutcome>, CallError> {
        let ended = self.steps.end.submit(request).await??;
        if let Some(CallEndOutcome { call, is_new: true }) = &ended {
            if !call.figures_follow_settlement {
                metrics::record_ended(call.status);
            }
            self.presence.mark_free(call);
            self.close_seats_in_background(call);
        }
        Ok(ended)
    }

    /// Ends a live call for a cause other than a request and tries to settle it. If either fails, the
    /// sweeper retries. Returns how many calls ended now.
    pub(super) async fn end_for_cause(&self, call_id: i64, cause: CallEndCause) -> usize {
        let ended = self
            .end_live_call(CallEndRequest::ByService(call_id, cause))
            .await;
        match ended.map_err(Error::from) {
            Ok(Some(CallEndOutcome { call, is_new: true })) => {
                self.settle_ended(call).await;
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
