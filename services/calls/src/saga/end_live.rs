//! Live calls end, for whatever reason: their people are free after it.

use std::collections::HashMap;

use sqlx::PgConnection;
use talktime_kit::db::Database;
use talktime_kit::group::{Member, Work};
use talktime_kit::idempotency::{self, Seen};
use talktime_kit::messaging::{Relay, outbox};
use talktime_kit::{Clock, Error, failpoint};

use super::end::End;
use super::together::by_id;
use super::{LEASE_SECS, tell};
use crate::domain::CallError;
use crate::domain::call::{Call, Phase};
use crate::domain::steps::{self, Cause};
use crate::store::calls;

/// Calls that end together.
pub(super) struct EndingLive {
    pub(super) db: Database,
    pub(super) relay: Relay,
    pub(super) clock: Clock,
    pub(super) limits: steps::Limits,
    pub(super) paise_per_coin: i64,
}

/// Why a call is to end.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    /// Somebody asks for it.
    Asked(End),
    /// It ends for a reason of its own.
    Caused(i64, Cause),
}

impl Wish {
    fn call_id(&self) -> i64 {
        match self {
            Self::Asked(end) => end.call_id,
            Self::Caused(call_id, _) => *call_id,
        }
    }

    fn is_allowed(&self, call: &Call) -> bool {
        match self {
            Self::Asked(end) => end.as_admin || call.has_party(end.user_id),
            Self::Caused(..) => true,
        }
    }

    fn cause(&self, call: &Call) -> Cause {
        match self {
            Self::Asked(end) => Cause::HangUp {
                status: end.status,
                by_caller: call.user_id == end.user_id,
            },
            Self::Caused(_, cause) => *cause,
        }
    }

    fn idempotency(&self) -> Option<&idempotency::Request> {
        match self {
            Self::Asked(end) => end.idempotency.as_ref(),
            Self::Caused(..) => None,
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
enum Verdict {
    /// It ends now.
    Ends(steps::Ending, Cause),
    /// It has ended before, or for a wish before this one.
    HasEnded,
    /// It goes on, or was settled before, or never began.
    Nothing,
    /// Somebody else's call.
    NotAParty,
}

/// An ended call.
#[derive(Clone, Debug)]
pub(super) struct EndedLive {
    /// In `settling`, or in `settled` for a request that ended it before.
    pub(super) call: Call,
    /// Whether it ended now.
    pub(super) is_new: bool,
}

impl Work for EndingLive {
    type Task = Wish;
    /// None when there is nothing to end.
    type Answer = Result<Option<EndedLive>, CallError>;
    type Error = CallError;

    async fn work(&self, group: &[Member<Wish>]) -> Result<Vec<Self::Answer>, CallError> {
        let call_ids: Vec<i64> = group.iter().map(|member| member.task.call_id()).collect();
        let mut tx = self.db.begin().await?;
        let mut calls = by_id(calls::lock(&mut tx, &call_ids).await?);
        let mut endings: Vec<(i64, steps::Ending)> = Vec::new();
        let mut verdicts = Vec::with_capacity(group.len());
        for Member { task: wish, .. } in group {
            let ends = endings
                .iter()
                .any(|(call_id, _)| *call_id == wish.call_id());
            let verdict = match calls.get(&wish.call_id()) {
                Some(call) => self.judge(&mut tx, wish, call, ends).await?,
                None => Verdict::Nothing,
            };
            if let Verdict::Ends(ending, _) = verdict {
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

impl EndingLive {
    /// `ends` tells that a wish before this one ends the call.
    async fn judge(
        &self,
        tx: &mut PgConnection,
        wish: &Wish,
        call: &Call,
        ends: bool,
    ) -> Result<Verdict, CallError> {
        if !wish.is_allowed(call) {
            return Ok(Verdict::NotAParty);
        }
        let verdict = match call.phase {
            Phase::Active if !ends => {
                let cause = wish.cause(call);
                match steps::ending(call, cause, &self.limits) {
                    Some(ending) => Verdict::Ends(ending, cause),
                    None => return Ok(Verdict::Nothing),
                }
            }
            Phase::Active | Phase::Settling => Verdict::HasEnded,
            Phase::Settled if wish.has_ended_it(tx).await? => return Ok(Verdict::HasEnded),
            Phase::Settled | Phase::Reserving | Phase::Undoing => return Ok(Verdict::Nothing),
        };
        wish.remember(tx).await?;
        Ok(verdict)
    }
}

fn events(
    group: &[Member<Wish>],
    verdicts: &[Verdict],
    calls: &HashMap<i64, Call>,
) -> Vec<outbox::Traced> {
    let judged = group.iter().zip(verdicts);
    judged
        .filter_map(|(member, verdict)| {
            let Verdict::Ends(_, cause) = verdict else {
                return None;
            };
            let call = calls.get(&member.task.call_id())?;
            let event = tell::hung_up_or_ended(call, *cause);
            Some((event, member.traceparent.clone()))
        })
        .collect()
}

fn answer(verdict: Verdict, call: Option<&Call>) -> Result<Option<EndedLive>, CallError> {
    let is_new = match verdict {
        Verdict::Ends(..) => true,
        Verdict::HasEnded => false,
        Verdict::Nothing => return Ok(None),
        Verdict::NotAParty => return Err(CallError::NotAParty),
    };
    Ok(call.map(|call| EndedLive {
        call: call.clone(),
        is_new,
    }))
}
