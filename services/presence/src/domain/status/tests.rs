//! Tests of the changes of a status.

use proptest::prelude::*;

use super::*;

const ONLINE: bool = true;
const OFFLINE: bool = false;

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
        accepting_calls: true,
        accepting_changed_at: None,
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

const VISIBLE: StatusChangeEffect = StatusChangeEffect::Visible { came_online: false };
const CAME_ONLINE: StatusChangeEffect = StatusChangeEffect::Visible { came_online: true };

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
    StatusChange::Settings(StatusSettingsChange {
        is_online,
        is_busy,
        ..StatusSettingsChange::default()
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
    assert_eq!(
        late,
        StatusChangeEffect::Unchanged,
        "the ring is reported late"
    );
    status.apply(&ended(7), noon());
    let late = status.apply(&began(7), noon());
    assert_eq!(
        late,
        StatusChangeEffect::Unchanged,
        "an ended call begins no more"
    );
}

#[test]
fn the_late_start_of_an_ended_call_is_ignored() {
    let mut status = offline_user();
    assert_eq!(status.apply(&ended(7), noon()), StatusChangeEffect::Hidden);
    assert_eq!(
        status.apply(&began(7), noon()),
        StatusChangeEffect::Unchanged
    );
    assert!(!status.is_busy);
}

#[test]
fn the_end_of_an_earlier_call_does_not_end_a_later_one() {
    let mut status = offline_user();
    status.apply(&began(8), noon());
    assert_eq!(status.apply(&ended(7), noon()), StatusChangeEffect::Hidden);
    assert!(status.is_busy);
    assert_eq!(
        status.apply(&began(7), noon()),
        StatusChangeEffect::Unchanged
    );
    assert_eq!(status.call_id, Some(8));
}

#[test]
fn a_user_cannot_clear_the_busy_flag_of_a_live_call() {
    let mut status = offline_user();
    status.apply(&began(7), noon());
    assert_eq!(
        status.apply(&settings(None, Some(false)), noon()),
        StatusChangeEffect::Unchanged
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
    assert_eq!(status.apply(&session(ONLINE, 10), noon()), CAME_ONLINE);
    assert_eq!(
        status.apply(&session(ONLINE, 10), noon()),
        StatusChangeEffect::Unchanged
    );
    assert_eq!(
        status.apply(&session(OFFLINE, 9), noon()),
        StatusChangeEffect::Unchanged
    );
    assert!(status.is_online);
    assert_eq!(status.apply(&session(OFFLINE, 11), noon()), VISIBLE);
    assert_eq!(status.last_seen, seconds_later(11));
}

#[test]
fn a_username_of_the_profile_overrides_one_of_a_login() {
    let mut status = UserStatus {
        profile_version: 0,
        username: String::new(),
        ..offline_user()
    };
    status.apply(&session(ONLINE, 1), noon());
    assert_eq!(status.username, "told by auth");
    let named = |username: &str, profile_version| StatusChange::Named {
        username: username.to_owned(),
        profile_version,
    };
    assert_eq!(status.apply(&named("new", 2), noon()), VISIBLE);
    assert_eq!(
        status.apply(&named("old", 1), noon()),
        StatusChangeEffect::Unchanged
    );
    status.apply(&session(OFFLINE, 2), noon());
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
        StatusChangeEffect::Hidden
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
        StatusChangeEffect::Unchanged
    );
    assert!(status.is_listener);
    assert_eq!(status.apply(&listener(false, 3), noon()), VISIBLE);
    status.apply(&session(ONLINE, 1), noon());
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
        StatusChangeEffect::Unchanged
    );
    assert_eq!(status.apply(&over, seconds_later(60)), VISIBLE);
    assert!(!status.is_busy);
    let ten_minutes = StatusSettingsChange {
        is_busy: Some(true),
        wait_time: Some(10),
        ..StatusSettingsChange::default()
    };
    status.apply(&StatusChange::Settings(ten_minutes), noon());
    assert_eq!(
        status.apply(&over, seconds_later(599)),
        StatusChangeEffect::Unchanged
    );
    assert_eq!(status.apply(&over, seconds_later(600)), VISIBLE);
    assert_eq!((status.is_busy, status.wait_time), (false, None));
}

#[test]
fn calls_stay_paused_whatever_else_changes() {
    let set_accepting = |accepting_calls| {
        StatusChange::Settings(StatusSettingsChange {
            accepting_calls: Some(accepting_calls),
            ..StatusSettingsChange::default()
        })
    };
    let mut status = offline_user();
    status.apply(&session(ONLINE, 1), noon());
    assert_eq!(status.apply(&set_accepting(false), noon()), VISIBLE);
    for change in [
        session(OFFLINE, 2),
        session(ONLINE, 3),
        settings(Some(false), Some(true)),
        settings(Some(true), Some(false)),
        began(7),
        ended(7),
        StatusChange::OwnBusyExpired {
            grace: TimeDelta::zero(),
        },
    ] {
        status.apply(&change, seconds_later(600));
        assert!(!status.accepting_calls, "{change:?}");
    }
    assert_eq!(status.apply(&set_accepting(true), noon()), VISIBLE);
    assert!(status.accepting_calls);
}

#[test]
fn a_pause_of_calls_holds_unless_the_user_has_chosen_since() {
    let pause_for = |seconds| StatusChange::CallsPaused {
        happened_at: seconds_later(seconds),
    };
    let accept = StatusChange::Settings(StatusSettingsChange {
        accepting_calls: Some(true),
        accepted_at: Some(seconds_later(5)),
        ..StatusSettingsChange::default()
    });
    let mut status = offline_user();
    assert_eq!(status.apply(&pause_for(4), seconds_later(4)), VISIBLE);
    assert_eq!(status.apply(&accept, seconds_later(6)), VISIBLE);
    let late = status.apply(&pause_for(4), seconds_later(7));
    assert_eq!(late, StatusChangeEffect::Unchanged);
    assert_eq!(status.apply(&pause_for(6), seconds_later(8)), VISIBLE);
    assert!(!status.accepting_calls);
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
            prop_assert_eq!(status.version - version, i64::from(matches!(effect, StatusChangeEffect::Visible { .. })));
        }
        prop_assert_eq!(status.is_busy, !last_is_over);
        prop_assert_eq!(status.call_id, (!last_is_over).then_some(calls));
    }
}
