//! Accepts a ringing call: charges the first minute, then goes live, or waits for the platform's media.
//!
//! The order of the steps protects the money as at a start: the call is reserved for one session of the
//! listener before the first minute is charged, and it goes live only after the payment. A call that fails in
//! between is undone, which voids a charge even if its outcome is unknown.

use chrono::{DateTime, Utc};
use talktime_kit::messaging::outbox;
use talktime_kit::{Error, failpoint};
use tracing::Instrument;

use super::presence_updates::BusyCall;
use super::requests::{AcceptRingRequest, CallStartRequest, StartedCall};
use super::steps::go_live::PaidCallStart;
use super::undo_call::PresenceUndo;
use crate::domain::CallError;
use crate::domain::call::{Call, CallMedia, CallPhase, PlannedParties};
use crate::domain::ending::EndingParty;
use crate::domain::ringing::{self, RingEndCause};
use crate::domain::steps::{self, PaidMinute};
use crate::metrics;
use crate::ring_events;
use crate::service::CallService;
use crate::store::{calls, rings};

impl CallService {
    /// Accepts a ringing call for a session of its listener. A repeated request of the same session gets the
    /// same answer, or takes the steps that are left.
    ///
    /// The steps run in a task of their own, so a client that disconnects never stops them between a step and
    /// its undo.
    ///
    /// # Errors
    ///
    /// [`CallError::NotTheListener`], [`CallError::AcceptedElsewhere`] if another session was first,
    /// [`CallError::RingOver`], [`CallError::RingUnpaid`] if the caller cannot pay the first minute; otherwise
    /// the failure of the start, after which nothing is charged.
    pub async fn accept_call(&self, accept: &AcceptRingRequest) -> Result<Call, CallError> {
        let call = self
            .require_listener(accept.call_id, accept.user_id)
            .await?;
        if call.phase == CallPhase::Ringing {
            self.end_if_caller_is_gone(&call).await?;
        }
        let (service, accept) = (self.clone(), accept.clone());
        let steps = async move { service.run_accept_steps(&accept).await };
        let accepted = tokio::spawn(steps.in_current_span()).await;
        accepted.map_err(Error::internal)?
    }

    async fn run_accept_steps(&self, accept: &AcceptRingRequest) -> Result<Call, CallError> {
        let reserved = self.steps.accept.submit(accept.clone()).await??;
        if reserved.phase != CallPhase::Reserving {
            return Ok(reserved);
        }
        failpoint::reach("calls.accept.reserved");
        let charge = self.charge_minute(&reserved, 1).await;
        failpoint::reach("calls.accept.charged");
        let minute = charge
            .map_err(CallError::from)
            .and_then(|charge| steps::evaluate_first_charge(&reserved, charge));
        let begun = match minute {
            Ok(minute) => self.begin_accepted_call(&reserved, minute).await,
            Err(error) => Err(error),
        };
        match begun {
            Ok(call) => Ok(call),
            Err(error) => self.undo_accepted_call(&reserved, error).await,
        }
    }

    /// Ends the ring of a caller who has shown no sign of life, or has been blocked, since it began. Peers
    /// that do not answer prevent nothing.
    async fn end_if_caller_is_gone(&self, call: &Call) -> Result<(), CallError> {
        let parties = PlannedParties::of(call);
        let caller = self.steps.check_caller.submit(parties).await?;
        if caller.is_blocked {
            let by = EndingParty::Server;
            self.end_ring(call.call_id, RingEndCause::Blocked { by })
                .await?;
        } else if ringing::is_caller_gone(call, caller.last_sign, &self.terms.limits) {
            self.end_ring(call.call_id, RingEndCause::CallerGone)
                .await?;
        }
        Ok(())
    }

    async fn begin_accepted_call(
        &self,
        reserved: &Call,
        minute: PaidMinute,
    ) -> Result<Call, CallError> {
        let begun = match reserved.media {
            CallMedia::Own => self.go_live(reserved, minute, None).await?,
            CallMedia::Platform => self.begin_connecting(reserved).await?,
        };
        match begun {
            Some(call) => {
                metrics::record_accepted();
                Ok(call)
            }
            // Another driver has taken this step, or the call is being undone.
            None => self.find_begun_call(reserved.call_id).await,
        }
    }

