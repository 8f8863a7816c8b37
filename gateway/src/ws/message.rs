//! The messages of sockets: `{"type", "data", "timestamp", "seq"}`.

use axum::extract::ws::Utf8Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use talktime_proto::events::v1::StatusChanged;
use talktime_proto::presence::v1::Status as PresenceStatus;
use utoipa::ToSchema;

use crate::openapi::values::SocketError;

/// A message to a client.
#[derive(Serialize)]
pub(super) struct OutgoingMessage<'a, Data> {
    pub(super) r#type: &'a str,
    pub(super) data: Data,
    pub(super) timestamp: DateTime<Utc>,
    pub(super) seq: u64,
}

impl<Data: Serialize> OutgoingMessage<'_, Data> {
    pub(super) fn to_text(&self) -> Utf8Bytes {
        json(self).into()
    }
}

pub(super) fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value);
    text.expect("messages have string keys and finite numbers")
}

/// The `data` of `subscribe` and `unsubscribe`.
#[derive(Deserialize, ToSchema)]
#[schema(as = Subscription)]
pub(super) struct SubscriptionRequest {
    /// At most 1000 ids of users.
    #[schema(max_items = 1000)]
    pub(super) user_ids: Vec<i64>,
}

/// The position at which a socket begins.
#[derive(Serialize, ToSchema)]
#[schema(as = Hello)]
pub(super) struct HelloMessage<'a> {
    /// The stream of events that the numbers of messages belong to. Numbers of different epochs must not be
    /// compared.
    pub(super) epoch: &'a str,
    /// The number of the newest message before the first one of this socket.
    pub(super) seq: u64,
}

/// An error of the socket, or of a message to it.
#[derive(Serialize, ToSchema)]
#[schema(as = Failure)]
pub(super) struct ErrorMessage<'a> {
    #[schema(value_type = SocketError)]
    pub(super) code: &'a str,
    /// A sentence for developers.
    pub(super) message: &'a str,
}

/// The users that a socket is subscribed to.
#[derive(Serialize, ToSchema)]
#[schema(as = Subscribed)]
pub(super) struct SubscribedUsers {
    /// In ascending order. Empty when the socket receives messages about all users.
    pub(super) user_ids: Vec<i64>,
}

/// A message without content.
#[derive(Serialize, ToSchema)]
#[schema(as = Empty)]
pub(super) struct EmptyMessage {}

/// The status of a user.
#[derive(Serialize, ToSchema)]
pub(super) struct Status<'a> {
    user_id: i64,
    username: &'a str,
    is_online: bool,
    is_busy: bool,
    /// Expected wait in minutes, as the user has set it.
    #[schema(required)]
    wait_time: Option<i32>,
    /// When the user was last active. Null if never.
    #[schema(required)]
    last_seen: Option<DateTime<Utc>>,
    /// Whether the user is online, not busy and taking calls.
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
            is_available: status.is_available(),
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
            is_available: status.is_available(),
        }
    }
}
