//! The rules of presence, as pure functions.

mod change;
mod ended_sessions;
mod error;
mod heartbeat;
mod request;
mod status;

pub use change::{SessionChange, StatusChange, StatusSettings};
pub use error::PresenceError;
pub use heartbeat::{UserHeartbeat, split_into_rounds};
pub use request::{
    CALL_CHANGES_MAX, HEARTBEATS_MAX, ONLINE_MAX, STATUSES_MAX, WAIT_TIME_MINUTES_MAX, check_call,
    check_call_changes, check_heartbeats, check_limit, check_settings, check_user_ids,
};
pub use status::{ChangeEffect, UserStatus};