    /// Turns a paid call live; `None` if it is not reserved, or connecting, any more.
    async fn go_live(
        &self,
        paid: &Call,
        minute: PaidMinute,
        flows_since: Option<DateTime<Utc>>,
    ) -> Result<Option<Call>, CallError> {
        let start = CallStartRequest::of_ring(paid);
        let started = StartedCall::new(paid, &start, minute.balance_coins);
        let busy = [BusyCall {
            call: paid.clone(),
            wait_minutes: Some(started.wait_minutes(&start)),
        }];
        let task = PaidCallStart {
            call_id: paid.call_id,
            start,
            minute,
            flows_since,
        };
        let live = self.steps.go_live.submit(task);
        let (live, ()) = tokio::join!(live, self.presence.mark_busy(&busy));
        let Some((call, _)) = live? else {
            return Ok(None);
        };
        metrics::record_started(call.call_type);
        self.presence.track(&call).await;
        Ok(Some(call))
    }

    async fn begin_connecting(&self, reserved: &Call) -> Result<Option<Call>, CallError> {
        let connect_secs = self.terms.limits.connect.as_seconds_f64();
        let mut tx = self.db.begin().await?;
        let connecting = rings::begin_connecting(&mut tx, reserved.call_id, connect_secs).await?;
        if let Some(call) = &connecting {
            let event = ring_events::call_accepted(call, call.version);
            outbox::append_all(&mut tx, self.clock.now(), vec![event]).await?;
        }
        tx.commit().await?;
        self.relay.wake();
        Ok(connecting)
    }

    /// Turns a call live whose parties the platform's media has connected, now or since a moment before. The first
    /// minute is paid already; the repeated charge returns the coins that were left.
    ///
    /// # Errors
    ///
    /// [`CallError::NoSuchCall`], [`CallError::RingOver`] if the call was undone meanwhile; otherwise the
    /// failure of a step, which may be repeated.
    pub async fn connect_call(
        &self,
        call_id: i64,
        flows_since: Option<DateTime<Utc>>,
    ) -> Result<Call, CallError> {
        let call = calls::find(&mut *self.db.acquire().await?, call_id).await?;
        let call = call.ok_or(CallError::NoSuchCall)?;
        if call.phase == CallPhase::Connecting {
            let charge = self.charge_minute(&call, 1).await?;
            let minute = steps::evaluate_first_charge(&call, charge)?;
            let live = self.go_live(&call, minute, flows_since).await?;
            if live.is_some() {
                metrics::record_media_connected();
            }
        }
        self.find_begun_call(call_id).await
    }

    /// Finds a call that is live or connecting, or says what became of it.
    async fn find_begun_call(&self, call_id: i64) -> Result<Call, CallError> {
        let call = calls::find(&mut *self.db.acquire().await?, call_id).await?;
        let call = call.ok_or(CallError::NoSuchCall)?;
        match call.phase {
            CallPhase::Connecting | CallPhase::Active => Ok(call),
            CallPhase::Reserving => Err(CallError::Undone),
            _ => Err(ringing::ring_over(&call)),
        }
    }

    /// Undoes an accepted call whose start failed. If the last commit was not confirmed, the call may be live
    /// all the same; then it is returned.
    async fn undo_accepted_call(&self, call: &Call, error: CallError) -> Result<Call, CallError> {
        if matches!(error, CallError::RingOver { .. }) {
            return Err(error);
        }
        let ending = ringing::ending_after_error(&error);
        let presence = PresenceUndo::MarkFree;
        match self.undo_call_as(call, presence, ending).await {
            Ok(Some(live)) => return Ok(live),
            Ok(None) => {}
            Err(error) => {
                let (call_id, error) = (call.call_id, Error::from(error));
                tracing::warn!(call_id, %error, "failed to undo an accepted call; the sweeper will retry");
            }
        }
        Err(match error {
            CallError::InsufficientCoins { .. } => CallError::RingUnpaid,
            // Somebody else has ended the call meanwhile.
            CallError::Undone => self
                .find_begun_call(call.call_id)
                .await
                .err()
                .unwrap_or(error),
            error => error,
        })
    }
}
