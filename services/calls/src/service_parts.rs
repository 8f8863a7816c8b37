//! Dependencies of the calls service.

use talktime_kit::Clock;
use talktime_kit::db::{DatabasePool, StandbyReads};
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::messaging::Relay;

use crate::config::CallTerms;
use crate::media::relay_credentials::CredentialSigner;
use crate::media::relay_directory::RelayDirectory;
use crate::peers::PeerClients;
use crate::tracking::LiveCallTracker;

/// Dependencies of [`CallService`](crate::service::CallService).
pub struct CallServiceParts {
    /// The schema of this service.
    pub db: DatabasePool,
    /// Reads of histories and summaries, which may lag.
    pub reads: StandbyReads,
    /// Publishes the outbox; woken after every commit with events.
    pub relay: Relay,
    /// Clock for events. Billing follows the clock of the database.
    pub clock: Clock,
    /// Clients of profile, presence and wallet.
    pub peers: PeerClients,
    pub tracking: LiveCallTracker,
    /// NATS, for messages about seats.
    pub nats: async_nats::Client,
    /// Signs credentials for relays; `None` without a media engine.
    pub(crate) credentials: Option<CredentialSigner>,
    pub(crate) relays: RelayDirectory,
    /// Tracks background work, so that the stop of the process waits for it.
    pub lifecycle: ProcessLifecycle,
    /// Prices and limits of calls that start now.
    pub terms: CallTerms,
}
