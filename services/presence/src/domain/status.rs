//! The status of a user and how each change affects it.

use chrono::{DateTime, TimeDelta, Utc};

use super::{SessionChange, StatusChange, StatusSettingsChange, ended_sessions};

/// The status of a user, with the data that decides whether a late message still counts.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column of the row")]
pub struct UserStatus {
    pub user_id: i64,
    /// Empty while unknown.
    pub username: String,
    /// Whether the user is available.
    pub is_online: bool,
    /// Whether the user is on a call, or wants none.
    pub is_busy: bool,
    /// Minutes until the user is free.
    pub wait_time: Option<i32>,
    /// Whether the user takes calls. It stays as it is until it is set again: a heartbeat puts a user online and
    /// a sweep clears the busy flag, so neither of these can keep calls away.
    pub accepting_calls: bool,
    /// The latest time at which the user chose whether to take calls; an earlier pause is ignored.
    pub accepting_changed_at: Option<DateTime<Utc>>,
    /// Time of the latest heartbeat or request.
    pub last_seen: DateTime<Utc>,
    /// When the row was created.
    pub created_at: DateTime<Utc>,
    /// When any column last changed.
    pub updated_at: DateTime<Utc>,
    /// Grows with every change that others can see.
    pub version: i64,
    /// The live call that makes the user busy.
    pub call_id: Option<i64>,
    /// The latest call that is known to have ended.
    pub last_ended_call_id: Option<i64>,
    /// Time of the latest known login or logout.
    pub session_changed_at: Option<DateTime<Utc>>,
    /// Version of the profile that the username comes from; zero if it comes from a login.
    pub profile_version: i64,
    /// Since when the user is busy by choice, without a call.
    pub busy_since: Option<DateTime<Utc>>,
    /// Whether the user has the role `listener`.
    pub is_listener: bool,
    /// Version of the profile that the role comes from.
    pub role_version: i64,
    /// When a visible field last changed.
    pub status_changed_at: DateTime<Utc>,
    /// The most recently ended sessions, newest first; their heartbeats are ignored.
    pub ended_session_ids: Vec<String>,
    /// The latest time at which the user chose to go offline; earlier heartbeats are ignored.
    pub went_offline_at: Option<DateTime<Utc>>,
}

/// The effect of a change on a status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StatusChangeEffect {
    /// The change was known already, or a later one has overtaken it.
    Unchanged,
    /// The row changed, but nothing that others see.
    Hidden,
    /// A visible field changed: the version grew, and an event has to be appended.
    Visible {
        /// Whether the user is online now, and was offline or no listener before.
        came_online: bool,
    },
}

impl UserStatus {
    /// Applies a change. Applying the same change again is [`StatusChangeEffect::Unchanged`], except for settings,
    /// which count as a heartbeat each time.
    pub fn apply(&mut self, change: &StatusChange, now: DateTime<Utc>) -> StatusChangeEffect {
        let before = self.clone();
        match change {
            StatusChange::Settings(settings) => self.apply_settings(*settings, now),
            StatusChange::Session(session) => self.apply_session_change(session),
            StatusChange::CallBegan { call_id, wait_time } => self.start_call(*call_id, *wait_time),
            StatusChange::CallEnded { call_id } => self.end_call(*call_id),
            StatusChange::OwnBusyExpired { grace } => self.expire_own_busy(*grace, now),
            StatusChange::CallsPaused { happened_at } => self.pause_calls(*happened_at),
            StatusChange::Named {
                username,
                profile_version,
            } => self.set_username(username, *profile_version),
            StatusChange::Listener {
                is_listener,
                profile_version,
            } => self.set_listener(*is_listener, *profile_version),
        }
        if *self == before {
            return StatusChangeEffect::Unchanged;
        }
        self.updated_at = now;
        if self.visible_fields() == before.visible_fields() {
            return StatusChangeEffect::Hidden;
        }
        self.version += 1;
        self.status_changed_at = now;
        let came_online = self.is_online && !before.is_online;
        let became_listener = self.is_listener && !before.is_listener;
        StatusChangeEffect::Visible {
            came_online: came_online || (self.is_online && became_listener),
        }
    }

