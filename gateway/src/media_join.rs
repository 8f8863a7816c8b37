//! The seat of a user in a call that the platform's media carries, for `/calls/{call_id}/join` and `/ws/calls`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_kit::Error;
use talktime_proto::calls::v1::{CallRole, IceServer, JoinCallRequest, JoinCallResponse};
use talktime_proto::datetime;
use utoipa::ToSchema;

use crate::clients::CallsClient;
use crate::openapi::{media_values, values};
use crate::token::CurrentUser;

/// A seat that a device has taken, and the relays that it may use.
#[derive(Clone, Serialize, ToSchema)]
pub struct JoinedMessage {
    /// The call.
    pub call_id: i64,
    /// Grows with each join of this side. Messages about the seat name it.
    pub epoch: i32,
    #[schema(value_type = values::CallRole)]
    role: &'static str,
    /// The part in perfect negotiation: the caller is impolite and offers first, the listener is polite.
    polite: bool,
    /// Whether the other party has a seat.
    pub peer_joined: bool,
    #[schema(value_type = media_values::MediaEngine)]
    engine: &'static str,
    /// The relay of the call first, then the one to use if it fails.
    pub ice_servers: Vec<IceServerData>,
    #[schema(value_type = media_values::IceTransportPolicy)]
    ice_transport_policy: &'static str,
    /// Seconds between two `media` messages.
    report_every_secs: i32,
    /// When both parties must be connected. Absent once the call has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    connect_deadline: Option<DateTime<Utc>>,
}

/// An `RTCIceServer`.
#[derive(Clone, Serialize, ToSchema)]
pub struct IceServerData {
    urls: Vec<String>,
    username: String,
    credential: String,
    /// When the credential opens nothing more. A connection that it has opened goes on.
    expires_at: Option<DateTime<Utc>>,
}

impl From<IceServer> for IceServerData {
    fn from(server: IceServer) -> Self {
        Self {
            urls: server.urls,
            username: server.username,
            credential: server.credential,
            expires_at: datetime(server.expires_at.as_ref()),
        }
    }
}

impl From<JoinCallResponse> for JoinedMessage {
    fn from(joined: JoinCallResponse) -> Self {
        let is_listener = joined.role() == CallRole::Listener;
        Self {
            call_id: joined.call_id,
            epoch: joined.epoch,
            role: if is_listener { "listener" } else { "caller" },
            polite: is_listener,
            peer_joined: joined.peer_epoch.is_some(),
            engine: "turn",
            connect_deadline: datetime(joined.connect_deadline.as_ref()),
            ice_transport_policy: "relay",
            report_every_secs: joined.report_every_secs,
            ice_servers: joined.ice_servers.into_iter().map(Into::into).collect(),
        }
    }
}

/// Takes the seat of a session. It is not retried, because a second attempt would take the seat again.
pub async fn join_call(
    calls: &CallsClient,
    current_user: &CurrentUser,
    call_id: i64,
    take_over: bool,
) -> Result<JoinCallResponse, Error> {
    let request = JoinCallRequest {
        call_id,
        user_id: current_user.user_id,
        session_id: current_user.session_id.clone(),
        take_over,
    };
    let mut calls = calls.clone();
    Ok(calls.join_call(request).await?.into_inner())
}
