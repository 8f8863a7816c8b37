//! Ending a call: people are free at once, the books are closed after.

use sqlx::PgConnection;
use talktime_kit::idempotency::{self, Seen};
use talktime_kit::messaging::outbox;
use talktime_kit::{Error, failpoint};
use tracing::Instrument;

use super::{Calls, LEASE_SECS, tell};
use crate::domain::CallError;
use crate::domain::call::{Call, Phase, Status};
use crate::domain::steps::{self, Cause};
use crate::observe;
use crate::store::calls;

/// The route that an Idempotency-Key of an end belongs to.
pub const END_ROUTE: &str = "POST /calls/end";
/// The route that an Idempotency-Key of an emergency end belongs to.
pub const EMERGENCY_END_ROUTE: &str = "POST /calls/emergency-end";

/// A wish to end a call.
#[derive(Clone, Debug)]
pub struct End {
    /// The call.
    pub call_id: i64,
    /// Who asks.
    pub user_id: i64,
    /// Whether they may end anybody's call.
    pub as_admin: bool,
    /// How the call is to stand.
    pub status: Status,
    /// The client's Idempotency-Key, with what it stands for.
    pub idempotency: Option<idempotency::Request>,
}

/// A call that has ended and is settled.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The call as it stays.
    pub call: Call,
    /// The caller's coins right after it, for the caller.
    pub remaining_coins: Option<i64>,
}

impl Calls {
    /// Ends a call and settles it. Asked again while the wallet is away it tries to settle again; once
    /// settled there is nothing to end, but the same request under its key gets its receipt again.
    pub async fn end(&self, end: &End) -> Result<Ended, CallError> {
        let ended = self.hang_up(end).await?;
        let settled = self.settle(&ended).await?;
        let is_told = settled.call.user_id == end.user_id || end.as_admin;
        Ok(Ended {
            remaining_coins: is_told.then_some(settled.remaining_coins),
            call: settled.call,
        })
    }

    /// Ends a live call for this request and remembers that it did; answers a call that this request
    /// or somebody else ended before as it is.
    async fn hang_up(&self, end: &End) -> Result<Call, CallError> {
        let mut tx = self.db.begin().await?;
        let call = calls::lock(&mut tx, end.call_id)
            .await?
            .ok_or(CallError::NoSuchCall)?;
        if !end.as_admin && !call.has_party(end.user_id) {
            return Err(CallError::NotAParty);
        }
        let cause = Cause::HangUp {
            status: end.status,
            by_caller: call.user_id == end.user_id,
        };
        let (call, is_new) = match call.phase {
            Phase::Active => {
                let ended = self.end_locked(&mut tx, &call, cause).await?;
                (ended.ok_or(CallError::NoSuchCall)?, true)
            }
            Phase::Settling => (call, false),
            Phase::Settled if was_ended_by(&mut tx, end).await? => return Ok(call),
            Phase::Settled | Phase::Reserving | Phase::Undoing => {
                return Err(CallError::NoSuchCall);
            }
        };
        remember(&mut tx, end).await?;
        failpoint::reach("calls.end.before_settling");
        tx.commit().await?;
        failpoint::reach("calls.end.settling");
        if is_new {
            self.tell_ended(&call);
        }
        Ok(call)
    }

    /// Ends a live call for a reason of its own and frees its people; answers it in `settling`, or none
    /// when it goes on or has ended before.
    pub(super) async fn end_live(
        &self,
        call_id: i64,
        cause: Cause,
    ) -> Result<Option<Call>, CallError> {
        let mut tx = self.db.begin().await?;
        let live = calls::lock(&mut tx, call_id).await?;
        let Some(live) = live.filter(|call| call.phase == Phase::Active) else {
            return Ok(None);
        };
        let Some(ended) = self.end_locked(&mut tx, &live, cause).await? else {
            return Ok(None);
        };
        failpoint::reach("calls.end.before_settling");
        tx.commit().await?;
        failpoint::reach("calls.end.settling");
        self.tell_ended(&ended);
        Ok(Some(ended))
    }

    async fn end_locked(
        &self,
        tx: &mut PgConnection,
        live: &Call,
        cause: Cause,
    ) -> Result<Option<Call>, CallError> {
        let Some(ending) = steps::ending(live, cause, &self.terms.limits) else {
            return Ok(None);
        };
        let ended = calls::begin_settling(tx, live.call_id, ending, LEASE_SECS).await?;
        let event = tell::ended(&ended, &ending, cause);
        let now = self.clock.now();
        outbox::append(tx, ended.call_id, ended.version, now, event).await?;
        Ok(Some(ended))
    }

    /// Tells presence and Redis in the background: neither the books nor the next call wait for them.
    fn tell_ended(&self, call: &Call) {
        self.relay.wake();
        observe::ended(call.status);
        let Self {
            peers, tracking, ..
        } = self.clone();
        let call = call.clone();
        let show = async move {
            tokio::join!(peers.show_free(&call), tracking.hide(call.call_id));
        };
        tokio::spawn(show.in_current_span());
    }

    /// Ends a live call for a reason of its own and tries to settle it; the sweeper tries again where
    /// that fails. Answers how many ended now.
    pub(super) async fn end_by_itself(&self, call_id: i64, cause: Cause) -> usize {
        match self.end_live(call_id, cause).await.map_err(Error::from) {
            Ok(Some(ended)) => {
                self.settle_at_best(ended).await;
                1
            }
            Ok(None) => 0,
            Err(error) => {
                tracing::warn!(%error, call_id, ?cause, "a call is ended later");
                0
            }
        }
    }
}

/// Keeps for the request's key that it ended this call. Its receipt is the call's, whenever it is asked
/// for again.
async fn remember(tx: &mut PgConnection, end: &End) -> Result<(), CallError> {
    let Some(request) = &end.idempotency else {
        return Ok(());
    };
    if let Seen::First = idempotency::begin::<i64>(tx, request).await? {
        idempotency::finish(tx, request, &end.call_id).await?;
    }
    Ok(())
}

/// Whether it was this very request, under its key, that ended the call.
async fn was_ended_by(tx: &mut PgConnection, end: &End) -> Result<bool, CallError> {
    let Some(request) = &end.idempotency else {
        return Ok(false);
    };
    Ok(idempotency::find::<i64>(tx, request).await?.is_some())
}
