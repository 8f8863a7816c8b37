//! A call as a saga in one row.
//!
//! | phase | next step | by whom |
//! | --- | --- | --- |
//! | reserving | charge the first minute, then `active`; refused or unknown: `undoing` | the request; the sweeper undoes what a dead request left |
//! | undoing | void the charge, drop the row | the request, then the sweeper |
//! | active | charge each minute when it begins; out of coins: `settling` | the sweeper, nudged by clients |
//! | settling | charge begun minutes, pay the listener, then `settled` | the request, then the sweeper |
//!
//! The end of a call is published with its figures once these are certain: where it ends, or with its
//! settlement where a begun minute had yet to be charged.
//!
//! Every step may run twice or at once: the wallet knows each movement by its id, and the row moves
//! on only from the phase that the step expects.

mod backlog;
mod bill;
mod call_events;
mod charge;
mod check;
mod end;
mod end_live;
mod forbid;
mod go_live;
mod presence_updates;
mod reserve;
mod settle;
mod silence;
mod start;
mod start_batch;
mod step_batchers;
mod sweep;
mod undo;

use std::sync::Arc;

use futures::{StreamExt, stream};
use talktime_kit::Clock;
use talktime_kit::db::Database;
use talktime_kit::messaging::Relay;
use tokio::sync::OnceCell;

use self::backlog::BillingBacklog;
use self::presence_updates::PresenceNotifier;
use self::step_batchers::StepBatchers;
use crate::config::CallTerms;
use crate::domain::CallError;
use crate::domain::call::Call;
use crate::peers::PeerClients;
use crate::tracking::LiveCallTracker;

pub use bill::{BILL_ROUTE, BillingOutcome, BillingRequest};
pub use end::{EMERGENCY_END_ROUTE, END_ROUTE, EndedCall, HangUpRequest};
pub use silence::run_silence_watch;
pub use start::{START_ROUTE, StartRequest, StartedCall};
pub use sweep::{SweepOutcome, run_sweeper};

/// How long a step may take before the sweeper takes it over: longer than any request's deadline.
const LEASE_SECS: f64 = 8.0;

/// Sagas that one replica drives at the same time.
const CONCURRENCY: usize = 16;

/// What the saga works with.
pub struct CallServiceParts {
    /// The service's own schema.
    pub db: Database,
    /// Woken when there are events.
    pub relay: Relay,
    /// Tells the time of what is told; what is billed goes by the database's.
    pub clock: Clock,
    /// The services that a call is made of.
    pub peers: PeerClients,
    /// Live calls in Redis.
    pub tracking: LiveCallTracker,
    /// What calls cost and earn now.
    pub terms: CallTerms,
}

/// The saga; cheap to clone.
#[derive(Clone)]
pub struct CallService {
    pub(crate) db: Database,
    pub(crate) relay: Relay,
    pub(crate) clock: Clock,
    pub(crate) terms: CallTerms,
    peers: PeerClients,
    /// What others see of calls.
    presence: PresenceNotifier,
    /// The steps that calls take steps.
    steps: StepBatchers,
    /// Whether calls may begin.
    backlog: BillingBacklog,
    /// The version of these prices, once it is looked up.
    prices_version: Arc<OnceCell<i64>>,
}

impl CallService {
    /// Takes calls from now on.
    pub fn new(parts: CallServiceParts) -> Self {
        let presence = PresenceNotifier::start(&parts.peers, parts.tracking.clone());
        let steps = StepBatchers::start(&parts, &presence);
        Self {
            db: parts.db,
            relay: parts.relay,
            clock: parts.clock,
            peers: parts.peers,
            terms: parts.terms,
            presence,
            steps,
            backlog: BillingBacklog::default(),
            prices_version: Arc::default(),
        }
    }

    /// The call that a person is on, with the caller's coins where the wallet tells and the person
    /// is the caller.
    pub async fn find_ongoing(
        &self,
        user_id: i64,
    ) -> Result<Option<(Call, Option<i64>)>, CallError> {
        let call = self.find_call_of(user_id).await?;
        let Some(call) = call.filter(|call| call.start_time.is_some()) else {
            return Ok(None);
        };
        let remaining_coins = self.load_remaining_coins(&call, user_id).await;
        Ok(Some((call, remaining_coins)))
    }

    /// The caller's coins, for the caller only; none where the wallet does not tell.
    async fn load_remaining_coins(&self, call: &Call, asked_by: i64) -> Option<i64> {
        if call.user_id != asked_by {
            return None;
        }
        match self.peers.load_balance_coins(call.user_id).await {
            Ok(coins) => Some(coins),
            Err(error) => {
                tracing::warn!(%error, "a balance is not presence");
                None
            }
        }
    }
}

/// The call, if this user may act on it.
fn require_party(call: Option<Call>, user_id: i64) -> Result<Call, CallError> {
    let call = call.ok_or(CallError::NoSuchCall)?;
    if call.has_party(user_id) {
        Ok(call)
    } else {
        Err(CallError::NotAParty)
    }
}

/// Does one thing with each of many, a bounded number at once; answers the sum.
async fn sum_concurrently<T, F>(many: Vec<T>, act: impl FnMut(T) -> F) -> usize
where
    F: Future<Output = usize>,
{
    stream::iter(many)
        .map(act)
        .buffer_unordered(CONCURRENCY)
        .fold(0, |sum, each| async move { sum + each })
        .await
}
