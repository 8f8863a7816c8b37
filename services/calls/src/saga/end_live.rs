//! Live calls end, for whatever reason: their people are free after it.

use std::collections::HashMap;

use sqlx::PgConnection;
use talktime_kit::db::Database;
use talktime_kit::group::{Member, Work};
use talktime_kit::idempotency::{self, Seen};
use talktime_kit::messaging::{Relay, outbox};
use talktime_kit::{Clock, Error, failpoint};

use super::end::HangUpRequest;
use super::together::by_id;
use super::{LEASE_SECS, tell};
use crate::domain::CallError;
use crate::domain::call::{Call, CallPhase};
use crate::domain::steps::{self, EndCause};
use crate::store::calls;

/// Calls that end together.
pub(super) struct EndBatchHandler {
    pub(super) db: Database,
    pub(super) relay: Relay,
    pub(super) clock: Clock,
    pub(super) limits: steps::SagaLimits,
    pub(super) paise_per_coin: i64,
}

/// Why a call is to end.
#[derive(Clone, Debug)]
pub(super) enum EndRequest {
    /// Somebody asks for it.
    HangUp(HangUpRequest),
    /// It ends for a reason of its own.
    ByService(i64, EndCause),
}

impl EndRequest {
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

    fn cause(&self, call: &Call) -> EndCause {
        match self {
            Self::HangUp(end) => EndCause::HangUp {
                status: end.status,
                by_caller: call.user_id == end.user_id,
            },
            Self::ByService(_, cause) => *cause,
        }
    }

    fn idempotency(&self) -> Option<&idempotency::Request> {
        match self {
            Self::HangUp(end) => end.idempotency.as_ref(),
            Self::ByService(..) => None,
        }
    }

    /// Keeps for the request's key that it ended this call. Its receipt is the call's, whenever it is
    /// asked for again.
    async fn remember(&self, tx: &mut PgConnection) -> Result<(), CallError> {
        let Some(request) = self.idempotency() else {
            return Ok(());
        };
        if let Seen::First = idempotency::begin::<i64>(tx, request).await? {
            idempotency::finish(tx, request, &self.call_id()).await?;
        }
        Ok(())
    }

    /// Whether it was this very request, under its key, that ended the call.
    async fn has_ended_it(&self, tx: &mut PgConnection) -> Result<bool, CallError> {
        let Some(request) = self.idempotency() else {
            return Ok(false);
        };
        Ok(idempotency::find::<i64>(tx, request).await?.is_some())
    }
}

/// What becomes of a call.
#[derive(Clone, Copy)]
enum EndDecision {
    /// It ends now.
    End(steps::CallEnding, EndCause),
    /// It has ended before, or for a wish before this one.
    AlreadyEnded,
    /// It goes on, or was settled before, or never began.
    Nothing,
    /// Somebody else's call.
    NotAParty,
}

/// An ended call.
#[derive(Clone, Debug)]
pub(super) struct EndOutcome {
    /// In `settling`, or in `settled` for a request that ended it before.
    pub(super) call: Call,
    /// Whether it ended now.
    pub(super) is_new: bool,
}

impl Work for EndBatchHandler {
    type Task = EndRequest;
    /// None when there is nothing to end.
    type Answer = Result<Option<EndOutcome>, CallError>;
    type Error = CallError;

    async fn work(&self, group: &[Member<EndRequest>]) -> Result<Vec<Self::Answer>, CallError> {
        let call_ids: Vec<i64> = group.iter().map(|member| member.task.call_id()).collect();
        let mut tx = self.db.begin().await?;
        let mut calls = by_id(calls::lock(&mut tx, &call_ids).await?);
        let mut endings: Vec<(i64, steps::CallEnding)> = Vec::new();
        let mut verdicts = Vec::with_capacity(group.len());
        for Member { task: wish, .. } in group {
            let ends = endings
                .iter()
                .any(|(call_id, _)| *call_id == wish.call_id());
            let verdict = match calls.get(&wish.call_id()) {
                Some(call) => self.judge(&mut tx, wish, call, ends).await?,
                None => EndDecision::Nothing,
            };
            if let EndDecision::End(ending, _) = verdict {
                endings.push((wish.call_id(), ending));
            }
            verdicts.push(verdict);
        }
        let ended =
            calls::begin_settling(&mut tx, &endings, self.paise_per_coin, LEASE_SECS).await?;
        if ended.len() != endings.len() {
            return Err(Error::internal("a locked live call did not end").into());
        }
        calls.extend(by_id(ended));
        let events = events(group, &verdicts, &calls);
        outbox::append_traced(&mut tx, self.clock.now(), events).await?;
        failpoint::reach("calls.end.before_settling");
        tx.commit().await?;
        failpoint::reach("calls.end.settling");
        self.relay.wake();
        let judged = call_ids.iter().zip(verdicts);
        Ok(judged
            .map(|(call_id, verdict)| answer(verdict, calls.get(call_id)))
            .collect())
    }
}

impl EndBatchHandler {
    /// `ends` tells that a wish before this one ends the call.
    async fn judge(
        &self,
        tx: &mut PgConnection,
        wish: &EndRequest,
        call: &Call,
        ends: bool,
    ) -> Result<EndDecision, CallError> {
        if !wish.is_allowed(call) {
            return Ok(EndDecision::NotAParty);
        }
        let verdict = match call.phase {
            CallPhase::Active if !ends => {
                let cause = wish.cause(call);
                match steps::ending(call, cause, &self.limits) {
                    Some(ending) => EndDecision::End(ending, cause),
                    None => return Ok(EndDecision::Nothing),
                }
            }
            CallPhase::Active | CallPhase::Settling => EndDecision::AlreadyEnded,
            CallPhase::Settled if wish.has_ended_it(tx).await? => {
                return Ok(EndDecision::AlreadyEnded);
            }
            CallPhase::Settled | CallPhase::Reserving | CallPhase::Undoing => {
                return Ok(EndDecision::Nothing);
            }
        };
        wish.remember(tx).await?;
        Ok(verdict)
    }
}

fn events(
    group: &[Member<EndRequest>],
    verdicts: &[EndDecision],
    calls: &HashMap<i64, Call>,
) -> Vec<outbox::Traced> {
    let judged = group.iter().zip(verdicts);
    judged
        .filter_map(|(member, verdict)| {
            let EndDecision::End(_, cause) = verdict else {
                return None;
            };
            let call = calls.get(&member.task.call_id())?;
            let event = tell::hung_up_or_ended(call, *cause);
            Some((event, member.traceparent.clone()))
        })
        .collect()
}

fn answer(verdict: EndDecision, call: Option<&Call>) -> Result<Option<EndOutcome>, CallError> {
    let is_new = match verdict {
        EndDecision::End(..) => true,
        EndDecision::AlreadyEnded => false,
        EndDecision::Nothing => return Ok(None),
        EndDecision::NotAParty => return Err(CallError::NotAParty),
    };
    Ok(call.map(|call| EndOutcome {
        call: call.clone(),
        is_new,
    }))
}
