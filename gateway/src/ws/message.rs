//! What goes over a socket: `{"type", "data", "timestamp", "seq"}`.

use axum::extract::ws::Utf8Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use talktime_proto::events::v1::StatusChanged;

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
        let text = serde_json::to_string(self);
        text.expect("our messages have string keys and finite numbers")
            .into()
    }
}

/// A message from a client, as far as it matters which it is.
#[derive(Deserialize)]
pub(super) struct Incoming {
    pub(super) r#type: String,
}

/// The first message of every socket.
#[derive(Serialize)]
pub(super) struct Hello<'a> {
    /// Numbers of messages mean something within it alone.
    pub(super) epoch: &'a str,
    /// The newest message before this socket's first.
    pub(super) seq: u64,
}

/// What is wrong.
#[derive(Serialize)]
pub(super) struct Failure<'a> {
    pub(super) code: &'static str,
    pub(super) message: &'a str,
}

/// An answer without content.
#[derive(Serialize)]
pub(super) struct Empty {}

/// Someone's status.
#[derive(Serialize)]
pub(super) struct Status<'a> {
    user_id: i64,
    username: &'a str,
    is_online: bool,
    is_busy: bool,
    wait_time: Option<i32>,
    last_seen: Option<DateTime<Utc>>,
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
