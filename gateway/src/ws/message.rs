//! What goes over a socket: `{"type", "data", "timestamp", "seq"}`.

use axum::extract::ws::Utf8Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use talktime_proto::events::v1::StatusChanged;
use talktime_proto::presence::v1::Status as PresenceStatus;
use utoipa::ToSchema;

use crate::openapi::values::SocketError;

/// A message to a client.
#[derive(Serialize)]
pub(super) struct Outgoing<'a, Data> {
    pub(super) r#type: &'a str,
    pub(super) data: Data,
    pub(super) timestamp: DateTime<Utc>,
    pub(super) seq: u64,
}

impl<Data: Serialize> Outgoing<'_, Data> {
    pub(super) fn to_text(&self) -> Utf8Bytes {
        json(self).into()
    }
}

/// Anything of ours as JSON.
pub(super) fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value);
    text.expect("our messages have string keys and finite numbers")
}

/// A message from a client.
#[derive(Deserialize)]
pub(super) struct Incoming<'a> {
    pub(super) r#type: String,
    #[serde(borrow, default)]
    pub(super) data: Option<&'a RawValue>,
}

/// The `data` of `subscribe` and `unsubscribe`.
#[derive(Deserialize, ToSchema)]
pub(super) struct Subscription {
    #[schema(max_items = 1000)]
    pub(super) user_ids: Vec<i64>,
}

/// The first message of every socket.
#[derive(Serialize, ToSchema)]
pub(super) struct Hello<'a> {
    /// Numbers of messages mean something within it alone.
    pub(super) epoch: &'a str,
    /// The newest message before this socket's first.
    pub(super) seq: u64,
}

/// What is wrong.
#[derive(Serialize, ToSchema)]
pub(super) struct Failure<'a> {
    #[schema(value_type = SocketError)]
    pub(super) code: &'a str,
    pub(super) message: &'a str,
}

/// Of whom a socket hears now; everyone when it is empty.
#[derive(Serialize, ToSchema)]
pub(super) struct Subscribed {
    pub(super) user_ids: Vec<i64>,
}

/// An answer without content.
#[derive(Serialize, ToSchema)]
pub(super) struct Empty {}

/// Someone's status.
#[derive(Serialize, ToSchema)]
pub(super) struct Status<'a> {
    user_id: i64,
    username: &'a str,
    is_online: bool,
    is_busy: bool,
    /// Minutes.
    #[schema(required)]
    wait_time: Option<i32>,
    #[schema(required)]
    last_seen: Option<DateTime<Utc>>,
    /// Online and not busy.
    is_available: bool,
}

impl<'a> From<&'a StatusChanged> for Status<'a> {
    fn from(status: &'a StatusChanged) -> Self {
        Self {
            user_id: status.user_id,
            username: &status.username,
            is_online: status.is_online,
            is_busy: status.is_busy,
            wait_time: status.wait_time,
            last_seen: talktime_proto::datetime(status.last_seen.as_ref()),
            is_available: status.is_online && !status.is_busy,
        }
    }
}

impl<'a> From<&'a PresenceStatus> for Status<'a> {
    fn from(status: &'a PresenceStatus) -> Self {
        Self {
            user_id: status.user_id,
            username: &status.username,
            is_online: status.is_online,
            is_busy: status.is_busy,
            wait_time: status.wait_time,
            last_seen: talktime_proto::datetime(status.last_seen.as_ref()),
            is_available: status.is_online && !status.is_busy,
        }
    }
}
