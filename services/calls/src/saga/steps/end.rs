//! The end step: turns live calls into ended ones and frees their parties, whatever the reason.

use std::collections::HashMap;

use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_kit::db::{DatabasePool, PgConnection, expect_row_count};
use talktime_kit::messaging::Relay;
use talktime_kit::messaging::outbox::{self, OutboxColumns};
use talktime_kit::{Clock, Error, failpoint, idempotency};

use crate::domain::CallError;
use crate::domain::call::{Call, CallPhase};
use crate::domain::ending::{CallEndReason, EndingParty};
use crate::domain::limits::SagaTimeLimits;
use crate::domain::steps::{self, CallEndCause};
use crate::domain::transitions;
use crate::events;
use crate::saga::batching::index_by_id;
use crate::saga::bounds::LEASE_SECS;
use crate::saga::requests::HangUpRequest;
use crate::store::calls;

/// Ends a batch of calls in one transaction.
pub(crate) struct EndCallBatchHandler {
    pub(crate) db: DatabasePool,
    pub(crate) relay: Relay,
    pub(crate) clock: Clock,
    pub(crate) limits: SagaTimeLimits,
    pub(crate) paise_per_coin: i64,
}

/// A request to end a call, by a user or by the service.
#[derive(Clone, Debug)]
pub(crate) enum CallEndRequest {
    /// A user hangs up.
    HangUp(HangUpRequest),
    /// The service ends the call for this cause.
    ByService(i64, CallEndCause),
}

impl CallEndRequest {
    fn call_id(&self) -> i64 {
        match self {
            Self::HangUp(end) => end.call_id,
            Self::ByService(call_id, _) => *call_id,
        }
    }

    fn is_allowed(&self, call: &Call) -> bool {
        match self {
            Self::HangUp(end) => end.as_admin || call.has_party(end.user_id),
            Self::ByService(..) => true,
        }
    }

    fn cause(&self, call: &Call) -> CallEndCause {
        match self {
            Self::HangUp(end) => {
                let party = call.party_of(end.user_id);
                CallEndCause::HangUp {
                    status: end.status,
                    reason: party.map_or(CallEndReason::Admin, |_| end.reason),
                    by: party.unwrap_or(EndingParty::Admin),
                }
            }
            Self::ByService(_, cause) => *cause,
        }
    }

    /// Returns the call as it was when the user first requested its end. A call that nobody could end then ends as of
    /// that moment, and what was charged beyond it is returned.
    fn view_at_first_request(&self, call: &Call) -> Call {
        match self {
            Self::HangUp(end) => call.view_earlier(end.waited),
            Self::ByService(..) => call.clone(),
        }
    }

    fn idempotency(&self) -> Option<&idempotency::KeyedRequest> {
        match self {
            Self::HangUp(end) => end.idempotency.as_ref(),
            Self::ByService(..) => None,
        }
    }

    /// Records under the idempotency key of the request that this request ended the call. A repeated
    /// request then gets the receipt of the call.
    async fn record_replay(&self, tx: &mut PgConnection) -> Result<(), CallError> {
        if let Some(request) = self.idempotency() {
            idempotency::record(tx, request, &self.call_id()).await?;
        }
        Ok(())
    }

    /// Whether this very request, by its idempotency key, ended the call before.
    async fn is_replay(&self, tx: &mut PgConnection) -> Result<bool, CallError> {
        let Some(request) = self.idempotency() else {
            return Ok(false);
        };
        Ok(idempotency::find::<i64>(tx, request).await?.is_some())
    }
}

/// The decision about one request of a batch.
#[derive(Clone, Copy)]
enum CallEndDecision {
    /// The call ends now.
    End(steps::CallEnding, CallEndCause),
    /// The call ended before, possibly by an earlier request of this batch.
    AlreadyEnded,
    /// The call goes on, was settled before, or never went live.
    Nothing,
    /// The call belongs to other people.
    NotAParty,
}

/// A call that has ended.
#[derive(Clone, Debug)]
pub(crate) struct CallEndOutcome {
    /// The call in `settling`, or in `settled` for a repeated request.
    pub(crate) call: Call,
    /// Whether this request ended it.
    pub(crate) is_new: bool,
}

impl BatchHandler for EndCallBatchHandler {
    const NAME: &'static str = "end";
    type Task = CallEndRequest;
    /// `None` if there is nothing to end.
    type Answer = Result<Option<CallEndOutcome>, CallError>;
    type Error = CallError;

