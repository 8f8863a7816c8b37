//! Checks whether the caller of a ring is still present when the listener accepts it. Accepts that arrive together
//! share one request to profile and one to presence.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use talktime_kit::Error;
use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_kit::grpc;

use crate::domain::call::PlannedParties;
use crate::peers::PeerClients;

/// Time limit of the check; the call begins even if nobody answers in time. Listeners wait for the check, and the
/// charge must be answered within the same request.
const CHECK_TIMEOUT: Duration = Duration::from_millis(500);

/// Checks the callers of a batch of rings.
pub(crate) struct CallerCheckBatchHandler {
    pub(crate) peers: PeerClients,
}

/// The state of a caller, as far as the peers have answered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallerState {
    /// Whether one of the two has blocked the other.
    pub(crate) is_blocked: bool,
    pub(crate) last_sign: Option<DateTime<Utc>>,
}

impl BatchHandler for CallerCheckBatchHandler {
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
        let (checks, signs) = (checks.unwrap_or_default(), signs.unwrap_or_default());
        let states = pairs.iter().enumerate();
        Ok(states
            .map(|(index, pair)| CallerState {
                is_blocked: checks.get(index).is_some_and(|check| check.blocked),
                last_sign: signs.get(&pair.caller_id).copied(),
            })
            .collect())
    }
}
