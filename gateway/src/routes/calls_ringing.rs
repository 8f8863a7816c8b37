//! Calls that ring: the requests of both parties until the call is accepted, and its state.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::calls::call_uuid;
use talktime_proto::calls::v1::{
    AcceptCallRequest, AcceptCallResponse, AcknowledgeRingRequest, CallMedia, CancelCallRequest,
    DeclineCallRequest, DeclineReason,
};
use utoipa::ToSchema;

use super::time;
use crate::call_names::{call_type_name, media_name, status_name};
use crate::call_state::{CallStateAnswer, load_call_state};
use crate::clients::{CallsClient, ProfileClient};
use crate::extract::{Json, OptionalJson, PathId};
use crate::media_join::{JoinedMessage, join_call};
use crate::openapi::values;
use crate::peer_profiles::{CallPeerProfiles, PeerAnswer};
use crate::problem::Result;
use crate::token::CurrentUser;

#[derive(Serialize, ToSchema)]
pub(super) struct AcceptAnswer {
    call_id: i64,
    call_uuid: String,
    #[schema(value_type = values::AcceptedStatus)]
    status: &'static str,
    accepted_at: Option<DateTime<Utc>>,
    #[schema(value_type = values::CallMedia)]
    media: &'static str,
    #[schema(value_type = values::CallType)]
    call_type: &'static str,
    caller: PeerAnswer,
    /// The seat of this device in a call that the platform carries, as in the answer of `/calls/{call_id}/join`. Null
    /// in other calls, and if no seat could be taken now.
    join: Option<JoinedMessage>,
}

impl AcceptAnswer {
    fn new(
        accepted: &AcceptCallResponse,
        caller: PeerAnswer,
        join: Option<JoinedMessage>,
    ) -> Result<Self, Error> {
        Ok(Self {
            join,
            call_id: accepted.call_id,
            status: status_name(accepted.status())?,
            accepted_at: time(accepted.accepted_at),
            media: media_name(accepted.media()),
            call_type: call_type_name(accepted.call_type())?,
            caller,
            call_uuid: call_uuid(accepted.call_id).to_string(),
        })
    }
}

/// Accept a call that rings.
///
/// Only the listener may accept it. The first minute is charged and the call begins. A repeated request of the same
/// session receives the same answer; requests of other sessions receive `accepted_elsewhere`. The error `ring_over`
/// has the member `outcome` if the ring has ended, or `call_status` if the call goes on.
#[utoipa::path(
    post,
    path = "/calls/{call_id}/accept",
    tag = "calls",
    security(("access_token" = [])),
    responses(
        (status = 200, body = AcceptAnswer),
        (status = 403, description = "not_the_listener"),
        (status = 404, description = "call_not_found"),
        (status = 409, description = "ring_over, accepted_elsewhere, caller_out_of_coins"),
        (status = 503, description = "call_not_started"),
    )
)]
pub(super) async fn accept_call(
    State(calls): State<CallsClient>,
    State(profile): State<ProfileClient>,
    current_user: CurrentUser,
    PathId(call_id): PathId,
) -> Result<Json<AcceptAnswer>> {
    let request = AcceptCallRequest {
        call_id,
        user_id: current_user.user_id,
        session_id: current_user.session_id.clone(),
    };
    let accepted = retry_idempotent(&calls, CallsClient::accept_call, request).await?;
    let caller = match &accepted.caller {
        Some(caller) => PeerAnswer::from(caller),
        None => load_caller(&profile, &accepted).await,
    };
    let join = match accepted.media() {
        CallMedia::Platform => join_best_effort(&calls, &current_user, call_id).await,
        _ => None,
    };
    Ok(Json(AcceptAnswer::new(&accepted, caller, join)?))
}

async fn load_caller(profile: &ProfileClient, accepted: &AcceptCallResponse) -> PeerAnswer {
    let profiles = CallPeerProfiles::load_best_effort(profile, vec![accepted.caller_id]).await;
    profiles.describe(accepted.caller_id, accepted.caller_username.clone())
}

/// Takes the seat of the device that has accepted; without one the device joins by itself.
async fn join_best_effort(
    calls: &CallsClient,
    current_user: &CurrentUser,
    call_id: i64,
) -> Option<JoinedMessage> {
    let take_over = false;
    match join_call(calls, current_user, call_id, take_over).await {
        Ok(joined) => Some(joined.into()),
        Err(error) => {
            tracing::warn!(%error, call_id, "failed to take the seat of a device that accepted; it will join by itself");
            None
        }
    }
}

#[derive(eserde::Deserialize, ToSchema)]
pub(super) struct RejectBody {
    #[serde(default)]
    /// `declined` by default.
    #[schema(value_type = Option<values::DeclineReason>)]
    reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct RejectAnswer {
    call_id: i64,
    #[schema(value_type = values::RingOutcome)]
    outcome: String,
    #[schema(value_type = values::DeclineReason)]
    reason: String,
}

/// Reject a call that rings.
///
/// Only the listener may reject it. The caller learns the reason. The body may be left out. A repeated request receives
/// the same answer.
#[utoipa::path(
    post,
    path = "/calls/{call_id}/reject",
    tag = "calls",
    security(("access_token" = [])),
    request_body(content = Option<RejectBody>, content_type = "application/json"),
    responses(
        (status = 200, body = RejectAnswer),
        (status = 400, description = "invalid_reason"),
        (status = 403, description = "not_the_listener"),
        (status = 404, description = "call_not_found"),
        (status = 409, description = "ring_over"),
    )
)]
pub(super) async fn reject_call(
    State(calls): State<CallsClient>,
    current_user: CurrentUser,
    PathId(call_id): PathId,
    OptionalJson(body): OptionalJson<RejectBody>,
) -> Result<Json<RejectAnswer>> {
    let request = DeclineCallRequest {
        call_id,
        user_id: current_user.user_id,
        reason: decline_reason(body.reason.as_deref())?.into(),
    };
    let declined = retry_idempotent(&calls, CallsClient::decline_call, request).await?;
    Ok(Json(RejectAnswer {
        call_id: declined.call_id,
        outcome: declined.outcome,
        reason: declined.reason,
    }))
}

