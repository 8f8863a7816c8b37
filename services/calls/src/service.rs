//! The calls service: its state, which the saga's operations and the look-ups share.

use std::sync::Arc;

use talktime_kit::Clock;
use talktime_kit::db::Database;
use talktime_kit::messaging::Relay;
use tokio::sync::OnceCell;

use crate::config::CallTerms;
use crate::domain::CallError;
use crate::domain::call::Call;
use crate::peers::PeerClients;
use crate::saga::backlog::BillingBacklog;
use crate::saga::presence_updates::PresenceNotifier;
use crate::saga::step_batchers::StepBatchers;
use crate::service_parts::CallServiceParts;

/// The saga; cheap to clone.
#[derive(Clone)]
pub struct CallService {
    pub(crate) db: Database,
    pub(crate) relay: Relay,
    pub(crate) clock: Clock,
    pub(crate) terms: CallTerms,
    pub(crate) peers: PeerClients,
    /// What others see of calls.
    pub(crate) presence: PresenceNotifier,
    /// The steps that calls take steps.
    pub(crate) steps: StepBatchers,
    /// Whether calls may begin.
    pub(crate) backlog: BillingBacklog,
    /// The version of these prices, once it is looked up.
    pub(crate) prices_version: Arc<OnceCell<i64>>,
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
    pub(crate) async fn load_remaining_coins(&self, call: &Call, asked_by: i64) -> Option<i64> {
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
pub(crate) fn require_party(call: Option<Call>, user_id: i64) -> Result<Call, CallError> {
    let call = call.ok_or(CallError::NoSuchCall)?;
    if call.has_party(user_id) {
        Ok(call)
    } else {
        Err(CallError::NotAParty)
    }
}
