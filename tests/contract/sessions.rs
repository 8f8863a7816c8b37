//! Section 2: where one is logged in, and the end of it.

use serde_json::{Value, json};
use talktime_client::{Answer, Person, Role};
use talktime_tests::{Answered, TestApp, app, wait_for};

use crate::{assert_fields, assert_problem};

async fn sessions(app: &TestApp, person: &Person) -> Vec<Value> {
    let listed = app.get("/auth/sessions").of(person).answer().await;
    assert_eq!(listed.status, 200, "{listed:?}");
    listed.body["sessions"].as_array().expect("a list").clone()
}

async fn refresh(app: &TestApp, person: &Person) -> Answer {
    let ask = app.post("/auth/refresh");
    ask.json(&json!({"refresh_token": person.refresh_token}))
        .answer()
        .await
}

async fn assert_in(app: &TestApp, person: &Person) {
    let me = app.get("/users/me").of(person).answer().await;
    assert_eq!(me.status, 200, "{me:?}");
}

async fn assert_out(app: &TestApp, person: &Person) {
    let me = app.get("/users/me").of(person).answer().await;
    assert_problem(&me, 401, "token_revoked");
    assert_problem(&refresh(app, person).await, 401, "invalid_refresh_token");
}

/// Logs in once more, on a device of this name.
async fn log_in(app: &TestApp, person: &Person, device: &str) -> Person {
    let sent = app.post("/auth/request_otp");
    let sent = sent.json(&json!({"phone": person.phone})).answer().await;
    assert_eq!(sent.status, 200, "{sent:?}");
    let otp = app.otp_of(&person.phone).await;
    let ask = app.post("/auth/verify").header("user-agent", device);
    let ask = ask.json(&json!({"phone": person.phone, "otp": otp}));
    let verified = ask.answer().await;
    assert_eq!(verified.status, 200, "{verified:?}");
    let token = |name: &str| verified.body[name].as_str().expect("a token").to_owned();
    Person {
        access_token: token("access_token"),
        refresh_token: token("refresh_token"),
        ..person.clone()
    }
}

#[tokio::test]
async fn sessions_are_listed_with_their_devices() {
    let app = app().await;
    let here = app.sign_up(Role::User).await;
    log_in(&app, &here, "Pixel 9").await;
    let listed = sessions(&app, &here).await;
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
async fn a_lost_phone_is_logged_out_from_elsewhere() {
    let app = app().await;
    let here = app.sign_up(Role::User).await;
    let lost = log_in(&app, &here, "lost").await;
    let listed = sessions(&app, &here).await;
    let id = listed[0]["session_id"].as_str().expect("an id");
    let end = || app.delete(&format!("/auth/sessions/{id}"));
    assert_problem(&end().answer().await, 401, "missing_token");
    let stranger = app.sign_up(Role::User).await;
    let others = end().of(&stranger).answer().await;
    assert_problem(&others, 404, "session_not_found");
    assert_in(&app, &lost).await;

    let ended = end().of(&here).answer().await;
    assert_eq!(
        (ended.status, &ended.body),
        (200, &json!({"message": "Session ended"}))
    );
    assert_out(&app, &lost).await;
    assert_in(&app, &here).await;
    let again = end().of(&here).answer().await;
    assert_problem(&again, 404, "session_not_found");
    for nonsense in ["nonsense", "%ff", "7"] {
        let path = format!("/auth/sessions/{nonsense}");
        let refused = app.delete(&path).of(&here).answer().await;
        assert_problem(&refused, 404, "session_not_found");
    }
    assert_eq!(refresh(&app, &here).await.status, 200);
}

#[tokio::test]
async fn who_ends_the_last_of_their_sessions_is_offline() {
    let app = app().await;
    let here = app.sign_up(Role::User).await;
    let there = log_in(&app, &here, "there").await;
    let stranger = app.sign_up(Role::User).await;
    let is_online = || async {
        let path = format!("/users/{}/presence", here.user_id);
        let status = app.get(&path).of(&stranger).answer().await;
        assert_eq!(status.status, 200, "{status:?}");
        status.body["is_online"] == true
    };
    let end_current = async |person: &Person| {
        let listed = sessions(&app, person).await;
        let current = listed.iter().find(|session| session["is_current"] == true);
        let id = &current.expect("the one that asks")["session_id"];
        let path = format!("/auth/sessions/{}", id.as_str().expect("an id"));
        let ended = app.delete(&path).of(person).answer().await;
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
async fn everywhere_is_every_token_and_a_new_login_holds() {
    let app = app().await;
    let here = app.sign_up(Role::User).await;
    let there = log_in(&app, &here, "there").await;
    let refused = app.post("/auth/logout_all").answer().await;
    assert_problem(&refused, 401, "missing_token");
    let ended = app.post("/auth/logout_all").of(&here).answer().await;
    assert_eq!(
        (ended.status, &ended.body),
        (200, &json!({"message": "Logged out everywhere"}))
    );
    assert_out(&app, &here).await;
    assert_out(&app, &there).await;
    let back = log_in(&app, &here, "back").await;
    assert_in(&app, &back).await;
    assert_eq!(sessions(&app, &back).await.len(), 1);
}
