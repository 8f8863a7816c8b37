//! The check step: checks with profile and presence whether the two people of a planned call may talk.

use std::collections::HashMap;
use std::sync::Arc;

use talktime_kit::Error;
use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_proto::events::v1::CallPeer;
use talktime_proto::presence::v1::Status;
use talktime_proto::profile::v1::CallCheck;

use crate::domain::CallError;
use crate::domain::call::{CallType, PlannedParties};
use crate::peers::PeerClients;
use crate::saga::batching::with_peer_deadline;

/// Checks a batch of planned calls.
pub(crate) struct CheckBatchHandler {
    pub(crate) peers: PeerClients,
}

/// A call that is planned between two people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlannedCall {
    pub(crate) caller_id: i64,
    pub(crate) listener_id: i64,
    pub(crate) call_type: CallType,
}

/// Caller and listener as each sees the other, once the call is permitted.
#[derive(Clone)]
pub(crate) struct CallParties {
    pub(crate) caller: CallPeer,
    pub(crate) listener: CallPeer,
}

impl BatchHandler for CheckBatchHandler {
    type Task = PlannedCall;
    type Answer = Result<CallParties, CallError>;
    type Error = Error;

    async fn handle(&self, group: &[BatchItem<PlannedCall>]) -> Result<Vec<Self::Answer>, Error> {
        let planned: Vec<PlannedCall> = group.iter().map(|member| member.task).collect();
        check_planned(&self.peers, &planned).await
    }

    fn fails_whole_batch(error: &Error) -> bool {
        error.is_unreachable()
    }
}

/// Checks planned calls; the results have their order.
pub(crate) async fn check_planned(
    peers: &PeerClients,
    planned: &[PlannedCall],
) -> Result<Vec<Result<CallParties, CallError>>, Error> {
    let pairs = planned.iter().map(|call| PlannedParties {
        caller_id: call.caller_id,
        listener_id: call.listener_id,
    });
    let pairs: Vec<PlannedParties> = pairs.collect();
    let listeners = planned.iter().map(|call| call.listener_id).collect();
    let answers = async {
        tokio::join!(
            peers.check_calls(&pairs),
            peers.load_statuses_by_user(listeners)
        )
    };
    let (checks, statuses) = with_peer_deadline(answers).await;
    let statuses = statuses.map_err(Arc::new);
    let checked = planned.iter().zip(checks?);
    Ok(checked
        .map(|(call, check)| evaluate_check(*call, check, &statuses))
        .collect())
}

/// Decides whether a call is permitted. An error of presence matters only if nothing else forbids the call.
fn evaluate_check(
    call: PlannedCall,
    check: CallCheck,
    statuses: &Result<HashMap<i64, Status>, Arc<Error>>,
) -> Result<CallParties, CallError> {
    evaluate_permission(call.call_type, &check)?;
    let statuses = statuses.as_ref();
    let statuses = statuses.map_err(|error| Error::of_shared(Arc::clone(error)))?;
    match statuses.get(&call.listener_id) {
        Some(status) if status.is_online && !status.takes_calls() => {
            Err(CallError::ListenerUnavailable)
        }
        Some(status) if status.is_online => Ok(call_parties(call, check)),
        _ => Err(CallError::ListenerOffline),
    }
}

/// Decides whether profile permits the call.
fn evaluate_permission(call_type: CallType, check: &CallCheck) -> Result<(), CallError> {
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
    let is_enabled = match call_type {
        CallType::Audio => check.audio_enabled,
        CallType::Video => check.video_enabled,
    };
    if is_enabled == Some(false) {
        return Err(CallError::CallTypeDisabled);
    }
    Ok(())
}

fn call_parties(call: PlannedCall, check: CallCheck) -> CallParties {
    CallParties {
        caller: CallPeer {
            user_id: call.caller_id,
            username: check.caller_username,
            profile_image_url: check.caller_image_url,
            rating_hundredths: check.caller_rating_hundredths,
        },
        listener: CallPeer {
            user_id: call.listener_id,
            username: check.listener_username,
            profile_image_url: check.listener_image_url,
            rating_hundredths: check.listener_rating_hundredths,
        },
    }
}
