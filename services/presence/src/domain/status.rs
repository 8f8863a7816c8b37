//! A person's status, and what each change makes of it.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::FromRow;

use super::{Change, Session, Settings, ended_sessions};

/// A person's status, with what is needed to judge late messages.
#[derive(Clone, Debug, Eq, FromRow, PartialEq)]
pub struct UserStatus {
    /// Whose it is.
    pub user_id: i64,
    /// Empty while unknown.
    pub username: String,
    /// Whether they are here.
    pub is_online: bool,
    /// Whether they are on a call, or want none.
    pub is_busy: bool,
    /// Minutes until they are free.
    pub wait_time: Option<i32>,
    /// Their latest sign of life.
    pub last_seen: DateTime<Utc>,
    /// When they were first heard of.
    pub created_at: DateTime<Utc>,
    /// When anything here changed.
    pub updated_at: DateTime<Utc>,
    /// Grows with every change that others see.
    pub version: i64,
    /// The live call that makes them busy.
    pub call_id: Option<i64>,
    /// The latest call known to be over.
    pub last_ended_call_id: Option<i64>,
    /// The latest login or logout known.
    pub session_changed_at: Option<DateTime<Utc>>,
    /// Version of the profile that the name comes from; zero when it comes from a login.
    pub profile_version: i64,
    /// Since when they are busy by their own word, without a call.
    pub busy_since: Option<DateTime<Utc>>,
    /// Whether they have the role `listener`.
    pub is_listener: bool,
    /// Version of the profile that the role comes from.
    pub role_version: i64,
    /// When others last saw something change.
    pub status_changed_at: DateTime<Utc>,
    /// The sessions that ended last, newest first: their signs of life count no more.
    pub ended_session_ids: Vec<String>,
    /// The latest time that they went offline by their own word; signs of life from before count no more.
    pub went_offline_at: Option<DateTime<Utc>>,
}

/// What a change came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// It was known already, or overtaken.
    Nothing,
    /// Something to remember that nobody sees.
    Kept,
    /// Something that others see: the version grew, and they are to be told.
    Seen {
        /// Whether they are online now and were not, or were no listener.
        came_online: bool,
    },
}

impl UserStatus {
    /// Makes what a change makes of it. The same change a second time is [`Effect::Nothing`], but
    /// for a person's own settings, which are a sign of life each time.
    pub fn apply(&mut self, change: &Change, now: DateTime<Utc>) -> Effect {
        let before = self.clone();
        match change {
            Change::Settings(settings) => self.set(*settings, now),
            Change::Session(session) => self.log_in_or_out(session),
            Change::CallBegan { call_id, wait_time } => self.begin_call(*call_id, *wait_time),
            Change::CallEnded { call_id } => self.end_call(*call_id),
            Change::OwnBusyOver { grace } => self.end_own_busy(*grace, now),
            Change::Named {
                username,
                profile_version,
            } => self.name(username, *profile_version),
            Change::Listener {
                is_listener,
                profile_version,
            } => self.set_listener(*is_listener, *profile_version),
        }
        if *self == before {
            return Effect::Nothing;
        }
        self.updated_at = now;
        if self.visible() == before.visible() {
            return Effect::Kept;
        }
        self.version += 1;
        self.status_changed_at = now;
        let came_online = self.is_online && !before.is_online;
        let became_listener = self.is_listener && !before.is_listener;
        Effect::Seen {
            came_online: came_online || (self.is_online && became_listener),
        }
    }

    fn visible(&self) -> (&str, bool, bool, Option<i32>, bool) {
        (
            &self.username,
            self.is_online,
            self.is_busy,
            self.wait_time,
            self.is_listener,
        )
    }

    /// Whether a session is known to have ended.
    pub fn has_ended(&self, session_id: &str) -> bool {
        self.ended_session_ids.iter().any(|id| id == session_id)
    }

    fn set(&mut self, settings: Settings, now: DateTime<Utc>) {
        self.last_seen = self.last_seen.max(now);
        if settings.is_online == Some(false) {
            let accepted_at = settings.accepted_at.unwrap_or(now);
            self.went_offline_at = self.went_offline_at.max(Some(accepted_at));
        }
        self.is_online = settings.is_online.unwrap_or(self.is_online);
        // Nobody talks themselves free during a call.
        self.is_busy = settings.is_busy.unwrap_or(self.is_busy) || self.call_id.is_some();
        self.wait_time = settings.wait_time.or(self.wait_time);
        if self.call_id.is_none() && settings.is_busy.is_some() {
            self.busy_since = self.is_busy.then(|| self.busy_since.unwrap_or(now));
        }
    }

