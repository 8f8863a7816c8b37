//! Dependencies of the calls service.

use talktime_kit::Clock;
use talktime_kit::db::Database;
use talktime_kit::lifecycle::Lifecycle;
use talktime_kit::messaging::Relay;

use crate::config::CallTerms;
use crate::peers::PeerClients;
use crate::tracking::LiveCallTracker;

/// Dependencies of [`CallService`](crate::service::CallService).
pub struct CallServiceParts {
    /// The schema of this service.
    pub db: Database,
    /// Publishes the outbox; woken after every commit with events.
    pub relay: Relay,
    /// Clock for events. Billing follows the clock of the database.
    pub clock: Clock,
    /// Clients of profile, presence and wallet.
    pub peers: PeerClients,
    pub tracking: LiveCallTracker,
    /// Tracks background work, so that the stop of the process waits for it.
    pub lifecycle: Lifecycle,
    /// Prices and limits of calls that start now.
    pub terms: CallTerms,
}
