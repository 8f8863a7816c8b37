//! Usernames, logins, settings and deletions of users.

use chrono::TimeDelta;
use futures::future::join_all;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{CallsPaused, LoggedIn, LoggedOut, UserDeleted, UserUpdated};
use talktime_proto::presence::v1 as pb;
use talktime_proto::presence::v1::presence_service_server::PresenceService;
use talktime_proto::timestamp;
use tonic::{Code, Request};

use crate::{ASHA, NOBODY, OFFLINE, ONLINE, Presence, RAVI, Refusal, answer, refusal, registered};

async fn update(
    presence: &Presence,
    user_id: i64,
    settings: pb::UpdateStatusRequest,
) -> Result<pb::Status, Refusal> {
    let request = pb::UpdateStatusRequest {
        user_id,
        ..settings
    };
    answer(presence.api.update_status(Request::new(request)).await)
}

fn logged_in(user_id: i64) -> Kind {
    Kind::LoggedIn(LoggedIn {
        user_id,
        username: "told by auth".to_owned(),
    })
}

#[tokio::test]
async fn a_registration_creates_an_offline_status() {
    let presence = Presence::start_with_two_users().await;
    let now = Some(timestamp(presence.now()));
    assert_eq!(
        presence.status(ASHA).await.expect("known"),
        pb::Status {
            user_id: ASHA,
            username: "asha".to_owned(),
            is_online: false,
            is_busy: false,
            wait_time: None,
            last_seen: now,
            created_at: now,
            updated_at: now,
            version: 1,
            is_listener: false,
            accepting_calls: Some(true),
        }
    );
}

#[tokio::test]
async fn logins_that_share_a_transaction_concern_their_users_alone() {
    let presence = Presence::start().await;
    let is_login = |user_id: i64| user_id % 2 == 0;
    let reports = (1..=40).map(|user_id| {
        let happened_at = presence.now();
        presence.set_session(user_id, is_login(user_id), happened_at)
    });
    for (user_id, status) in (1..=40).zip(join_all(reports).await) {
        let status = status.expect("made");
        let expected = (user_id, is_login(user_id));
        assert_eq!((status.user_id, status.is_online), expected);
    }
}

#[tokio::test]
async fn logins_of_one_request_have_the_effects_of_single_ones() {
    let presence = Presence::start_with_two_users().await;
    let gone = UserDeleted {
        user_id: NOBODY,
        ..UserDeleted::default()
    };
    presence.handle_event(1, Kind::UserDeleted(gone)).await;
    let report = |user_id, is_online, happened_at| pb::SessionChange {
        session: Some(pb::SetOnlineRequest {
            user_id,
            is_online,
            happened_at: Some(timestamp(happened_at)),
            ..pb::SetOnlineRequest::default()
        }),
        ..pb::SessionChange::default()
    };
    let (now, later) = (presence.now(), presence.now() + TimeDelta::seconds(1));
    let unknown = 3;
    let reports = vec![
        report(ASHA, OFFLINE, later),
        report(ASHA, ONLINE, now),
        report(NOBODY, ONLINE, now),
        report(RAVI, ONLINE, now),
        report(unknown, ONLINE, now),
    ];
    for _ in ["the first time", "again"] {
        presence
            .follow_sessions(reports.clone())
            .await
            .expect("made");
        for (user_id, is_online) in [(ASHA, false), (RAVI, true), (unknown, true)] {
            let status = presence.status(user_id).await.expect("known");
            assert_eq!((user_id, status.is_online), (user_id, is_online));
        }
        let deleted = presence.status(NOBODY).await;
        assert_eq!(deleted.expect_err("gone").0, Code::NotFound);
    }
    assert_eq!(presence.published_versions(RAVI).await, [1, 2]);
}

#[tokio::test]
async fn reports_of_logins_are_bounded_and_have_times() {
    let presence = Presence::start().await;
    let without_time = pb::SessionChange::default();
    for (changes, code) in [(1, "no_happened_at"), (1_001, "too_many_sessions")] {
        let refused = presence.follow_sessions(vec![without_time.clone(); changes]);
        let refused = refused.await.expect_err(code);
        assert_eq!(refused, refusal(Code::InvalidArgument, code));
    }
    presence.follow_sessions(vec![]).await.expect("nothing");
}

