//! State of the calls service, which the operations of the saga and the lookups share.

use std::sync::Arc;

use talktime_kit::Clock;
use talktime_kit::db::{DatabasePool, StandbyReads};
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::messaging::Relay;
use tokio::sync::OnceCell;

use crate::config::CallTerms;
use crate::domain::CallError;
use crate::domain::call::Call;
use crate::media::relay_credentials::CredentialSigner;
use crate::media::relay_directory::RelayDirectory;
use crate::media::seat_messages::SeatMessenger;
use crate::peers::PeerClients;
use crate::saga::backlog::BillingBacklog;
use crate::saga::presence_updates::CallPresenceNotifier;
use crate::saga::step_batchers::SagaStepBatchers;
use crate::saga::sweep_pace::SweepPace;
use crate::service_parts::CallServiceParts;

/// The calls service; cheap to clone.
#[derive(Clone)]
pub struct CallService {
    pub(crate) db: DatabasePool,
    /// Reads of histories and summaries, which may lag.
    pub(crate) reads: StandbyReads,
    pub(crate) relay: Relay,
    pub(crate) clock: Clock,
    pub(crate) lifecycle: ProcessLifecycle,
    pub(crate) terms: CallTerms,
    pub(crate) peers: PeerClients,
    /// Publishes which people are busy.
    pub(crate) presence: CallPresenceNotifier,
    /// Batches the shared steps of the saga.
    pub(crate) steps: SagaStepBatchers,
    /// How often the sweeper looks for due calls.
    pub(crate) sweep_pace: SweepPace,
    /// Refuses new calls while minutes are billed late.
    pub(crate) backlog: BillingBacklog,
    /// Messages for the gateways that serve the sockets of a seat.
    pub(crate) seat_messages: SeatMessenger,
    /// Signs credentials for relays; `None` without a media engine.
    pub(crate) credentials: Option<CredentialSigner>,
    pub(crate) relays: RelayDirectory,
    /// Version of the present prices, once it has been looked up.
    pub(crate) prices_version: Arc<OnceCell<i64>>,
}

impl CallService {
    /// Builds the service and starts its batchers.
    pub fn new(parts: CallServiceParts) -> Self {
        let presence = CallPresenceNotifier::start(&parts);
        let sweep_pace = SweepPace::default();
        let steps = SagaStepBatchers::start(&parts, &presence, &sweep_pace);
        Self {
            db: parts.db,
            reads: parts.reads,
            relay: parts.relay,
            clock: parts.clock,
            lifecycle: parts.lifecycle,
            peers: parts.peers,
            terms: parts.terms,
            presence,
            steps,
            sweep_pace,
            backlog: BillingBacklog::default(),
            seat_messages: SeatMessenger::new(parts.nats),
            credentials: parts.credentials,
            relays: parts.relays,
            prices_version: Arc::default(),
        }
    }

    /// Finds the call that a user is on, with the coins of the caller if the user is the caller and the
    /// wallet answers.
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

    /// Coins of the caller, for the caller only; `None` if the wallet does not answer.
    pub(crate) async fn load_remaining_coins(
        &self,
        call: &Call,
        asking_user_id: i64,
    ) -> Option<i64> {
        if call.user_id != asking_user_id {
            return None;
        }
        match self.peers.load_balance_coins(call.user_id).await {
            Ok(coins) => Some(coins),
            Err(error) => {
                tracing::warn!(
                    %error,
                    call_id = call.call_id,
                    "failed to load the balance of a caller; answering without it"
                );
                None
            }
        }
    }
}

/// Returns the call if the user may act on it.
pub(crate) fn require_party(call: Option<Call>, user_id: i64) -> Result<Call, CallError> {
    let call = call.ok_or(CallError::NoSuchCall)?;
    if call.has_party(user_id) {
        Ok(call)
    } else {
        Err(CallError::NotAParty)
    }
}
