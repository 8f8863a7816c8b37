//! Checks whether the caller of a ring is still present when the listener accepts it. Accepts that arrive together
//! share one request to profile and one to presence.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use talktime_kit::Error;
use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_kit::grpc;
use talktime_proto::events::v1::CallPeer;

use crate::domain::call::PlannedParties;
use crate::peers::PeerClients;
use crate::saga::steps::check::caller_peer;

/// Time limit of the check; the call begins even if nobody answers in time. Listeners wait for the check, and the
/// charge must be answered within the same request.
const CHECK_TIMEOUT: Duration = Duration::from_millis(500);

/// Checks the callers of a batch of rings.
pub(crate) struct CallerCheckBatchHandler {
    pub(crate) peers: PeerClients,
}

/// The state of a caller, as far as the peers have answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallerState {
    /// Whether one of the two has blocked the other.
    pub(crate) is_blocked: bool,
    pub(crate) last_sign: Option<DateTime<Utc>>,
    /// The caller as the listener sees them.
    pub(crate) peer: Option<CallPeer>,
}

impl BatchHandler for CallerCheckBatchHandler {
    const NAME: &'static str = "check_caller";
    type Task = PlannedParties;
    type Answer = CallerState;
    type Error = Error;

    async fn handle(&self, group: &[BatchItem<PlannedParties>]) -> Result<Vec<CallerState>, Error> {
        let pairs: Vec<PlannedParties> = group.iter().map(|member| member.task).collect();
        let caller_ids = pairs.iter().map(|pair| pair.caller_id).collect();
        let answers = async {
            tokio::join!(
                self.peers.check_calls(&pairs),
                self.peers.load_last_signs(caller_ids)
            )
        };
        let (checks, signs) = grpc::with_deadline(Instant::now() + CHECK_TIMEOUT, answers).await;
        let mut checks = checks.unwrap_or_default().into_iter();
        let signs = signs.unwrap_or_default();
        let states = pairs.iter().map(|pair| {
            let check = checks.next();
            CallerState {
                is_blocked: check.as_ref().is_some_and(|check| check.blocked),
                last_sign: signs.get(&pair.caller_id).copied(),
                peer: check.map(|check| caller_peer(pair.caller_id, &check)),
            }
        });
        Ok(states.collect())
    }
}