#[tokio::test]
async fn a_login_may_arrive_before_the_registration() {
    let presence = Presence::start().await;
    let login_at = presence.now();
    let online = presence.set_session(ASHA, ONLINE, login_at).await;
    let online = online.expect("made");
    assert_eq!(
        (online.username.as_str(), online.is_online),
        ("told by auth", true)
    );

    presence.handle_event(1, registered(ASHA, "asha")).await;
    presence.handle_event_at(0, login_at, logged_in(ASHA)).await;
    let asha = presence.status(ASHA).await.expect("known");
    assert_eq!((asha.username.as_str(), asha.is_online), ("asha", true));
    assert_eq!(
        presence.published_versions(ASHA).await,
        [1, 2],
        "online, named"
    );
}

#[tokio::test]
async fn a_login_that_arrives_after_its_logout_changes_nothing() {
    let presence = Presence::start_with_two_users().await;
    let login_at = presence.now();
    presence.advance_clock(60);
    let logout_at = presence.now();
    let logout = LoggedOut {
        user_id: ASHA,
        ..LoggedOut::default()
    };
    presence.handle_event(0, Kind::LoggedOut(logout)).await;
    let answered = presence.set_session(ASHA, ONLINE, login_at).await;
    assert!(!answered.expect("answered").is_online);
    presence.handle_event_at(0, login_at, logged_in(ASHA)).await;
    let asha = presence.status(ASHA).await.expect("known");
    assert!(!asha.is_online);
    assert_eq!(asha.last_seen, Some(timestamp(logout_at)));
}

#[tokio::test]
async fn an_older_username_does_not_replace_a_newer_one() {
    let presence = Presence::start_with_two_users().await;
    let renamed = |username: &str| {
        Kind::UserUpdated(UserUpdated {
            user_id: ASHA,
            username: username.to_owned(),
        })
    };
    presence.handle_event(3, renamed("third")).await;
    presence.handle_event(2, renamed("second")).await;
    assert_eq!(
        presence.status(ASHA).await.expect("known").username,
        "third"
    );
}

#[tokio::test]
async fn a_deleted_user_is_not_created_again() {
    let presence = Presence::start_with_two_users().await;
    let before = presence.now() - TimeDelta::seconds(1);
    presence
        .handle_event(
            2,
            Kind::UserDeleted(UserDeleted {
                user_id: ASHA,
                ..UserDeleted::default()
            }),
        )
        .await;
    presence.handle_event_at(0, before, logged_in(ASHA)).await;
    presence.begin_call(7, &[ASHA, RAVI]).await;
    let unknown_user = refusal(Code::NotFound, "user_not_found");
    assert_eq!(presence.status(ASHA).await.expect_err("gone"), unknown_user);
    assert_eq!(presence.heartbeat(ASHA).await, Ok(vec![ASHA]));
    let late = presence.set_session(ASHA, ONLINE, presence.now()).await;
    assert_eq!(late.expect_err("gone"), unknown_user);
    assert!(presence.status(RAVI).await.expect("known").is_busy);
}

#[tokio::test]
async fn an_update_changes_only_its_fields() {
    let presence = Presence::start_with_two_users().await;
    presence.advance_clock(5);
    let online = pb::UpdateStatusRequest {
        is_online: Some(true),
        ..pb::UpdateStatusRequest::default()
    };
    let asha = update(&presence, ASHA, online).await.expect("updated");
    assert!(asha.is_online && !asha.is_busy);
    assert_eq!(asha.last_seen, Some(timestamp(presence.now())));

    let busy = pb::UpdateStatusRequest {
        is_busy: Some(true),
        wait_time: Some(15),
        ..pb::UpdateStatusRequest::default()
    };
    let asha = update(&presence, ASHA, busy.clone())
        .await
        .expect("updated");
    assert!(asha.is_online && asha.is_busy);
    assert_eq!((asha.wait_time, asha.version), (Some(15), 3));
    update(&presence, ASHA, busy).await.expect("the same again");
    assert_eq!(presence.published_versions(ASHA).await, [1, 2, 3]);
}

