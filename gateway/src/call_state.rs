//! The state of a call for one of its parties, for `/calls/{call_id}/state` and the snapshot of `/ws/calls`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::calls::call_uuid;
use talktime_proto::calls::v1::{CallState, CallStatus, GetCallStateRequest};
use talktime_proto::datetime;
use utoipa::ToSchema;

use crate::call_names::{call_type_name, media_name, status_name};
use crate::clients::{CallsClient, ProfileClient};
use crate::openapi::values;
use crate::peer_profiles::{CallPeerProfiles, PeerAnswer};
use crate::token::CurrentUser;

/// The state of a call for one of its parties.
#[derive(Serialize, ToSchema)]
pub struct CallStateAnswer {
    call_id: i64,
    /// The same on all devices of both people; for the call interfaces of phones.
    call_uuid: String,
    #[schema(value_type = values::CallStateStatus)]
    status: &'static str,
    /// Null unless the call was not answered.
    #[schema(value_type = Option<values::RingOutcome>)]
    outcome: Option<String>,
    /// The reason within the outcome. Null unless the call was not answered.
    #[schema(value_type = Option<values::RingReason>)]
    reason: Option<String>,
    /// While the call rings: when it stops by itself.
    ring_expires_at: Option<DateTime<Utc>>,
    /// Whether a device of the listener has rung.
    is_reached: bool,
    #[schema(value_type = values::CallType)]
    call_type: &'static str,
    #[schema(value_type = values::CallMedia)]
    media: &'static str,
    /// The role of the current user in the call.
    #[schema(value_type = values::CallRole)]
    role: &'static str,
    /// The other party.
    peer: PeerAnswer,
    /// Null unless the call rang and was accepted.
    accepted_at: Option<DateTime<Utc>>,
    /// Whether the current session has accepted the call. Other devices of the listener do not show it.
    accepted_by_me: bool,
}

impl CallStateAnswer {
    fn new(state: CallState, profiles: &CallPeerProfiles) -> Result<Self, Error> {
        Ok(Self {
            call_id: state.call_id,
            status: status_name(state.status())?,
            call_type: call_type_name(state.call_type())?,
            media: media_name(state.media()),
            role: if state.is_caller {
                "caller"
            } else {
                "listener"
            },
            ring_expires_at: datetime(state.ring_expires_at.as_ref()),
            is_reached: state.is_reached,
            accepted_at: datetime(state.accepted_at.as_ref()),
            accepted_by_me: state.accepted_by_me,
            peer: profiles.describe(state.peer_id, state.peer_username),
            call_uuid: call_uuid(state.call_id).to_string(),
            outcome: state.outcome,
            reason: state.reason,
        })
    }
}

/// Loads the state of a call for one of its parties; without an id, of the user's current call.
pub async fn load_call_state(
    calls: &CallsClient,
    profile: &ProfileClient,
    current_user: &CurrentUser,
    call_id: Option<i64>,
) -> Result<Option<CallStateAnswer>, Error> {
    let found = fetch_call_state(calls, current_user, call_id).await?;
    describe_call_state(profile, found).await
}

/// Loads the state of the user's call that rings or connects, if there is one.
pub async fn load_ring_state(
    calls: &CallsClient,
    profile: &ProfileClient,
    current_user: &CurrentUser,
) -> Result<Option<CallStateAnswer>, Error> {
    let found = fetch_call_state(calls, current_user, None).await?;
    let is_ring =
        |state: &CallState| matches!(state.status(), CallStatus::Ringing | CallStatus::Connecting);
    describe_call_state(profile, found.filter(is_ring)).await
}

async fn fetch_call_state(
    calls: &CallsClient,
    current_user: &CurrentUser,
    call_id: Option<i64>,
) -> Result<Option<CallState>, Error> {
    let request = GetCallStateRequest {
        user_id: current_user.user_id,
        call_id,
        session_id: current_user.session_id.clone(),
    };
    let found = retry_idempotent(calls, CallsClient::get_call_state, request).await?;
    Ok(found.state)
}

async fn describe_call_state(
    profile: &ProfileClient,
    found: Option<CallState>,
) -> Result<Option<CallStateAnswer>, Error> {
    let Some(state) = found else { return Ok(None) };
    let profiles = CallPeerProfiles::load_best_effort(profile, vec![state.peer_id]).await;
    CallStateAnswer::new(state, &profiles).map(Some)
}
