//! The check step: asks profile and presence whether the two people of a planned call may talk.

use std::collections::HashSet;
use std::sync::Arc;

use talktime_kit::Error;
use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_proto::profile::v1::CallCheck;

use crate::domain::CallError;
use crate::peers::PeerClients;
use crate::saga::batching::with_peer_deadline;

/// Checks a batch of planned calls, each given as `(caller_id, listener_id)`.
pub(crate) struct CheckBatchHandler {
    pub(crate) peers: PeerClients,
}

/// Names of caller and listener, once the call is permitted.
pub(crate) struct PartyNames {
    pub(crate) caller: String,
    pub(crate) listener: String,
}

impl BatchHandler for CheckBatchHandler {
    type Task = (i64, i64);
    type Answer = Result<PartyNames, CallError>;
    type Error = Error;

    async fn handle(&self, group: &[BatchItem<(i64, i64)>]) -> Result<Vec<Self::Answer>, Error> {
        let planned: Vec<(i64, i64)> = group.iter().map(|member| member.task).collect();
        let listeners = planned
            .iter()
            .map(|(_, listener_id)| *listener_id)
            .collect();
        let asked = async {
            tokio::join!(
                self.peers.check_calls(&planned),
                self.peers.load_online_users(listeners)
            )
        };
        let (checks, online) = with_peer_deadline(asked).await;
        let online = online.map_err(Arc::new);
        let checked = planned.iter().zip(checks?);
        Ok(checked
            .map(|((_, listener_id), check)| evaluate_check(*listener_id, check, &online))
            .collect())
    }

    fn fails_whole_batch(error: &Error) -> bool {
        error.is_unreachable()
    }
}

/// Decides whether a call is permitted. An error of presence matters only if nothing else forbids the call.
fn evaluate_check(
    listener_id: i64,
    check: CallCheck,
    online: &Result<HashSet<i64>, Arc<Error>>,
) -> Result<PartyNames, CallError> {
    if !check.listener_exists {
        return Err(CallError::NoSuchListener);
    }
    if check.blocked {
        return Err(CallError::Blocked);
    }
    if !check.is_listener {
        return Err(CallError::NotAListener);
    }
    if check.verification_missing {
        return Err(CallError::ListenerNotVerified);
    }
    match online {
        Ok(online) if online.contains(&listener_id) => Ok(PartyNames {
            caller: check.caller_username,
            listener: check.listener_username,
        }),
        Ok(_) => Err(CallError::ListenerOffline),
        Err(error) => Err(Error::of_shared(Arc::clone(error)).into()),
    }
}
