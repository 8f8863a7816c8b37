//! The changes that a status can undergo.

use chrono::{DateTime, TimeDelta, Utc};

/// A change that a request or an event reports, possibly late, twice or in the wrong order.
#[derive(Clone, Debug)]
pub enum StatusChange {
    /// The user changed the settings.
    Settings(StatusSettingsChange),
    /// The user logged in or out.
    Session(SessionChange),
    /// A call of the user started.
    CallBegan {
        /// The call. Later calls of a user have greater ids.
        call_id: i64,
        /// Minutes for which the coins of the caller suffice.
        wait_time: Option<i32>,
    },
    /// A call of the user ended.
    CallEnded {
        /// The call; it ends all earlier calls of the user as well.
        call_id: i64,
    },
    /// The busy flag that the user set is cleared if it has expired.
    OwnBusyExpired {
        /// How long the flag holds when the user announced no wait.
        grace: TimeDelta,
    },
    /// The user takes no calls any more, since several in a row were not answered.
    CallsPaused {
        /// When that was. If the user has chosen to take calls since, it has no effect.
        happened_at: DateTime<Utc>,
    },
    /// The profile has a new username.
    Named {
        /// The new username.
        username: String,
        /// Version of the profile; an older one has no effect.
        profile_version: i64,
    },
    /// The user gained or lost the role `listener`.
    Listener {
        /// Whether the user has the role now.
        is_listener: bool,
        /// Version of the profile; an older one has no effect.
        profile_version: i64,
    },
}

/// Settings that a user changes; a field that is `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StatusSettingsChange {
    /// Whether the user is available.
    pub is_online: Option<bool>,
    /// Whether the user wants no calls.
    pub is_busy: Option<bool>,
    /// Minutes until the user is free.
    pub wait_time: Option<i32>,
    /// Whether the user takes calls.
    pub accepting_calls: Option<bool>,
    /// When the gateway accepted the request; `None` if it is not known.
    pub accepted_at: Option<DateTime<Utc>>,
}

/// A login or logout.
#[derive(Clone, Debug)]
pub struct SessionChange {
    /// True for a login, false for a logout.
    pub is_online: bool,
    /// When it happened. The latest login or logout determines the status.
    pub happened_at: DateTime<Utc>,
    /// The username, used until the profile provides one; may be empty.
    pub username: String,
    /// Sessions that a logout ended, most recently used first.
    pub ended_session_ids: Vec<String>,
}

impl StatusChange {
    /// Returns whether the change creates the status of an unknown user. Messages between services can
    /// overtake each other, so that a call may be reported before the registration. The user's own requests
    /// and the sweep concern only existing users.
    pub fn creates_users(&self) -> bool {
        !matches!(
            self,
            Self::Settings(_) | Self::OwnBusyExpired { .. } | Self::CallsPaused { .. }
        )
    }
}
