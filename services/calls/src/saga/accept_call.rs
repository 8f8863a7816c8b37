//! Accepts a ringing call: charges the first minute, then goes live, or waits for the platform's media.
//!
//! The steps of accepts are taken in batches. A call that fails in between is undone, which voids a charge even if
//! its outcome is unknown.

use chrono::{DateTime, Utc};
use talktime_kit::Error;
use talktime_kit::messaging::outbox;
use tracing::Instrument;

use super::accept_batch::AcceptHalt;
use super::requests::{AcceptRingRequest, AcceptedCall};
use super::steps::go_live::PaidCallStart;
use super::undo_call::PresenceUndo;
use crate::domain::CallError;
use crate::domain::call::{Call, CallPhase};
use crate::domain::ringing;
use crate::domain::steps::{self, PaidMinute};
use crate::media::relay_growth::EarlierFlow;
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
    pub async fn accept_call(&self, accept: &AcceptRingRequest) -> Result<AcceptedCall, CallError> {
        let (service, accept) = (self.clone(), accept.clone());
        let steps = async move { service.run_accept_steps(&accept).await };
        let accepted = tokio::spawn(steps.in_current_span()).await;
        accepted.map_err(Error::internal)?
    }

    async fn run_accept_steps(
        &self,
        accept: &AcceptRingRequest,
    ) -> Result<AcceptedCall, CallError> {
        let mut accepted = self.steps.accept.submit(accept.clone()).await?;
        if let Err(AcceptHalt::RingEnds(cause)) = accepted {
            self.end_ring(accept.call_id, cause).await?;
            // The ring is over now, and the accept is refused with its outcome.
            accepted = self.steps.accept.submit(accept.clone()).await?;
        }
        match accepted {
            Ok(accepted) => {
                metrics::record_accepted();
                metrics::record_started(accepted.call.call_type);
                self.presence.track(&accepted.call);
                Ok(accepted)
            }
            Err(AcceptHalt::Connecting(paid)) => self.begin_accepted_media(*paid).await,
            Err(AcceptHalt::Repeated(call)) => Ok((*call).into()),
            Err(AcceptHalt::Overtaken) => Ok(self.find_begun_call(accept.call_id).await?.into()),
            Err(AcceptHalt::NeedsUndo { call, error }) => {
                Ok(self.undo_accepted_call(&call, error).await?.into())
            }
            Err(AcceptHalt::Refused(error)) => Err(error),
            Err(AcceptHalt::RingEnds(_)) => Err(CallError::Undone),
        }
    }

    /// Waits for the platform's media to connect the parties of a paid call.
    async fn begin_accepted_media(&self, paid: AcceptedCall) -> Result<AcceptedCall, CallError> {
        let call = match self.begin_connecting(&paid.call).await {
            Ok(Some(call)) => {
                metrics::record_accepted();
                call
            }
            Ok(None) => self.find_begun_call(paid.call.call_id).await?,
            Err(error) => self.undo_accepted_call(&paid.call, error).await?,
        };
        Ok(AcceptedCall { call, ..paid })
    }

    /// Turns a paid call live that is connecting; `None` if it is not any more.
    async fn go_live(
        &self,
        paid: &Call,
        minute: PaidMinute,
        flows_since: Option<DateTime<Utc>>,
    ) -> Result<Option<Call>, CallError> {
        let task = PaidCallStart::of_ring(paid, minute, flows_since);
        let Some((call, _)) = self.steps.go_live.submit(task).await? else {
            return Ok(None);
        };
        metrics::record_started(call.call_type);
        self.presence.track(&call);
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

    /// Turns a call live whose parties the platform's media has connected, now or since its earlier flow. The first
    /// minute is paid already; the repeated charge returns the coins that were left.
    ///
    /// # Errors
    ///
    /// [`CallError::NoSuchCall`], [`CallError::RingOver`] if the call was undone meanwhile; otherwise the
    /// failure of a step, which may be repeated.
    pub(crate) async fn connect_call(
        &self,
        call_id: i64,
        flow: Option<&EarlierFlow>,
    ) -> Result<Call, CallError> {
        let call = calls::find(&mut *self.db.acquire().await?, call_id).await?;
        let call = call.ok_or(CallError::NoSuchCall)?;
        if call.phase == CallPhase::Connecting {
            let charge = self.charge_minute(&call, 1).await?;
            let minute = steps::evaluate_first_charge(&call, charge)?;
            let flows_since = flow.map(|flow| flow.since);
            if let Some(live) = self.go_live(&call, minute, flows_since).await? {
                metrics::record_media_connected();
                if let Some(flow) = flow {
                    self.record_earlier_flow(&live, flow).await;
                }
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
