//! The question whether the caller of a ring is still there when the listener accepts it. Accepts that arrive together
//! ask profile and presence once.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use talktime_kit::Error;
use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_kit::grpc;

use crate::peers::PeerClients;

/// Time for the question, without whose answer the call begins all the same. Listeners wait for it, and the charge
/// must be answered within the same request.
const CHECK_TIMEOUT: Duration = Duration::from_millis(500);

/// Asks about the callers of a batch of rings.
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
    /// The caller and the listener of a ring.
    type Task = (i64, i64);
    type Answer = CallerState;
    type Error = Error;

    async fn handle(&self, group: &[BatchItem<(i64, i64)>]) -> Result<Vec<CallerState>, Error> {
        let pairs: Vec<(i64, i64)> = group.iter().map(|member| member.task).collect();
        let caller_ids = pairs.iter().map(|(caller_id, _)| *caller_id).collect();
        let asked = async {
            tokio::join!(
                self.peers.check_calls(&pairs),
                self.peers.load_last_signs(caller_ids)
            )
        };
        let (checks, signs) = grpc::with_deadline(Instant::now() + CHECK_TIMEOUT, asked).await;
        let (checks, signs) = (checks.unwrap_or_default(), signs.unwrap_or_default());
        let states = pairs.iter().enumerate();
        Ok(states
            .map(|(index, (caller_id, _))| CallerState {
                is_blocked: checks.get(index).is_some_and(|check| check.blocked),
                last_sign: signs.get(caller_id).copied(),
            })
            .collect())
    }
}
