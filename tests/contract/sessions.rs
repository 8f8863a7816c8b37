//! Section 2: sessions and their end.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser, UserRole};
use talktime_tests::replica::start_gateway;
use talktime_tests::{ExpectAnswer, TestApp, WAIT_MAX, connect_app, wait_for};

use crate::sockets::open;
use crate::{assert_fields, assert_problem};

async fn list_sessions(app: &TestApp, person: &AppUser) -> Vec<Value> {
    let listed = app.get("/auth/sessions").as_user(person).answer().await;
    assert_eq!(listed.status, 200, "{listed:?}");
    listed.body["sessions"].as_array().expect("a list").clone()
}

async fn refresh(app: &TestApp, person: &AppUser) -> ApiAnswer {
    let request = app.post("/auth/refresh");
    request
        .json(&json!({"refresh_token": person.refresh_token}))
        .answer()
        .await
}

async fn assert_logged_in(app: &TestApp, person: &AppUser) {
    let me = app.get("/users/me").as_user(person).answer().await;
    assert_eq!(me.status, 200, "{me:?}");
}

async fn assert_logged_out(app: &TestApp, person: &AppUser) {
    let me = app.get("/users/me").as_user(person).answer().await;
    assert_problem(&me, 401, "token_revoked");
    assert_problem(&refresh(app, person).await, 401, "invalid_refresh_token");
}

/// Logs in on a device with this name.
async fn log_in(app: &TestApp, person: &AppUser, device: &str) -> AppUser {
    let sent = app.post("/auth/request_otp");
    let sent = sent.json(&json!({"phone": person.phone})).answer().await;
    assert_eq!(sent.status, 200, "{sent:?}");
    let otp = app.read_otp(&person.phone).await;
    let request = app.post("/auth/verify").header("user-agent", device);
    let request = request.json(&json!({"phone": person.phone, "otp": otp}));
    let verified = request.answer().await;
    assert_eq!(verified.status, 200, "{verified:?}");
    let token = |name: &str| verified.body[name].as_str().expect("a token").to_owned();
    AppUser {
        access_token: token("access_token"),
        refresh_token: token("refresh_token"),
        ..person.clone()
    }
}

#[tokio::test]
async fn sessions_are_listed_with_their_devices() {
    let app = connect_app().await;
    let here = app.sign_up(UserRole::User).await;
    log_in(&app, &here, "Pixel 9").await;
    let listed = list_sessions(&app, &here).await;
    assert_eq!(listed.len(), 2, "{listed:?}");
    for session in &listed {
        assert_fields(
            session,
            &[
                "session_id",
                "device",
                "created_at",
                "last_used_at",
                "is_current",
            ],
        );
    }
    assert_eq!(
        (&listed[0]["device"], &listed[0]["is_current"]),
        (&"Pixel 9".into(), &false.into())
    );
    assert_eq!(listed[1]["is_current"], true);
    let refused = app.get("/auth/sessions").answer().await;
    assert_problem(&refused, 401, "missing_token");
}

