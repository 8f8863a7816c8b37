//! The status of a user and how each change affects it.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::FromRow;

use super::{SessionChange, StatusChange, StatusSettings, ended_sessions};

/// The status of a user, with the data that decides whether a late message still counts.
#[derive(Clone, Debug, Eq, FromRow, PartialEq)]
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
pub enum ChangeEffect {
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
    /// Applies a change. Applying the same change again is [`ChangeEffect::Unchanged`], except for settings,
    /// which count as a heartbeat each time.
    pub fn apply(&mut self, change: &StatusChange, now: DateTime<Utc>) -> ChangeEffect {
        let before = self.clone();
        match change {
            StatusChange::Settings(settings) => self.apply_settings(*settings, now),
            StatusChange::Session(session) => self.apply_session_change(session),
            StatusChange::CallBegan { call_id, wait_time } => self.start_call(*call_id, *wait_time),
            StatusChange::CallEnded { call_id } => self.end_call(*call_id),
            StatusChange::OwnBusyExpired { grace } => self.expire_own_busy(*grace, now),
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
            return ChangeEffect::Unchanged;
        }
        self.updated_at = now;
        if self.visible_fields() == before.visible_fields() {
            return ChangeEffect::Hidden;
        }
        self.version += 1;
        self.status_changed_at = now;
        let came_online = self.is_online && !before.is_online;
        let became_listener = self.is_listener && !before.is_listener;
        ChangeEffect::Visible {
            came_online: came_online || (self.is_online && became_listener),
        }
    }

    fn visible_fields(&self) -> (&str, bool, bool, Option<i32>, bool) {
        (
            &self.username,
            self.is_online,
            self.is_busy,
            self.wait_time,
            self.is_listener,
        )
    }

    /// Returns whether a session is known to have ended.
    pub fn has_ended_session(&self, session_id: &str) -> bool {
        self.ended_session_ids.iter().any(|id| id == session_id)
    }

    fn apply_settings(&mut self, settings: StatusSettings, now: DateTime<Utc>) {
        self.last_seen = self.last_seen.max(now);
        if settings.is_online == Some(false) {
            let accepted_at = settings.accepted_at.unwrap_or(now);
            self.went_offline_at = self.went_offline_at.max(Some(accepted_at));
        }
        self.is_online = settings.is_online.unwrap_or(self.is_online);
        // A user cannot clear the busy flag during a call.
        self.is_busy = settings.is_busy.unwrap_or(self.is_busy) || self.call_id.is_some();
        self.wait_time = settings.wait_time.or(self.wait_time);
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("valid")
    }

    fn seconds_later(seconds: i64) -> DateTime<Utc> {
        noon() + TimeDelta::seconds(seconds)
    }

    fn offline_user() -> UserStatus {
        UserStatus {
            user_id: 1,
            username: "asha".to_owned(),
            is_online: false,
            is_busy: false,
            wait_time: None,
            last_seen: noon(),
            created_at: noon(),
            updated_at: noon(),
            version: 0,
            call_id: None,
            last_ended_call_id: None,
            session_changed_at: None,
            profile_version: 1,
            busy_since: None,
            is_listener: false,
            role_version: 0,
            status_changed_at: noon(),
            ended_session_ids: vec![],
            went_offline_at: None,
        }
    }

    const VISIBLE: ChangeEffect = ChangeEffect::Visible { came_online: false };
    const CAME_ONLINE: ChangeEffect = ChangeEffect::Visible { came_online: true };

    fn began(call_id: i64) -> StatusChange {
        StatusChange::CallBegan {
            call_id,
            wait_time: Some(30),
        }
    }

    fn ended(call_id: i64) -> StatusChange {
        StatusChange::CallEnded { call_id }
    }

    fn session(is_online: bool, at_seconds: i64) -> StatusChange {
        StatusChange::Session(SessionChange {
            is_online,
            happened_at: seconds_later(at_seconds),
            username: "told by auth".to_owned(),
            ended_session_ids: vec![],
        })
    }