    async fn handle(
        &self,
        group: &[BatchItem<CallEndRequest>],
    ) -> Result<Vec<Self::Answer>, CallError> {
        let call_ids: Vec<i64> = group.iter().map(|member| member.task.call_id()).collect();
        let mut tx = self.db.begin().await?;
        // Rows are locked in the order of their ids, so that two batches never wait for each other in a
        // circle. Whatever is decided below holds until the commit.
        let mut calls = index_by_id(calls::lock_by_ids(&mut tx, &call_ids).await?);
        let mut endings: Vec<(i64, steps::CallEnding)> = Vec::new();
        let mut decisions = Vec::with_capacity(group.len());
        for BatchItem { task: request, .. } in group {
            let ended_earlier_in_batch = endings
                .iter()
                .any(|(call_id, _)| *call_id == request.call_id());
            let decision = match calls.get(&request.call_id()) {
                Some(call) => {
                    self.decide_end(&mut tx, request, call, ended_earlier_in_batch)
                        .await?
                }
                None => CallEndDecision::Nothing,
            };
            if let CallEndDecision::End(ending, _) = decision {
                endings.push((request.call_id(), ending));
            }
            decisions.push(decision);
        }
        // The rows are locked, so their end is known, and the statement that ends them appends its events.
        let expected = self.expect_ended(&calls, &endings);
        let events = build_end_events(group, &decisions, &expected);
        let ended = calls::begin_settling(
            &mut tx,
            &endings,
            OutboxColumns::encode(self.clock.now(), events.clone()),
            self.paise_per_coin,
            LEASE_SECS,
        )
        .await?;
        expect_row_count(
            ended.len() as u64,
            endings.len() as u64,
            "calls.user_calls",
            "locked live calls",
        )?;
        calls.extend(index_by_id(ended));
        if build_end_events(group, &decisions, &calls) != events {
            return Err(Error::internal("calls.user_calls has other ends than expected").into());
        }
        failpoint::reach("calls.end.before_settling");
        tx.commit().await?;
        failpoint::reach("calls.end.settling");
        self.relay.wake();
        let decided = call_ids.iter().zip(decisions);
        Ok(decided
            .map(|(call_id, decision)| end_outcome(decision, calls.get(call_id)))
            .collect())
    }
}

impl EndCallBatchHandler {
    /// Returns the calls that end now as they are then.
    fn expect_ended(
        &self,
        locked: &HashMap<i64, Call>,
        endings: &[(i64, steps::CallEnding)],
    ) -> HashMap<i64, Call> {
        let ended = endings.iter().filter_map(|(call_id, ending)| {
            let live = locked.get(call_id)?;
            let ended = transitions::expect_ended(live, ending, self.paise_per_coin);
            Some((*call_id, ended))
        });
        ended.collect()
    }

    /// Decides about one request. `ended_earlier_in_batch` states that an earlier request of this batch
    /// ends the call, which the row does not show yet.
    async fn decide_end(
        &self,
        tx: &mut PgConnection,
        request: &CallEndRequest,
        call: &Call,
        ended_earlier_in_batch: bool,
    ) -> Result<CallEndDecision, CallError> {
        if !request.is_allowed(call) {
            return Ok(CallEndDecision::NotAParty);
        }
        let decision = match call.phase {
            CallPhase::Active if !ended_earlier_in_batch => {
                let cause = request.cause(call);
                match steps::resolve_end(&request.view_at_first_request(call), cause, &self.limits)
                {
                    Some(ending) => CallEndDecision::End(ending, cause),
                    None => return Ok(CallEndDecision::Nothing),
                }
            }
            CallPhase::Active | CallPhase::Settling => CallEndDecision::AlreadyEnded,
            CallPhase::Settled if request.is_replay(tx).await? => {
                return Ok(CallEndDecision::AlreadyEnded);
            }
            CallPhase::Settled
            | CallPhase::Ringing
            | CallPhase::Reserving
            | CallPhase::Connecting
            | CallPhase::Undoing
            | CallPhase::Unanswered => return Ok(CallEndDecision::Nothing),
        };
        request.record_replay(tx).await?;
        Ok(decision)
    }
}

fn build_end_events(
    group: &[BatchItem<CallEndRequest>],
    decisions: &[CallEndDecision],
    calls: &HashMap<i64, Call>,
) -> Vec<outbox::TracedEvent> {
    let decided = group.iter().zip(decisions);
    decided
        .filter_map(|(member, decision)| {
            let CallEndDecision::End(_, cause) = decision else {
                return None;
            };
            let call = calls.get(&member.task.call_id())?;
            let event = events::call_hung_up_or_ended(call, *cause);
            Some((event, member.traceparent.clone()))
        })
        .collect()
}

fn end_outcome(
    decision: CallEndDecision,
    call: Option<&Call>,
) -> Result<Option<CallEndOutcome>, CallError> {
    let is_new = match decision {
        CallEndDecision::End(..) => true,
        CallEndDecision::AlreadyEnded => false,
        CallEndDecision::Nothing => return Ok(None),
        CallEndDecision::NotAParty => return Err(CallError::NotAParty),
    };
    Ok(call.map(|call| CallEndOutcome {
        call: call.clone(),
        is_new,
    }))
}
