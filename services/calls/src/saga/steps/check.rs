//! The check step: asks profile and presence whether the two people of a planned call may talk, and the wallet whether
//! the caller of a ring can pay for its beginning.

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
    /// Coins that the caller must have, if they are not charged at once.
    pub(crate) required_coins: Option<i64>,
}

/// Caller and listener as each sees the other, once the call is permitted.
#[derive(Clone)]
pub(crate) struct CallParties {
    pub(crate) caller: CallPeer,
    pub(crate) listener: CallPeer,
    /// Coins of the caller; `None` if the call required none.
    pub(crate) caller_coins: Option<i64>,
}

/// Answers of a peer by user id, or the failure that all calls of the batch share.
type PeerAnswers<T> = Result<HashMap<i64, T>, Arc<Error>>;

impl BatchHandler for CheckBatchHandler {
    const NAME: &'static str = "check";
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
    let payers = planned.iter().filter(|call| call.required_coins.is_some());
    let payers = payers.map(|call| call.caller_id).collect();
    let answers = async {
        tokio::join!(
            peers.check_calls(&pairs),
            peers.load_statuses_by_user(listeners),
            peers.load_coins_by_user(payers)
        )
    };
    let (checks, statuses, coins) = with_peer_deadline(answers).await;
    let (statuses, coins) = (statuses.map_err(Arc::new), coins.map_err(Arc::new));
    let checked = planned.iter().zip(checks?);
    Ok(checked
        .map(|(call, check)| evaluate_check(*call, check, &statuses, &coins))
        .collect())
}

/// Decides whether a call is permitted. An error of presence matters only if nothing else forbids the call.
fn evaluate_check(
    call: PlannedCall,
    check: CallCheck,
    statuses: &PeerAnswers<Status>,
    coins: &PeerAnswers<i64>,
) -> Result<CallParties, CallError> {
    let caller_coins = evaluate_coins(call, coins)?;
    evaluate_permission(call.call_type, &check)?;
    match find_answer(statuses, call.listener_id)? {
        Some(status) if status.is_online && !status.takes_calls() => {
            Err(CallError::ListenerUnavailable)
        }
        Some(status) if status.is_online => Ok(call_parties(call, check, caller_coins)),
        _ => Err(CallError::ListenerOffline),
    }
}

/// Decides whether the caller has the coins that the call requires, and returns them.
fn evaluate_coins(call: PlannedCall, coins: &PeerAnswers<i64>) -> Result<Option<i64>, CallError> {
    let Some(required) = call.required_coins else {
        return Ok(None);
    };
    let available = find_answer(coins, call.caller_id)?
        .copied()
        .unwrap_or_default();
    if available < required {
        return Err(CallError::InsufficientCoins {
            required,
            available,
        });
    }
    Ok(Some(available))
}

fn find_answer<T>(answers: &PeerAnswers<T>, user_id: i64) -> Result<Option<&T>, Error> {
    let answers = answers.as_ref();
    let answers = answers.map_err(|error| Error::of_shared(Arc::clone(error)))?;
    Ok(answers.get(&user_id))
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

/// The caller as profile describes them.
pub(crate) fn caller_peer(caller_id: i64, check: &CallCheck) -> CallPeer {
    CallPeer {
        user_id: caller_id,
        username: check.caller_username.clone(),
        profile_image_url: check.caller_image_url.clone(),
        rating_hundredths: check.caller_rating_hundredths,
    }
}

fn call_parties(call: PlannedCall, check: CallCheck, caller_coins: Option<i64>) -> CallParties {
    CallParties {
        caller_coins,
        caller: caller_peer(call.caller_id, &check),
        listener: CallPeer {
            user_id: call.listener_id,
            username: check.listener_username,
            profile_image_url: check.listener_image_url,
            rating_hundredths: check.listener_rating_hundredths,
        },
    }
}