    fn settings(is_online: Option<bool>, is_busy: Option<bool>) -> StatusChange {
        StatusChange::Settings(StatusSettings {
            is_online,
            is_busy,
            ..StatusSettings::default()
        })
    }

    #[test]
    fn a_call_makes_its_parties_busy_until_it_ends() {
        let mut status = offline_user();
        assert_eq!(status.apply(&began(7), seconds_later(1)), VISIBLE);
        assert_eq!((status.is_busy, status.wait_time), (true, Some(30)));
        assert_eq!(status.apply(&ended(7), seconds_later(2)), VISIBLE);
        assert_eq!((status.is_busy, status.wait_time), (false, None));
        assert_eq!(status.version, 2);
        assert_eq!(status.updated_at, seconds_later(2));
    }

    #[test]
    fn a_call_that_rings_has_no_expected_duration_until_it_is_accepted() {
        let mut status = offline_user();
        let ringing = StatusChange::CallBegan {
            call_id: 7,
            wait_time: None,
        };
        assert_eq!(status.apply(&ringing, noon()), VISIBLE);
        assert_eq!((status.is_busy, status.wait_time), (true, None));
        assert_eq!(status.apply(&began(7), noon()), VISIBLE);
        assert_eq!((status.is_busy, status.wait_time), (true, Some(30)));
        let late = status.apply(&ringing, noon());
        assert_eq!(late, ChangeEffect::Unchanged, "the ring is reported late");
        status.apply(&ended(7), noon());
        let late = status.apply(&began(7), noon());
        assert_eq!(
            late,
            ChangeEffect::Unchanged,
            "an ended call begins no more"
        );
    }

    #[test]
    fn the_late_start_of_an_ended_call_is_ignored() {
        let mut status = offline_user();
        assert_eq!(status.apply(&ended(7), noon()), ChangeEffect::Hidden);
        assert_eq!(status.apply(&began(7), noon()), ChangeEffect::Unchanged);
        assert!(!status.is_busy);
    }

    #[test]
    fn the_end_of_an_earlier_call_does_not_end_a_later_one() {
        let mut status = offline_user();
        status.apply(&began(8), noon());
        assert_eq!(status.apply(&ended(7), noon()), ChangeEffect::Hidden);
        assert!(status.is_busy);
        assert_eq!(status.apply(&began(7), noon()), ChangeEffect::Unchanged);
        assert_eq!(status.call_id, Some(8));
    }

    #[test]
    fn a_user_cannot_clear_the_busy_flag_of_a_live_call() {
        let mut status = offline_user();
        status.apply(&began(7), noon());
        assert_eq!(
            status.apply(&settings(None, Some(false)), noon()),
            ChangeEffect::Unchanged
        );
        assert!(status.is_busy);
        status.apply(&ended(7), noon());
        status.apply(&settings(None, Some(true)), noon());
        status.apply(&settings(None, Some(false)), noon());
        assert!(!status.is_busy, "their own flag they may clear");
    }

    #[test]
    fn the_latest_login_or_logout_counts() {
        let mut status = offline_user();
        assert_eq!(status.apply(&session(true, 10), noon()), CAME_ONLINE);
        assert_eq!(
            status.apply(&session(true, 10), noon()),
            ChangeEffect::Unchanged
        );
        assert_eq!(
            status.apply(&session(false, 9), noon()),
            ChangeEffect::Unchanged
        );
        assert!(status.is_online);
        assert_eq!(status.apply(&session(false, 11), noon()), VISIBLE);
        assert_eq!(status.last_seen, seconds_later(11));
    }

    #[test]
    fn a_username_of_the_profile_overrides_one_of_a_login() {
        let mut status = UserStatus {
            profile_version: 0,
            username: String::new(),
            ..offline_user()
        };
        status.apply(&session(true, 1), noon());
        assert_eq!(status.username, "told by auth");
        let named = |username: &str, profile_version| StatusChange::Named {
            username: username.to_owned(),
            profile_version,
        };
        assert_eq!(status.apply(&named("new", 2), noon()), VISIBLE);
        assert_eq!(
            status.apply(&named("old", 1), noon()),
            ChangeEffect::Unchanged
        );
        status.apply(&session(false, 2), noon());
        assert_eq!(status.username, "new");
    }

