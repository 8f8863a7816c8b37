//! Starting a call: hold both people, charge the first minute, go live.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use talktime_kit::idempotency::{self, Seen};
use talktime_kit::{Error, failpoint, grpc};
use tracing::Instrument;

use super::go_live::PaidStart;
use super::{Calls, LEASE_SECS};
use crate::domain::CallError;
use crate::domain::billing::minutes_affordable;
use crate::domain::call::{Call, CallType};
use crate::domain::india;
use crate::domain::steps::{self, PaidMinute};
use crate::observe;
use crate::store::calls::NewCall;
use crate::store::{calls, prices};

/// The route that an Idempotency-Key of a start belongs to.
pub const START_ROUTE: &str = "POST /calls/start";

/// What must be left of a request's time for its call to go live: else the answer would be cut off
/// and nobody would know of the call.
const ANSWER_TIME: Duration = Duration::from_millis(600);

/// How long others are told to wait when the caller said nothing, in minutes.
const WAIT_MINUTES_DEFAULT: i32 = 10;

/// Longest estimate: a day, in minutes.
const ESTIMATE_MINUTES_MAX: i32 = 1_440;

/// A wish to call.
#[derive(Clone, Debug)]
pub struct Start {
    /// Who calls.
    pub caller_id: i64,
    /// Who is called.
    pub listener_id: i64,
    /// Audio or video.
    pub call_type: CallType,
    /// How long the caller means to talk.
    pub estimated_minutes: Option<i32>,
    /// The client's Idempotency-Key, with what it stands for.
    pub idempotency: Option<idempotency::Request>,
}

/// A call that has started.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Started {
    /// The call.
    pub call_id: i64,
    /// Minutes that the caller's coins pay for, the first included.
    pub minutes_affordable: i64,
    /// Coins for the estimated minutes, or for one.
    pub estimated_cost_coins: i64,
    /// The caller's coins after the first minute.
    pub remaining_coins: i64,
}

impl Started {
    pub(super) fn new(call: &Call, start: &Start, remaining_coins: i64) -> Self {
        let estimated_minutes = i64::from(start.estimated_minutes.unwrap_or(1));
        Self {
            call_id: call.call_id,
            minutes_affordable: 1 + minutes_affordable(remaining_coins, call.coins_per_minute),
            estimated_cost_coins: estimated_minutes * call.coins_per_minute,
            remaining_coins,
        }
    }

    /// How long others are told to wait, in minutes: what the caller means to talk, and not what the
    /// caller could pay, which is nobody's business.
    pub(super) fn wait_time(&self, start: &Start) -> i32 {
        let affordable = i32::try_from(self.minutes_affordable).unwrap_or(i32::MAX);
        start
            .estimated_minutes
            .unwrap_or(WAIT_MINUTES_DEFAULT)
            .min(affordable)
    }
}

/// A row in `reserving`, or the answer that the same request got before.
enum Reserved {
    Now(Box<Call>),
    Before(Started),
}

impl Calls {
    /// Starts a call, or refuses and leaves nothing behind. An error with an unknown outcome leaves
    /// a saga that the sweeper undoes.
    pub async fn start(&self, start: &Start) -> Result<Started, CallError> {
        check_wish(start)?;
        if let Some(request) = &start.idempotency
            && let Some(started) =
                idempotency::find(&mut *self.db.acquire().await?, request).await?
        {
            return Ok(started);
        }
        if self.backlog.is_long() {
            return Err(CallError::Overloaded);
        }
        let (caller_username, listener_username) = self.check_parties(start).await?;
        let new_call = NewCall {
            user_id: start.caller_id,
            listener_id: start.listener_id,
            call_type: start.call_type,
            coins_per_minute: self.terms.coins_per_minute(start.call_type),
            basic_paise_per_minute: self.terms.basic_paise_per_minute(start.call_type),
            prices_version: self.prices_version().await?,
            date: india::date(self.clock.now()),
            minute_secs: self.terms.minute_secs,
            caller_username: &caller_username,
            listener_username: &listener_username,
            idempotency_key: start.idempotency.as_ref().map(idempotency::Request::key),
        };
        let reserved = match self.reserve(&new_call, start).await? {
            Reserved::Now(call) => call,
            Reserved::Before(started) => return Ok(started),
        };
        failpoint::reach("calls.start.reserved");
        match self.charge_and_go_live(&reserved, start).await {
            Ok((call, started)) => {
                let tracking = self.tracking.clone();
                to_its_end(async move { tracking.show(&call).await }).await;
                Ok(started)
            }
            Err(error) => self
                .undone_or_live(reserved.call_id, start, &error)
                .await
                .ok_or(error),
        }
    }

    /// The version of the present prices, looked up once.
    async fn prices_version(&self) -> Result<i64, CallError> {
        let look_up = || async {
            let mut connection = self.db.acquire().await?;
            prices::version_of(&mut connection, &self.terms.content()).await
        };
        Ok(*self.prices_version.get_or_try_init(look_up).await?)
    }