    fn log_in_or_out(&mut self, session: &Session) {
        // Even those of a logout that a login has overtaken.
        ended_sessions::remember(&mut self.ended_session_ids, &session.ended_session_ids);
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

    /// A call that is over does not begin, nor does one before the call that they are on now: its
    /// end has yet to be heard.
    fn begin_call(&mut self, call_id: i64, wait_time: i32) {
        if self.call_id.max(self.last_ended_call_id) >= Some(call_id) {
            return;
        }
        self.call_id = Some(call_id);
        self.busy_since = None;
        self.is_busy = true;
        self.wait_time = Some(wait_time.max(0));
    }

    /// The end of a call is the end of all before it.
    fn end_call(&mut self, call_id: i64) {
        self.last_ended_call_id = self.last_ended_call_id.max(Some(call_id));
        if self.call_id.is_some_and(|live| live <= call_id) {
            self.call_id = None;
            self.is_busy = false;
            self.wait_time = None;
        }
    }

    fn end_own_busy(&mut self, grace: TimeDelta, now: DateTime<Utc>) {
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

    fn name(&mut self, username: &str, profile_version: i64) {
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

    fn someone() -> UserStatus {
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

    const SEEN: Effect = Effect::Seen { came_online: false };
    const CAME_ONLINE: Effect = Effect::Seen { came_online: true };

    fn began(call_id: i64) -> Change {
        Change::CallBegan {
            call_id,
            wait_time: 30,
        }
    }

    fn ended(call_id: i64) -> Change {
        Change::CallEnded { call_id }
    }

    fn session(is_online: bool, at_seconds: i64) -> Change {
        Change::Session(Session {
            is_online,
            happened_at: seconds_later(at_seconds),
            username: "told by auth".to_owned(),
            ended_session_ids: vec![],
        })
    }

    fn settings(is_online: Option<bool>, is_busy: Option<bool>) -> Change {
        Change::Settings(Settings {
            is_online,
            is_busy,
            ..Settings::default()
        })
    }

    #[test]
    fn a_call_makes_busy_and_its_end_makes_free() {
        let mut status = someone();
        assert_eq!(status.apply(&began(7), seconds_later(1)), SEEN);
        assert_eq!((status.is_busy, status.wait_time), (true, Some(30)));
        assert_eq!(status.apply(&ended(7), seconds_later(2)), SEEN);
        assert_eq!((status.is_busy, status.wait_time), (false, None));
        assert_eq!(status.version, 2);
        assert_eq!(status.updated_at, seconds_later(2));
    }

    #[test]
    fn a_call_that_is_over_does_not_begin() {
        let mut status = someone();
        assert_eq!(status.apply(&ended(7), noon()), Effect::Kept);
        assert_eq!(status.apply(&began(7), noon()), Effect::Nothing);
        assert!(!status.is_busy);
    }

    #[test]
    fn the_end_of_an_earlier_call_does_not_free_from_a_later_one() {
        let mut status = someone();
        status.apply(&began(8), noon());
        assert_eq!(status.apply(&ended(7), noon()), Effect::Kept);
        assert!(status.is_busy);
        assert_eq!(status.apply(&began(7), noon()), Effect::Nothing);
        assert_eq!(status.call_id, Some(8));
    }

    #[test]
    fn nobody_clears_the_busy_flag_of_a_live_call() {
        let mut status = someone();
        status.apply(&began(7), noon());
        assert_eq!(
            status.apply(&settings(None, Some(false)), noon()),
            Effect::Nothing
        );
        assert!(status.is_busy);
        status.apply(&ended(7), noon());
        status.apply(&settings(None, Some(true)), noon());
        status.apply(&settings(None, Some(false)), noon());
        assert!(!status.is_busy, "their own flag they may clear");
    }

    #[test]
    fn the_latest_login_or_logout_counts() {
        let mut status = someone();
        assert_eq!(status.apply(&session(true, 10), noon()), CAME_ONLINE);
        assert_eq!(status.apply(&session(true, 10), noon()), Effect::Nothing);
        assert_eq!(status.apply(&session(false, 9), noon()), Effect::Nothing);
        assert!(status.is_online);
        assert_eq!(status.apply(&session(false, 11), noon()), SEEN);
        assert_eq!(status.last_seen, seconds_later(11));
    }

    #[test]
    fn a_name_of_the_profile_outranks_one_of_a_login() {
        let mut status = UserStatus {
            profile_version: 0,
            username: String::new(),
            ..someone()
        };
        status.apply(&session(true, 1), noon());
        assert_eq!(status.username, "told by auth");
        let named = |username: &str, profile_version| Change::Named {
            username: username.to_owned(),
            profile_version,
        };
        assert_eq!(status.apply(&named("new", 2), noon()), SEEN);
        assert_eq!(status.apply(&named("old", 1), noon()), Effect::Nothing);
        status.apply(&session(false, 2), noon());
        assert_eq!(status.username, "new");
    }

    #[test]
    fn settings_are_a_sign_of_life_and_change_only_what_they_name() {
        let mut status = someone();
        let later = seconds_later(5);
        assert_eq!(
            status.apply(&settings(Some(true), None), later),
            CAME_ONLINE
        );
        assert_eq!((status.is_online, status.is_busy), (true, false));
        assert_eq!(status.last_seen, later);
        assert_eq!(
            status.apply(&settings(Some(true), None), seconds_later(6)),
            Effect::Kept
        );
        assert_eq!(status.version, 1);
    }

    #[test]
    fn the_latest_word_on_a_role_counts_and_shows_who_is_there_already() {
        let listener = |is_listener, profile_version| Change::Listener {
            is_listener,
            profile_version,
        };
        let mut status = someone();
        assert_eq!(status.apply(&listener(true, 2), noon()), SEEN);
        assert_eq!(status.apply(&listener(false, 1), noon()), Effect::Nothing);
        assert!(status.is_listener);
        assert_eq!(status.apply(&listener(false, 3), noon()), SEEN);
        status.apply(&session(true, 1), noon());
        assert_eq!(status.apply(&listener(true, 4), noon()), CAME_ONLINE);
    }

    #[test]
    fn ones_own_busy_flag_knows_since_when_and_a_call_takes_it_over() {
        let mut status = someone();
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
    fn ones_own_busy_flag_ends_with_the_minutes_announced_or_the_grace() {
        let over = Change::OwnBusyOver {
            grace: TimeDelta::seconds(60),
        };
        let mut status = someone();
        status.apply(&settings(None, Some(true)), noon());
        assert_eq!(status.apply(&over, seconds_later(59)), Effect::Nothing);
        assert_eq!(status.apply(&over, seconds_later(60)), SEEN);
        assert!(!status.is_busy);
        let ten_minutes = Settings {
            is_busy: Some(true),
            wait_time: Some(10),
            ..Settings::default()
        };
        status.apply(&Change::Settings(ten_minutes), noon());
        assert_eq!(status.apply(&over, seconds_later(599)), Effect::Nothing);
        assert_eq!(status.apply(&over, seconds_later(600)), SEEN);
        assert_eq!((status.is_busy, status.wait_time), (false, None));
    }

    proptest! {
        /// Requests and events tell of the same calls, in any order, some of them twice.
        #[test]
        fn in_whatever_order_calls_are_heard_of_the_last_word_holds(
            calls in 1..6_i64,
            last_is_over: bool,
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let mut all: Vec<Change> = (1..=calls).map(began).collect();
            all.extend((1..calls).map(ended));
            if last_is_over {
                all.push(ended(calls));
            }
            let mut heard: Vec<&Change> = order.iter().map(|index| index.get(&all)).collect();
            heard.extend(&all);

            let mut status = someone();
            for change in heard {
                let version = status.version;
                let effect = status.apply(change, noon());
                prop_assert_eq!(status.version - version, i64::from(matches!(effect, Effect::Seen { .. })));
            }
            prop_assert_eq!(status.is_busy, !last_is_over);
            prop_assert_eq!(status.call_id, (!last_is_over).then_some(calls));
        }
    }
}
