//! What presence decides, without touching anything.

mod change;
mod ended_sessions;
mod error;
mod request;
mod sign_of_life;
mod status;

pub use change::{Change, Session, Settings};
pub use error::PresenceError;
pub use request::{
    CALL_CHANGES_MAX, HEARTBEATS_MAX, ONLINE_MAX, STATUSES_MAX, WAIT_TIME_MINUTES_MAX, check_call,
    check_call_changes, check_heartbeats, check_limit, check_many, check_settings,
};
pub use sign_of_life::{SignOfLife, rounds};
pub use status::{Effect, UserStatus};
