//! Starts a call: reserves both parties, charges the first minute, and goes live.

use std::time::Instant;

use talktime_kit::{Error, grpc, idempotency};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::requests::{CallStartRequest, StartedCall};
use super::start_batch::{CallStartPlan, StartHalt};
use super::undo_call::PresenceUndo;
use crate::domain::CallError;
use crate::domain::call::{Call, CallPhase};
use crate::domain::india;
use crate::metrics;
use crate::service::CallService;
use crate::store::prices;
use crate::store::reservations::{NewCall, NewRing};

/// Longest estimate in minutes: a day.
const ESTIMATE_MINUTES_MAX: i32 = 1_440;

impl CallService {
    /// Starts a call, or refuses and leaves nothing behind. After an error with an unknown outcome, the
    /// sweeper undoes what is left.
    ///
    /// The steps run in a task of their own. A client that disconnects therefore stops the start only where
    /// the start checks for it, and never between a step and its undo.
    ///
    /// # Errors
    ///
    /// [`CallError::InsufficientCoins`] if the first minute cannot be paid, [`CallError::OnACall`] if a party is busy,
    /// [`CallError::IncomingCall`] if the listener rings the caller, [`CallError::Overloaded`] while minutes are billed
    /// late, [`CallError::Undone`] if the start did not complete in time; otherwise the reason why the two may not
    /// talk.
    pub async fn start_call(&self, start: &CallStartRequest) -> Result<StartedCall, CallError> {
        validate_request(start)?;
        if let Some(request) = &start.idempotency
            && let Some(started) =
                idempotency::find(&mut *self.db.acquire().await?, request).await?
        {
            return Ok(started);
        }
        if self.backlog.is_long() {
            return Err(CallError::Overloaded);
        }
        let client_gone = CancellationToken::new();
        let plan = self.plan_start(start, client_gone.clone()).await?;
        let _until_answered = client_gone.drop_guard();
        let service = self.clone();
        let steps = async move { service.run_start_plan(plan).await };
        let started = self
            .lifecycle
            .run_to_completion(steps.in_current_span())
            .await;
        started.map_err(Error::internal)?
    }

    async fn run_start_plan(&self, plan: CallStartPlan) -> Result<StartedCall, CallError> {
        let start = plan.start.clone();
        match self.steps.start.submit(plan).await? {
            Ok((call, started)) => {
                metrics::record_started(call.call_type);
                self.presence.track(&call);
                Ok(started)
            }
            Err(StartHalt::Ringing { started, .. } | StartHalt::Replayed(started)) => Ok(started),
            Err(StartHalt::Refused(CallError::OnACall)) if start.ring => {
                Err(self.explain_busy_party(&start).await?)
            }
            Err(StartHalt::Refused(error)) => Err(error),
            Err(StartHalt::NeedsUndo {
                call,
                error,
                is_shown_busy,
            }) => {
                let presence = match error {
                    CallError::InsufficientCoins { .. } if !is_shown_busy => PresenceUndo::Nothing,
                    _ => PresenceUndo::MarkFree,
                };
                let live = self.undo_or_find_live(&call, &start, presence).await;
                live.ok_or(error)
            }
        }
    }

    /// Returns the version of the present prices; reads or writes it only once per process.
    async fn load_prices_version(&self) -> Result<i64, CallError> {
        let load = || async {
            let mut tx = self.db.begin().await?;
            let version =
                prices::find_or_insert_version(&mut tx, &self.terms.price_fields()).await?;
            tx.commit().await?;
            Ok::<i64, CallError>(version)
        };
        Ok(*self.prices_version.get_or_try_init(load).await?)
    }

    /// Undoes a failed start as far as possible now. If the last commit was not confirmed, the call may be
    /// live all the same; then the start has succeeded and is returned.
    async fn undo_or_find_live(
        &self,
        call: &Call,
        start: &CallStartRequest,
        presence: PresenceUndo,
    ) -> Option<StartedCall> {
        let live = match self.undo_call(call, presence).await {
            Ok(live) => live?,
            Err(error) => {
                let (call_id, error) = (call.call_id, Error::from(error));
                tracing::warn!(call_id, %error, "failed to undo a start; the sweeper will retry");
                return None;
            }
        };
        let remaining_coins = self.peers.load_balance_coins(live.user_id).await.ok()?;
        Some(StartedCall::new(&live, start, remaining_coins))
    }

    /// Returns why a ring found a party busy: the listener may be ringing the caller.
    async fn explain_busy_party(&self, start: &CallStartRequest) -> Result<CallError, CallError> {
        let call = self.find_call_of(start.caller_id).await?;
        let incoming = call.filter(|call| {
            call.phase == CallPhase::Ringing
                && call.parties() == [start.listener_id, start.caller_id]
        });
        Ok(match incoming {
            Some(call) => CallError::IncomingCall {
                call_id: call.call_id,
            },
            None => CallError::OnACall,
        })
    }

    /// Returns how a call rings; `None` for a call that begins at once.
    fn plan_ring(&self, start: &CallStartRequest) -> Result<Option<NewRing>, CallError> {
        let terms = &self.terms.ringing;
        terms.check_ring(start.ring)?;
        let media = self.terms.media.choose_carrier(start.ring, start.media)?;
        if !start.ring {
            return Ok(None);
        }
        Ok(Some(NewRing {
            media,
            ring_secs: terms.ring_secs,
            reach_secs: terms.reach_secs,
            estimated_minutes: start.estimated_minutes,
        }))
    }

    async fn plan_start(
        &self,
        start: &CallStartRequest,
        client_gone: CancellationToken,
    ) -> Result<CallStartPlan, CallError> {
        let ring = self.plan_ring(start)?;
        let coins_per_minute = self.terms.coins_per_minute(start.call_type);
        let minutes_required = i64::from(self.terms.ringing.min_minutes);
        let key = start
            .idempotency
            .as_ref()
            .map(idempotency::KeyedRequest::key);
        Ok(CallStartPlan {
            start: start.clone(),
            call: NewCall {
                user_id: start.caller_id,
                listener_id: start.listener_id,
                call_type: start.call_type,
                coins_per_minute,
                basic_paise_per_minute: self.terms.basic_paise_per_minute(start.call_type),
                prices_version: self.load_prices_version().await?,
                date: india::date(self.clock.now()),
                minute_secs: self.terms.minute_secs,
                caller_username: String::new(),
                listener_username: String::new(),
                idempotency_key: key.map(str::to_owned),
                ring,
            },
            required_coins: ring.map(|_| minutes_required * coins_per_minute),
            deadline: grpc::time_left().map(|left| Instant::now() + left),
            client_gone,
        })
    }
}

fn validate_request(start: &CallStartRequest) -> Result<(), CallError> {
    if start.caller_id == start.listener_id {
        return Err(CallError::Oneself);
    }
    let estimate = start.estimated_minutes.unwrap_or(1);
    if !(1..=ESTIMATE_MINUTES_MAX).contains(&estimate) {
        return Err(CallError::EstimateOutOfRange);
    }
    Ok(())
}
