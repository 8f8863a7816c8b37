//! What can happen to a status.

use chrono::{DateTime, TimeDelta, Utc};

/// What happened to one or more people, told by a request or an event, perhaps late, twice or in
/// the wrong order.
#[derive(Clone, Debug)]
pub enum Change {
    /// They said so themselves.
    Settings(Settings),
    /// They logged in or out.
    Session(Session),
    /// They are on a call.
    CallBegan {
        /// Later calls of a person have greater ids.
        call_id: i64,
        /// Minutes that the caller's coins pay for.
        wait_time: i32,
    },
    /// They are not on this call any more.
    CallEnded {
        /// The call.
        call_id: i64,
    },
    /// What they said of being busy themselves is over by now, if it is.
    OwnBusyOver {
        /// How long it holds where they named no minutes.
        grace: TimeDelta,
    },
    /// The profile tells their name.
    Named {
        /// The name.
        username: String,
        /// Version of the profile.
        profile_version: i64,
    },
    /// The profile tells whether they are a listener.
    Listener {
        /// Whether they are.
        is_listener: bool,
        /// Version of the profile.
        profile_version: i64,
    },
}

/// What a person sets; what is `None` stays.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// Whether they are here.
    pub is_online: Option<bool>,
    /// Whether they want no calls.
    pub is_busy: Option<bool>,
    /// Minutes until they are free.
    pub wait_time: Option<i32>,
    /// When a gateway accepted the request; `None` when the gateway did not say.
    pub accepted_at: Option<DateTime<Utc>>,
}

/// A login or logout.
#[derive(Clone, Debug)]
pub struct Session {
    /// Login, or else logout.
    pub is_online: bool,
    /// When it happened: the latest one counts.
    pub happened_at: DateTime<Utc>,
    /// The name that it tells, used until the profile tells one; may be empty.
    pub username: String,
    /// Sessions that ended with it; those used last come first.
    pub ended_session_ids: Vec<String>,
}

impl Change {
    /// Whether someone never heard of comes to be by it: all but their own settings and the end of
    /// these, since only messages between services overtake each other.
    pub fn makes_users(&self) -> bool {
        !matches!(self, Self::Settings(_) | Self::OwnBusyOver { .. })
    }
}