fn decline_reason(name: Option<&str>) -> Result<DeclineReason, Error> {
    match name.unwrap_or("declined") {
        "declined" => Ok(DeclineReason::Declined),
        "busy" => Ok(DeclineReason::Busy),
        "later" => Ok(DeclineReason::Later),
        _ => Err(Error::invalid(
            "invalid_reason",
            "reason must be declined, busy or later.",
        )),
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct CancelAnswer {
    call_id: i64,
    #[schema(value_type = values::RingOutcome)]
    outcome: String,
}

/// Cancel a call that rings.
///
/// Only the caller may cancel it. If the listener has accepted before, the error `ring_over` has the member `call_status`;
/// the call goes on until `/calls/end`.
#[utoipa::path(
    post,
    path = "/calls/{call_id}/cancel",
    tag = "calls",
    security(("access_token" = [])),
    responses(
        (status = 200, body = CancelAnswer),
        (status = 403, description = "not_a_party, not_the_caller"),
        (status = 404, description = "call_not_found"),
        (status = 409, description = "ring_over"),
    )
)]
pub(super) async fn cancel_call(
    State(calls): State<CallsClient>,
    current_user: CurrentUser,
    PathId(call_id): PathId,
) -> Result<Json<CancelAnswer>> {
    let request = CancelCallRequest {
        call_id,
        user_id: current_user.user_id,
    };
    let cancelled = retry_idempotent(&calls, CallsClient::cancel_call, request).await?;
    Ok(Json(CancelAnswer {
        call_id: cancelled.call_id,
        outcome: cancelled.outcome,
    }))
}

#[derive(Serialize, ToSchema)]
pub(super) struct RingingAnswer {
    call_id: i64,
    /// When the device must stop ringing.
    ring_expires_at: Option<DateTime<Utc>>,
}

/// Confirm that a device rings.
///
/// Devices of the listener send this when they start ringing. Without any confirmation the ring ends after a few
/// seconds with the outcome `unreachable`. After `ring_over` the device stops ringing. The message `ringing` on
/// `/ws/calls` has the same effect.
#[utoipa::path(
    post,
    path = "/calls/{call_id}/ringing",
    tag = "calls",
    security(("access_token" = [])),
    responses(
        (status = 200, body = RingingAnswer),
        (status = 403, description = "not_the_listener"),
        (status = 404, description = "call_not_found"),
        (status = 409, description = "ring_over"),
    )
)]
pub(super) async fn acknowledge_ring(
    State(calls): State<CallsClient>,
    current_user: CurrentUser,
    PathId(call_id): PathId,
) -> Result<Json<RingingAnswer>> {
    let request = AcknowledgeRingRequest {
        call_id,
        user_id: current_user.user_id,
    };
    let acknowledged = retry_idempotent(&calls, CallsClient::acknowledge_ring, request).await?;
    Ok(Json(RingingAnswer {
        call_id: acknowledged.call_id,
        ring_expires_at: time(acknowledged.ring_expires_at),
    }))
}

/// Get the state of a call.
///
/// Only the two parties may read it.
#[utoipa::path(
    get,
    path = "/calls/{call_id}/state",
    tag = "calls",
    security(("access_token" = [])),
    responses(
        (status = 200, body = CallStateAnswer),
        (status = 403, description = "not_a_party"),
        (status = 404, description = "call_not_found"),
    )
)]
pub(super) async fn read_call_state(
    State(calls): State<CallsClient>,
    State(profile): State<ProfileClient>,
    current_user: CurrentUser,
    PathId(call_id): PathId,
) -> Result<Json<CallStateAnswer>> {
    let found = load_call_state(&calls, &profile, &current_user, Some(call_id)).await?;
    let state = found.ok_or_else(|| Error::internal("calls answered a call's state without it"))?;
    Ok(Json(state))
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum CurrentCallAnswer {
    Call(Box<CallStateAnswer>),
    None {
        /// Always null.
        call_id: Option<i64>,
    },
}

/// Get the current call.
///
/// This is the call that the current user is in, rings for, or is rung for. An app reads it after a restart.
#[utoipa::path(
    get,
    path = "/calls/current",
    tag = "calls",
    security(("access_token" = [])),
    responses((status = 200, body = CurrentCallAnswer))
)]
pub(super) async fn read_current_call(
    State(calls): State<CallsClient>,
    State(profile): State<ProfileClient>,
    current_user: CurrentUser,
) -> Result<Json<CurrentCallAnswer>> {
    let found = load_call_state(&calls, &profile, &current_user, None).await?;
    Ok(Json(match found {
        Some(state) => CurrentCallAnswer::Call(Box::new(state)),
        None => CurrentCallAnswer::None { call_id: None },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_declined_for_one_of_three_reasons() {
        assert_eq!(decline_reason(None).ok(), Some(DeclineReason::Declined));
        assert_eq!(decline_reason(Some("busy")).ok(), Some(DeclineReason::Busy));
        assert_eq!(
            decline_reason(Some("later")).ok(),
            Some(DeclineReason::Later)
        );
        let refused = decline_reason(Some("never")).expect_err("no such reason");
        assert_eq!(refused.code(), "invalid_reason");
    }
}
