//! Events that presence publishes.

use talktime_proto::events::v1::StatusChanged;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::timestamp;

use crate::domain::UserStatus;
use crate::store::user_status::HeartbeatStatusRow;

/// Builds the event of a visible change. `came_online` is true for the change that put the user online.
pub(crate) fn status_changed_event(status: &UserStatus, came_online: bool) -> Kind {
    Kind::StatusChanged(StatusChanged {
        user_id: status.user_id,
        username: status.username.clone(),
        is_online: status.is_online,
        is_busy: status.is_busy,
        wait_time: status.wait_time,
        last_seen: Some(timestamp(status.last_seen)),
        is_listener: status.is_listener,
        came_online,
        accepting_calls: Some(status.accepting_calls),
    })
}

/// Builds the event of a status as it is after a heartbeat of its user.
pub(crate) fn heartbeat_event(heartbeat: &HeartbeatStatusRow, came_online: bool) -> Kind {
    Kind::StatusChanged(StatusChanged {
        user_id: heartbeat.user_id,
        username: heartbeat.username.clone(),
        is_online: true,
        is_busy: heartbeat.is_busy,
        wait_time: heartbeat.wait_time,
        last_seen: Some(timestamp(heartbeat.last_seen)),
        is_listener: heartbeat.is_listener,
        came_online,
        accepting_calls: Some(heartbeat.accepting_calls),
    })
}