    #[test]
    fn settings_count_as_a_heartbeat_and_change_only_their_fields() {
        let mut status = offline_user();
        let later = seconds_later(5);
        assert_eq!(
            status.apply(&settings(Some(true), None), later),
            CAME_ONLINE
        );
        assert_eq!((status.is_online, status.is_busy), (true, false));
        assert_eq!(status.last_seen, later);
        assert_eq!(
            status.apply(&settings(Some(true), None), seconds_later(6)),
            ChangeEffect::Hidden
        );
        assert_eq!(status.version, 1);
    }

    #[test]
    fn the_latest_role_counts_and_an_online_user_who_gains_it_comes_online() {
        let listener = |is_listener, profile_version| StatusChange::Listener {
            is_listener,
            profile_version,
        };
        let mut status = offline_user();
        assert_eq!(status.apply(&listener(true, 2), noon()), VISIBLE);
        assert_eq!(
            status.apply(&listener(false, 1), noon()),
            ChangeEffect::Unchanged
        );
        assert!(status.is_listener);
        assert_eq!(status.apply(&listener(false, 3), noon()), VISIBLE);
        status.apply(&session(true, 1), noon());
        assert_eq!(status.apply(&listener(true, 4), noon()), CAME_ONLINE);
    }

    #[test]
    fn a_call_takes_over_the_busy_flag_that_the_user_set() {
        let mut status = offline_user();
        status.apply(&settings(None, Some(true)), noon());
        status.apply(&settings(None, Some(true)), seconds_later(9));
        assert_eq!(status.busy_since, Some(noon()));
        status.apply(&began(7), seconds_later(10));
        assert_eq!(status.busy_since, None);
        status.apply(&settings(None, Some(true)), seconds_later(11));
        assert_eq!(status.busy_since, None, "it is the call's");
        status.apply(&ended(7), seconds_later(12));
        assert!(!status.is_busy);
    }

    #[test]
    fn the_busy_flag_of_a_user_expires_after_the_announced_wait_or_the_grace() {
        let over = StatusChange::OwnBusyExpired {
            grace: TimeDelta::seconds(60),
        };
        let mut status = offline_user();
        status.apply(&settings(None, Some(true)), noon());
        assert_eq!(
            status.apply(&over, seconds_later(59)),
            ChangeEffect::Unchanged
        );
        assert_eq!(status.apply(&over, seconds_later(60)), VISIBLE);
        assert!(!status.is_busy);
        let ten_minutes = StatusSettings {
            is_busy: Some(true),
            wait_time: Some(10),
            ..StatusSettings::default()
        };
        status.apply(&StatusChange::Settings(ten_minutes), noon());
        assert_eq!(
            status.apply(&over, seconds_later(599)),
            ChangeEffect::Unchanged
        );
        assert_eq!(status.apply(&over, seconds_later(600)), VISIBLE);
        assert_eq!((status.is_busy, status.wait_time), (false, None));
    }

    proptest! {
        /// Requests and events report the same calls in any order, some of them twice.
        #[test]
        fn the_order_of_reports_about_calls_does_not_matter(
            calls in 1..6_i64,
            last_is_over: bool,
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let mut all: Vec<StatusChange> = (1..=calls).map(began).collect();
            all.extend((1..calls).map(ended));
            if last_is_over {
                all.push(ended(calls));
            }
            let mut reports: Vec<&StatusChange> = order.iter().map(|index| index.get(&all)).collect();
            reports.extend(&all);

            let mut status = offline_user();
            for change in reports {
                let version = status.version;
                let effect = status.apply(change, noon());
                prop_assert_eq!(status.version - version, i64::from(matches!(effect, ChangeEffect::Visible { .. })));
            }
            prop_assert_eq!(status.is_busy, !last_is_over);
            prop_assert_eq!(status.call_id, (!last_is_over).then_some(calls));
        }
    }
}
