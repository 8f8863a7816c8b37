//! Ends rings that lead to no call: declined, taken back, or over.

use talktime_kit::Error;
use talktime_kit::messaging::outbox;

use super::requests::DeclineRingRequest;
use super::steps::end_ring::{EndRingOutcome, EndRingRequest};
use super::undo_call::PresenceUndo;
use crate::domain::CallError;
use crate::domain::call::{Call, CallPhase};
use crate::domain::ending::EndingParty;
use crate::domain::ending::RingOutcome;
use crate::domain::ringing::{self, RingEndCause};
use crate::metrics;
use crate::ring_events;
use crate::service::{CallService, require_party};
use crate::store::{calls, rings};

impl CallService {
    /// Declines a ringing call for its listener. A repeated request gets the first answer again.
    ///
    /// # Errors
    ///
    /// [`CallError::NotTheListener`], or [`CallError::RingOver`] if the ring has ended otherwise.
    pub async fn decline_call(&self, decline: DeclineRingRequest) -> Result<Call, CallError> {
        self.require_listener(decline.call_id, decline.user_id)
            .await?;
        let cause = RingEndCause::Declined(decline.reason);
        let call = self.end_ring(decline.call_id, cause).await?.call;
        match call.outcome {
            Some(RingOutcome::Rejected) => Ok(call),
            _ => Err(ringing::ring_over(&call)),
        }
    }

    /// Takes a ringing call back for its caller. A repeated request gets the first answer again.
    ///
    /// # Errors
    ///
    /// [`CallError::OnlyCallerCancels`], or [`CallError::RingOver`] if the ring has ended otherwise.
    pub async fn cancel_call(&self, call_id: i64, user_id: i64) -> Result<Call, CallError> {
        let call = self.find_party_call(call_id, user_id).await?;
        if call.user_id != user_id {
            return Err(CallError::OnlyCallerCancels);
        }
        let cause = RingEndCause::HungUp { user_id };
        let call = self.end_ring(call_id, cause).await?.call;
        match (call.outcome, call.ended_by) {
            (Some(RingOutcome::Cancelled), Some(EndingParty::Caller)) => Ok(call),
            _ => Err(ringing::ring_over(&call)),
        }
    }

    /// Records that a device of the listener rings, as often as devices say so; returns the call.
    ///
    /// # Errors
    ///
    /// [`CallError::NotTheListener`], or [`CallError::RingOver`] if the device must stop ringing.
    pub async fn acknowledge_ring(&self, call_id: i64, user_id: i64) -> Result<Call, CallError> {
        self.require_listener(call_id, user_id).await?;
        let mut tx = self.db.begin().await?;
        if let Some(call) = rings::record_reached(&mut tx, call_id).await? {
            let event = ring_events::call_reached(&call);
            outbox::append_all(&mut tx, self.clock.now(), vec![event]).await?;
            tx.commit().await?;
            self.relay.wake();
            metrics::record_reached(&call);
            return Ok(call);
        }
        drop(tx);
        let call = self.find_party_call(call_id, user_id).await?;
        match call.phase {
            CallPhase::Ringing if call.reached_at.is_some() => Ok(call),
            CallPhase::Ringing => Err(CallError::RingOver {
                outcome: Some(RingOutcome::Unreachable),
                status: None,
            }),
            _ => Err(ringing::ring_over(&call)),
        }
    }

    /// Ends a ring; a call that does not ring any more stays as it is.
    pub(super) async fn end_ring(
        &self,
        call_id: i64,
        cause: RingEndCause,
    ) -> Result<EndRingOutcome, CallError> {
        let request = EndRingRequest { call_id, cause };
        let ended = self.steps.end_ring.submit(request).await?;
        let ended = ended.ok_or(CallError::NoSuchCall)?;
        if let EndRingOutcome { call, is_new: true } = &ended {
            metrics::record_unanswered(call);
            self.presence.mark_free(call);
        }
        Ok(ended)
    }

    /// Ends a ring whose time is over; if that fails, the sweeper retries. Returns how many ended now.
    pub(super) async fn end_ring_best_effort(&self, call_id: i64) -> usize {
        let ended = self.end_ring(call_id, RingEndCause::Expired).await;
        match ended.map_err(Error::from) {
            Ok(ended) => usize::from(ended.is_new),
            Err(error) => {
                tracing::warn!(%error, call_id, "failed to end a ring; the sweeper will retry");
                0
            }
        }
    }

    /// Ends a call that may not be live yet: a ring ends, a start is undone. Returns the call if it is live.
    pub(super) async fn end_before_live(
        &self,
        call: &Call,
        cause: RingEndCause,
    ) -> Result<Option<Call>, CallError> {
        if call.is_ring() && self.end_ring(call.call_id, cause).await?.is_new {
            return Ok(None);
        }
        let ending = ringing::resolve_ring_end(call, cause, &self.terms.limits);
        let ending = ending.unwrap_or_else(|| ringing::abandoned_ending(call));
        self.undo_call_as(call, PresenceUndo::MarkFree, ending)
            .await
    }

    /// Returns the call if the user is its listener.
    pub(super) async fn require_listener(
        &self,
        call_id: i64,
        user_id: i64,
    ) -> Result<Call, CallError> {
        let call = calls::find(&mut *self.db.acquire().await?, call_id).await?;
        ringing::require_listener(call, user_id)
    }

    /// Returns the call if the user is a party of it.
    pub(crate) async fn find_party_call(
        &self,
        call_id: i64,
        user_id: i64,
    ) -> Result<Call, CallError> {
        let call = calls::find(&mut *self.db.acquire().await?, call_id).await?;
        require_party(call, user_id)
    }
}
