//! The texts of messages about statuses, for `/ws/presence` and `/ws/feed`.

use axum::extract::ws::Utf8Bytes;
use talktime_proto::events::v1::{Event, StatusChanged};

use super::message::{OutgoingMessage, Status};
use super::status_log::{StatusMessage, StatusMessageCause};

pub(super) const LISTENER_OFFLINE: &str = "listener_offline";
const STATUS_CHANGE: &str = "status_change";
const PRESENCE_UPDATE: &str = "presence_update";

/// Builds the message about a change for `/ws/presence`, in both of its forms.
pub(super) fn presence_change(seq: u64, event: &Event, status: &StatusChanged) -> StatusMessage {
    StatusMessage {
        update_text: Some(text_of(PRESENCE_UPDATE, event, status, seq)),
        ..change_of_type(STATUS_CHANGE, seq, event, status)
    }
}

/// Builds the message about a change of a listener for `/ws/feed`.
pub(super) fn feed_change(seq: u64, event: &Event, status: &StatusChanged) -> StatusMessage {
    change_of_type(feed_type(status), seq, event, status)
}

/// Builds the message that a user left the feed, whatever their status is now.
pub(super) fn feed_departure(seq: u64, event: &Event, status: &StatusChanged) -> StatusMessage {
    change_of_type(LISTENER_OFFLINE, seq, event, status)
}

/// Builds the message about a heartbeat for `/ws/presence`. The status itself did not change.
pub(super) fn presence_heartbeat(
    seq: u64,
    event: &Event,
    status: &StatusChanged,
    is_for_all: bool,
) -> StatusMessage {
    StatusMessage {
        cause: StatusMessageCause::Heartbeat { is_for_all },
        ..change_of_type(PRESENCE_UPDATE, seq, event, status)
    }
}

fn change_of_type(r#type: &str, seq: u64, event: &Event, status: &StatusChanged) -> StatusMessage {
    StatusMessage {
        user_id: status.user_id,
        version: event.version,
        cause: StatusMessageCause::Change,
        text: text_of(r#type, event, status, seq),
        update_text: None,
    }
}

fn feed_type(status: &StatusChanged) -> &'static str {
    if !status.is_online {
        LISTENER_OFFLINE
    } else if status.is_busy || !status.takes_calls() {
        "listener_busy"
    } else if status.came_online {
        "listener_online"
    } else {
        "listener_available"
    }
}

fn text_of(r#type: &str, event: &Event, status: &StatusChanged, seq: u64) -> Utf8Bytes {
    OutgoingMessage {
        r#type,
        data: Status::from(status),
        timestamp: talktime_proto::datetime(event.happened_at.as_ref()).unwrap_or_default(),
        seq,
    }
    .to_text()
}