    fn visible_fields(&self) -> (&str, bool, bool, Option<i32>, bool, bool) {
        (
            &self.username,
            self.is_online,
            self.is_busy,
            self.wait_time,
            self.accepting_calls,
            self.is_listener,
        )
    }

    /// Returns whether a session is known to have ended.
    pub fn has_ended_session(&self, session_id: &str) -> bool {
        self.ended_session_ids.iter().any(|id| id == session_id)
    }

    fn apply_settings(&mut self, settings: StatusSettingsChange, now: DateTime<Utc>) {
        self.last_seen = self.last_seen.max(now);
        if settings.is_online == Some(false) {
            let accepted_at = settings.accepted_at.unwrap_or(now);
            self.went_offline_at = self.went_offline_at.max(Some(accepted_at));
        }
        self.is_online = settings.is_online.unwrap_or(self.is_online);
        // A user cannot clear the busy flag during a call.
        self.is_busy = settings.is_busy.unwrap_or(self.is_busy) || self.call_id.is_some();
        self.wait_time = settings.wait_time.or(self.wait_time);
        if let Some(accepting_calls) = settings.accepting_calls {
            let accepted_at = settings.accepted_at.unwrap_or(now);
            self.accepting_calls = accepting_calls;
            self.accepting_changed_at = self.accepting_changed_at.max(Some(accepted_at));
        }
        if self.call_id.is_none() && settings.is_busy.is_some() {
            self.busy_since = self.is_busy.then(|| self.busy_since.unwrap_or(now));
        }
    }

    fn apply_session_change(&mut self, session: &SessionChange) {
        // Sessions stay ended even if a later login has overtaken their logout.
        ended_sessions::add_ended_sessions(&mut self.ended_session_ids, &session.ended_session_ids);
        if self.session_changed_at >= Some(session.happened_at) {
            return;
        }
        self.session_changed_at = Some(session.happened_at);
        self.is_online = session.is_online;
        self.last_seen = self.last_seen.max(session.happened_at);
        if self.profile_version == 0 && !session.username.is_empty() {
            self.username.clone_from(&session.username);
        }
    }

    /// Ignores a call that is over, and one before the current call: its end has not arrived yet. A call that
    /// rings has no expected duration; once it is accepted, the second report of the same call brings it.
    fn start_call(&mut self, call_id: i64, wait_time: Option<i32>) {
        let was_ringing = self.call_id == Some(call_id) && self.wait_time.is_none();
        if self.call_id.max(self.last_ended_call_id) >= Some(call_id) && !was_ringing {
            return;
        }
        self.call_id = Some(call_id);
        self.busy_since = None;
        self.is_busy = true;
        self.wait_time = wait_time.map(|minutes| minutes.max(0));
    }

    /// Ends the call and all calls before it.
    fn end_call(&mut self, call_id: i64) {
        self.last_ended_call_id = self.last_ended_call_id.max(Some(call_id));
        if self.call_id.is_some_and(|live| live <= call_id) {
            self.call_id = None;
            self.is_busy = false;
            self.wait_time = None;
        }
    }

    fn expire_own_busy(&mut self, grace: TimeDelta, now: DateTime<Utc>) {
        let Some(since) = self.busy_since else { return };
        let announced = self
            .wait_time
            .map(|minutes| TimeDelta::minutes(minutes.into()));
        if since + announced.unwrap_or(grace) <= now {
            self.busy_since = None;
            self.is_busy = false;
            self.wait_time = None;
        }
    }

    fn pause_calls(&mut self, happened_at: DateTime<Utc>) {
        if self.accepting_changed_at < Some(happened_at) {
            self.accepting_calls = false;
        }
    }

    fn set_listener(&mut self, is_listener: bool, profile_version: i64) {
        if self.role_version < profile_version {
            self.role_version = profile_version;
            self.is_listener = is_listener;
        }
    }

    fn set_username(&mut self, username: &str, profile_version: i64) {
        if self.profile_version < profile_version {
            self.profile_version = profile_version;
            username.clone_into(&mut self.username);
        }
    }
}

#[cfg(test)]
mod tests;
