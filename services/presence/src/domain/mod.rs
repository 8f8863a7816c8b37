//! The rules of presence, as pure functions.

mod change;
mod ended_sessions;
mod error;
mod heartbeat;
mod limits;
mod request;
mod status;

pub use change::{SessionChange, StatusChange, StatusSettingsChange};
pub use error::PresenceError;
pub use heartbeat::{UserHeartbeat, split_into_rounds};
pub use request::{
    check_call, check_call_changes, check_heartbeats, check_limit, check_session_changes,
    check_settings, check_user_ids,
};
pub use status::{StatusChangeEffect, UserStatus};