#[tokio::test]
async fn logins_of_one_moment_open_sessions_of_their_own_users() {
    let app = connect_app().await;
    let mut people = Vec::new();
    for _ in 0..12 {
        let person = app.sign_up(UserRole::User).await;
        let logged_out = app.post("/auth/logout").as_user(&person).answer().await;
        assert_eq!(logged_out.status, 200, "{logged_out:?}");
        people.push(person);
    }
    let logins = people.iter().map(|person| log_in(&app, person, "Pixel 9"));
    for person in join_all(logins).await {
        let me = app.get("/users/me").as_user(&person).answer().await;
        assert_eq!(me.body["user_id"], person.user_id, "{me:?}");
        wait_for("a login in presence", || async {
            let status = app.load_status(&person).await.expect("answered");
            (status.body["is_online"] == true).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_session_can_be_ended_from_another_device() {
    let app = connect_app().await;
    let here = app.sign_up(UserRole::User).await;
    let lost = log_in(&app, &here, "lost").await;
    let listed = list_sessions(&app, &here).await;
    let id = listed[0]["session_id"].as_str().expect("an id");
    let end_session = || app.delete(&format!("/auth/sessions/{id}"));
    assert_problem(&end_session().answer().await, 401, "missing_token");
    let stranger = app.sign_up(UserRole::User).await;
    let others = end_session().as_user(&stranger).answer().await;
    assert_problem(&others, 404, "session_not_found");
    assert_logged_in(&app, &lost).await;

    let ended = end_session().as_user(&here).answer().await;
    assert_eq!(
        (ended.status, &ended.body),
        (200, &json!({"message": "Session ended"}))
    );
    assert_logged_out(&app, &lost).await;
    assert_logged_in(&app, &here).await;
    let again = end_session().as_user(&here).answer().await;
    assert_problem(&again, 404, "session_not_found");
    for invalid_id in ["nonsense", "%ff", "7"] {
        let path = format!("/auth/sessions/{invalid_id}");
        let refused = app.delete(&path).as_user(&here).answer().await;
        assert_problem(&refused, 404, "session_not_found");
    }
    assert_eq!(refresh(&app, &here).await.status, 200);
}

#[tokio::test]
async fn a_listener_who_ends_their_last_session_is_offline() {
    let app = connect_app().await;
    let here = app.sign_up(UserRole::Listener).await;
    let there = log_in(&app, &here, "there").await;
    let stranger = app.sign_up(UserRole::User).await;
    let is_online = || async {
        let path = format!("/users/{}/presence", here.user_id);
        let status = app.get(&path).as_user(&stranger).answer().await;
        assert_eq!(status.status, 200, "{status:?}");
        status.body["is_online"] == true
    };
    let end_current = async |person: &AppUser| {
        let listed = list_sessions(&app, person).await;
        let current = listed.iter().find(|session| session["is_current"] == true);
        let id = &current.expect("the requester")["session_id"];
        let path = format!("/auth/sessions/{}", id.as_str().expect("an id"));
        let ended = app.delete(&path).as_user(person).answer().await;
        assert_eq!(ended.status, 200, "{ended:?}");
    };
    end_current(&here).await;
    assert!(is_online().await, "they are logged in there");
    end_current(&there).await;
    wait_for("them to be offline", || async {
        (!is_online().await).then_some(())
    })
    .await;
}

#[tokio::test]
async fn logging_out_everywhere_ends_every_token_and_allows_a_new_login() {
    let app = connect_app().await;
    let here = app.sign_up(UserRole::User).await;
    let there = log_in(&app, &here, "there").await;
    let refused = app.post("/auth/logout_all").answer().await;
    assert_problem(&refused, 401, "missing_token");
    let ended = app.post("/auth/logout_all").as_user(&here).answer().await;
    assert_eq!(
        (ended.status, &ended.body),
        (200, &json!({"message": "Logged out everywhere"}))
    );
    assert_logged_out(&app, &here).await;
    assert_logged_out(&app, &there).await;
    let back = log_in(&app, &here, "back").await;
    assert_logged_in(&app, &back).await;
    assert_eq!(list_sessions(&app, &back).await.len(), 1);
}

#[tokio::test]
async fn a_logout_ends_every_token_and_socket_of_its_session() {
    let app = connect_app().await;
    let replica = start_gateway(&[]).await;
    let before = app.sign_up(UserRole::Listener).await;
    let stranger = app.sign_up(UserRole::User).await;
    let (mut local_socket, _) = open(&app, "/ws/presence", &before).await;
    let (remote_socket, _) = open(&replica.app, "/ws/calls", &before).await;
    let refreshed = refresh(&app, &before).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    let token = |name: &str| refreshed.body[name].as_str().expect("a token").to_owned();
    let after = AppUser {
        access_token: token("access_token"),
        refresh_token: token("refresh_token"),
        ..before.clone()
    };
    assert_logged_in(&app, &before).await;

    let left = app.post("/auth/logout").as_user(&after).answer().await;
    assert_eq!(left.status, 200, "{left:?}");
    // The old socket may still send pending messages.
    let _ = local_socket.send(&json!({"type": "ping"})).await;

    for person in [&before, &after] {
        let me = app.get("/users/me").as_user(person).answer().await;
        assert_problem(&me, 401, "token_revoked");
        let beat = app
            .post("/users/me/heartbeat")
            .as_user(person)
            .answer()
            .await;
        assert_problem(&beat, 401, "token_revoked");
    }
    for mut socket in [local_socket, remote_socket] {
        let closed = socket.wait_until_closed(WAIT_MAX).await.expect("closed");
        assert_eq!(closed.code, 4401, "{closed:?}");
    }
    wait_for("the other gateway to refuse the old token", || async {
        let me = replica.app.get("/users/me").as_user(&before).answer().await;
        (me.status == 401).then_some(())
    })
    .await;
    let path = format!("/users/{}/presence", before.user_id);
    let seen = app.get(&path).as_user(&stranger).answer().await;
    assert_eq!(seen.body["is_online"], false, "{seen:?}");
}

/// Sends heartbeats of one session until its token is refused, like many phones at once.
async fn send_heartbeats_until_refused(app: &TestApp, person: &AppUser) {
    loop {
        let beat = app
            .post("/users/me/heartbeat")
            .as_user(person)
            .answer()
            .await;
        if beat.status == 401 {
            return;
        }
    }
}

#[tokio::test]
async fn heartbeats_that_race_a_logout_leave_nobody_online() {
    let app = connect_app().await;
    let stranger = app.sign_up(UserRole::User).await;
    let mut people = Vec::new();
    for _ in 0..20 {
        people.push(app.sign_up(UserRole::Listener).await);
    }
    join_all(people.iter().map(|person| async {
        let beats = join_all((0..4).map(|_| send_heartbeats_until_refused(&app, person)));
        let logout = async {
            // The logout happens between heartbeats.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let left = app.post("/auth/logout").as_user(person).answer().await;
            assert_eq!(left.status, 200, "{left:?}");
        };
        tokio::join!(beats, logout);
    }))
    .await;

    // Every heartbeat has been answered, so none is under way.
    let ids: Vec<String> = people
        .iter()
        .map(|person| person.user_id.to_string())
        .collect();
    let path = format!("/users/presence?user_ids={}", ids.join(","));
    let seen = app.get(&path).as_user(&stranger).answer().await;
    let seen = seen.body.as_array().expect("statuses").clone();
    assert_eq!(seen.len(), people.len());
    let online = seen.iter().filter(|status| status["is_online"] == true);
    assert_eq!(online.count(), 0, "{seen:?}");
    let feed = app.get("/feed/listeners?online_only=true&per_page=100&sort_by=recent");
    let feed = feed.as_user(&stranger).answer().await;
    let listed = feed.body["listeners"].as_array().expect("listeners");
    let is_logged_out_user =
        |one: &&Value| people.iter().any(|person| one["user_id"] == person.user_id);
    assert_eq!(
        listed.iter().filter(is_logged_out_user).count(),
        0,
        "{listed:?}"
    );
}