    /// Undoes a failed start as far as that can be done at once. A start whose last commit was not
    /// confirmed may be live all the same: then it has started.
    async fn undone_or_live(
        &self,
        call_id: i64,
        start: &Start,
        error: &CallError,
    ) -> Option<Started> {
        let was_paid = !matches!(error, CallError::InsufficientCoins { .. });
        let live = match self.undo(call_id, was_paid).await {
            Ok(live) => live?,
            Err(error) => {
                let error = Error::from(error);
                tracing::warn!(call_id, %error, "the sweeper will undo this start");
                return None;
            }
        };
        let remaining_coins = self.peers.balance_coins(live.user_id).await.ok()?;
        Some(Started::new(&live, start, remaining_coins))
    }

    /// Asks the owners whether these two may talk now; answers both names.
    async fn check_parties(&self, start: &Start) -> Result<(String, String), CallError> {
        let (checked, online) = tokio::join!(
            self.peers.check_call(start.caller_id, start.listener_id),
            self.peers.is_online(start.listener_id),
        );
        let checked = checked?;
        if !checked.listener_exists {
            return Err(CallError::NoSuchListener);
        }
        if checked.blocked {
            return Err(CallError::Blocked);
        }
        if !checked.is_listener {
            return Err(CallError::NotAListener);
        }
        if checked.verification_missing {
            return Err(CallError::ListenerNotVerified);
        }
        if !online? {
            return Err(CallError::ListenerOffline);
        }
        Ok((checked.caller_username, checked.listener_username))
    }

    async fn reserve(&self, new_call: &NewCall<'_>, start: &Start) -> Result<Reserved, CallError> {
        let Some(request) = &start.idempotency else {
            failpoint::reach("calls.start.before_reserved");
            let mut connection = self.db.acquire().await?;
            let call = take_both(&mut connection, new_call).await?;
            return Ok(Reserved::Now(Box::new(call)));
        };
        let mut tx = self.db.begin().await?;
        if let Seen::Before(started) = idempotency::begin(&mut tx, request).await? {
            return Ok(Reserved::Before(started));
        }
        let call = take_both(&mut tx, new_call).await?;
        failpoint::reach("calls.start.before_reserved");
        tx.commit().await?;
        Ok(Reserved::Now(Box::new(call)))
    }

    async fn charge_and_go_live(
        &self,
        reserved: &Call,
        start: &Start,
    ) -> Result<(Call, Started), CallError> {
        let charge = self.peers.charge(reserved, 1).await?;
        let minute = steps::go_live(reserved, charge)?;
        failpoint::reach("calls.start.charged");
        // At the same time: a call that does not go live after all is undone, and that is told too.
        let wait_time = Started::new(reserved, start, minute.balance_coins).wait_time(start);
        let (peers, shown) = (self.peers.clone(), reserved.clone());
        let show_busy = async move { peers.show_busy(&shown, wait_time).await };
        let go_live = self.go_live(reserved.call_id, start, minute);
        tokio::join!(go_live, to_its_end(show_busy)).0
    }

    async fn go_live(
        &self,
        call_id: i64,
        start: &Start,
        minute: PaidMinute,
    ) -> Result<(Call, Started), CallError> {
        if grpc::time_left().is_some_and(|left| left < ANSWER_TIME) {
            return Err(CallError::Undone);
        }
        let paid = PaidStart {
            call_id,
            start: start.clone(),
            minute,
        };
        let live = self.together.going_live.ask(paid).await?;
        let (call, started) = live.ok_or(CallError::Undone)?;
        observe::started(call.call_type);
        Ok((call, started))
    }
}

/// Does it all, also when the client goes away meanwhile.
async fn to_its_end(telling: impl Future<Output = ()> + Send + 'static) {
    // Only a panic in there would be an error, and it has been logged.
    let _ = tokio::spawn(telling.in_current_span()).await;
}

/// Holds both people for a call to be.
async fn take_both(
    connection: &mut PgConnection,
    new_call: &NewCall<'_>,
) -> Result<Call, CallError> {
    match calls::reserve(connection, new_call, LEASE_SECS).await {
        Ok(call) => call.ok_or(CallError::OnACall),
        Err(error) if calls::is_taken(&error) => Err(CallError::OnACall),
        Err(error) => Err(error.into()),
    }
}

fn check_wish(start: &Start) -> Result<(), CallError> {
    if start.caller_id == start.listener_id {
        return Err(CallError::Oneself);
    }
    let estimate = start.estimated_minutes.unwrap_or(1);
    if !(1..=ESTIMATE_MINUTES_MAX).contains(&estimate) {
        return Err(CallError::EstimateOutOfRange);
    }
    Ok(())
}
