//! What the calls service is built from.

use talktime_kit::Clock;
use talktime_kit::db::Database;
use talktime_kit::messaging::Relay;

use crate::config::CallTerms;
use crate::peers::PeerClients;
use crate::tracking::LiveCallTracker;

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