#[tokio::test]
async fn calls_stay_paused_until_the_user_takes_them_again() {
    let presence = Presence::start_with_two_users().await;
    let accept_calls = |accepting_calls| pb::UpdateStatusRequest {
        accepting_calls: Some(accepting_calls),
        ..pb::UpdateStatusRequest::default()
    };
    let paused = update(&presence, ASHA, accept_calls(false)).await;
    assert!(!paused.expect("updated").takes_calls());
    assert_eq!(presence.published_versions(ASHA).await, [1, 2]);

    presence.heartbeat(ASHA).await.expect("known");
    presence.begin_call(7, &[ASHA, RAVI]).await;
    presence.end_call(7, &[ASHA, RAVI]).await;
    let login = presence.set_session(ASHA, ONLINE, presence.now()).await;
    assert!(!login.expect("logged in").takes_calls());
    presence.advance_clock(3_600);
    presence.sweeper.run_now().await.expect("swept");
    let asha = presence.status(ASHA).await.expect("known");
    assert!(!asha.takes_calls() && !asha.is_online, "{asha:?}");

    presence.heartbeat(ASHA).await.expect("known");
    let resumed = update(&presence, ASHA, accept_calls(true)).await;
    let resumed = resumed.expect("updated");
    assert!(resumed.takes_calls() && resumed.is_online, "{resumed:?}");
}

#[tokio::test]
async fn a_pause_of_calls_holds_until_the_user_takes_calls_again() {
    let presence = Presence::start_with_two_users().await;
    let paused = Kind::CallsPaused(CallsPaused {
        listener_id: ASHA,
        reason: "unanswered".to_owned(),
        count: 3,
    });
    let paused_at = presence.now();
    presence.handle_event(0, paused.clone()).await;
    assert!(!presence.status(ASHA).await.expect("known").takes_calls());
    presence.advance_clock(5);
    let accept = pb::UpdateStatusRequest {
        accepting_calls: Some(true),
        ..pb::UpdateStatusRequest::default()
    };
    let resumed = update(&presence, ASHA, accept).await.expect("updated");
    assert!(resumed.takes_calls());
    presence.handle_event_at(0, paused_at, paused).await;
    let asha = presence.status(ASHA).await.expect("known");
    assert!(asha.takes_calls(), "the pause is from before");
    assert_eq!(presence.published_versions(ASHA).await, [1, 2, 3]);
}

#[tokio::test]
async fn invalid_settings_are_refused() {
    let presence = Presence::start_with_two_users().await;
    let nothing = pb::UpdateStatusRequest::default();
    let set_wait_time = |wait_time| pb::UpdateStatusRequest {
        wait_time: Some(wait_time),
        ..pb::UpdateStatusRequest::default()
    };
    for (user_id, settings, code, name) in [
        (ASHA, nothing, Code::InvalidArgument, "no_field"),
        (
            ASHA,
            set_wait_time(-1),
            Code::InvalidArgument,
            "invalid_wait_time",
        ),
        (
            ASHA,
            set_wait_time(1_441),
            Code::InvalidArgument,
            "invalid_wait_time",
        ),
        (NOBODY, set_wait_time(5), Code::NotFound, "user_not_found"),
    ] {
        let refused = update(&presence, user_id, settings).await;
        assert_eq!(refused.expect_err(name), refusal(code, name));
    }
    assert_eq!(presence.published_versions(ASHA).await, [1]);
}

#[tokio::test]
async fn unknown_users_are_left_out_of_lists() {
    let presence = Presence::start_with_two_users().await;
    let load_statuses = async |user_ids: Vec<i64>| {
        let request = Request::new(pb::GetStatusesRequest { user_ids });
        answer(presence.api.get_statuses(request).await)
    };
    let found = load_statuses(vec![RAVI, NOBODY, ASHA])
        .await
        .expect("found")
        .statuses;
    let ids: Vec<i64> = found.iter().map(|status| status.user_id).collect();
    assert_eq!(ids, [ASHA, RAVI]);
    assert_eq!(
        load_statuses((1..=201).collect())
            .await
            .expect_err("too many"),
        refusal(Code::InvalidArgument, "too_many_users")
    );
}
