//! Section 4: online and busy statuses.

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser, UserRole};
use talktime_tests::{CallPair, ExpectAnswer, TestApp, connect_app, run_dev};

use crate::{assert_fields, assert_problem};

#[tokio::test]
async fn a_status_can_be_read_and_changed() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::Listener).await;
    let change = json!({"is_busy": true, "wait_time": 15});
    let changed = app
        .put("/users/me/status")
        .as_user(&person)
        .json(&change)
        .answer()
        .await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let fields = [
        "user_id",
        "is_online",
        "is_busy",
        "wait_time",
        "last_seen",
        "created_at",
        "updated_at",
    ];
    assert_fields(&changed.body, &fields);
    assert_eq!(
        (&changed.body["is_busy"], &changed.body["wait_time"]),
        (&json!(true), &json!(15))
    );
    let status = app.get("/users/me/status").as_user(&person).answer().await;
    // The event of the registration may arrive in between, and updates the row once more.
    let without_update = |mut body: Value| {
        body["updated_at"].take();
        body
    };
    assert_eq!(without_update(status.body), without_update(changed.body));
}

#[tokio::test]
async fn an_empty_change_and_an_invalid_wait_are_refused() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let put_status = |body| {
        app.put("/users/me/status")
            .as_user(&person)
            .json(&body)
            .answer()
    };
    assert_problem(&put_status(json!({})).await, 400, "no_field");
    assert_eq!(put_status(json!({"wait_time": -1})).await.status, 400);
    assert_eq!(put_status(json!({"is_online": "yes"})).await.status, 422);
}

#[tokio::test]
async fn a_heartbeat_is_a_sign_of_life() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    app.put("/users/me/status")
        .as_user(&person)
        .json(&json!({"is_online": false}))
        .answer()
        .await;
    let before = app.get("/users/me/status").as_user(&person).answer().await;
    assert_eq!(before.body["is_online"], false, "{before:?}");
    let beat = app
        .post("/users/me/heartbeat")
        .as_user(&person)
        .answer()
        .await;
    assert_eq!(
        (beat.status, &beat.body),
        (200, &json!({"message": "Heartbeat received"}))
    );
    let after = app.get("/users/me/status").as_user(&person).answer().await;
    assert_eq!(after.body["is_online"], true);
    assert!(after.body["last_seen"].as_str() > before.body["last_seen"].as_str());
}

#[tokio::test]
async fn the_presence_of_listeners_is_public_to_members() {
    let pair = CallPair::sign_up_without_coins().await;
    let listener_id = pair.listener.user_id;
    let one = pair
        .app
        .get(&format!("/users/{listener_id}/presence"))
        .as_user(&pair.caller)
        .answer()
        .await;
    assert_eq!(one.status, 200, "{one:?}");
    let fields = [
        "user_id",
        "username",
        "is_online",
        "is_busy",
        "wait_time",
        "last_seen",
    ];
    assert_fields(&one.body, &fields);
    assert_eq!(one.body["username"], pair.listener.username);

    let path = format!(
        "/users/presence?user_ids={listener_id},{},999999999",
        pair.caller.user_id
    );
    let many = pair.app.get(&path).as_user(&pair.caller).answer().await;
    assert_eq!(
        many.body.as_array().map(Vec::len),
        Some(2),
        "unknown ids are left out: {many:?}"
    );

    let unknown = pair
        .app
        .get("/users/999999999/presence")
        .as_user(&pair.caller)
        .answer()
        .await;
    assert_eq!(unknown.status, 404, "{unknown:?}");
    let ids: Vec<String> = (1..=51).map(|n| n.to_string()).collect();
    let too_many = format!("/users/presence?user_ids={}", ids.join(","));
    assert_eq!(
        pair.app
            .get(&too_many)
            .as_user(&pair.caller)
            .answer()
            .await
            .status,
        400
    );
    assert_eq!(
        pair.app
            .get("/users/presence?user_ids=a")
            .as_user(&pair.caller)
            .answer()
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn nobody_clears_the_busy_flag_of_a_live_call() {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    let body = json!({"is_busy": false});
    let status = pair
        .app
        .put("/users/me/status")
        .as_user(&pair.listener)
        .json(&body)
        .answer()
        .await;
    assert_eq!(status.body["is_busy"], true, "{status:?}");
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
}

#[tokio::test]
async fn an_admin_can_run_the_cleanup_of_presence() {
    let pair = CallPair::sign_up().await;
    let admin = pair.app.sign_up(UserRole::User).await;
    let clean_up = async |person| {
        let request = pair.app.post("/admin/cleanup-presence").as_user(person);
        request.answer().await
    };
    assert_problem(&clean_up(&admin).await, 403, "admin_only");
    run_dev(&["grant-admin", &admin.phone]).await;
    // One busy flag was set by the user, and one belongs to a live call.
    let busy = json!({"is_busy": true});
    let put = pair.app.put("/users/me/status").as_user(&admin).json(&busy);
    assert_eq!(put.answer().await.body["is_busy"], true);
    let call_id = pair.start_call().await;
    let is_busy = async |person| {
        let status = pair
            .app
            .get("/users/me/status")
            .as_user(person)
            .answer()
            .await;
        status.body["is_busy"] == true
    };
    assert!(is_busy(&pair.listener).await);

    let cleaned = clean_up(&admin).await;
    assert_eq!(cleaned.status, 200, "{cleaned:?}");
    assert!(cleaned.body["message"].is_string(), "{cleaned:?}");
    for count in ["users_marked_offline", "busy_status_cleared"] {
        assert!(cleaned.body[count].is_u64(), "{cleaned:?}");
    }
    assert!(!is_busy(&admin).await);
    assert!(is_busy(&pair.listener).await, "the call is live");
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
}

async fn read_status(app: &TestApp, viewer: &AppUser, user_id: i64) -> ApiAnswer {
    let path = format!("/users/{user_id}/presence");
    app.get(&path).as_user(viewer).answer().await
}

/// Asserts that a viewer finds the status of a user, or does not, alone and among others.
async fn assert_sees_status(app: &TestApp, viewer: &AppUser, user_id: i64, is_seen: bool) {
    let alone = read_status(app, viewer, user_id).await;
    if is_seen {
        assert_eq!(alone.status, 200, "{alone:?}");
    } else {
        assert_problem(&alone, 404, "user_not_found");
    }
    let path = format!("/users/presence?user_ids={},{user_id}", viewer.user_id);
    let both = app.get(&path).as_user(viewer).answer().await;
    let both = both.body.as_array().expect("statuses").clone();
    let expected = 1 + usize::from(is_seen);
    assert_eq!(both.len(), expected, "{both:?}");
}

#[tokio::test]
async fn the_status_of_a_caller_is_for_those_whom_they_have_called() {
    let pair = CallPair::sign_up().await;
    let stranger = pair.app.sign_up(UserRole::Listener).await;
    let caller_id = pair.caller.user_id;
    for viewer in [&pair.listener, &stranger] {
        assert_sees_status(&pair.app, viewer, caller_id, false).await;
    }
    let call_id = pair.start_call().await;
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
    assert_sees_status(&pair.app, &pair.listener, caller_id, true).await;
    assert_sees_status(&pair.app, &stranger, caller_id, false).await;
}

#[tokio::test]
async fn a_block_hides_statuses_and_favourites_in_both_directions() {
    let pair = CallPair::sign_up().await;
    let (app, caller, listener) = (&pair.app, &pair.caller, &pair.listener);
    let call_id = pair.start_call().await;
    assert_eq!(pair.end_call(caller, call_id).await.status, 200);
    let favorite = json!({"listener_id": listener.user_id});
    let add = || {
        let add = app.post("/favorites/add").as_user(caller);
        add.json(&favorite).answer()
    };
    assert_eq!(add().await.status, 200);
    let check = format!("/favorites/check/{}", listener.user_id);
    for (blocker, blocked_id) in [(listener, caller.user_id), (caller, listener.user_id)] {
        let blocked = json!({"blocked_id": blocked_id});
        let block = app.post("/block").as_user(blocker).json(&blocked);
        assert_eq!(block.answer().await.status, 200);
        assert_sees_status(app, caller, listener.user_id, false).await;
        assert_sees_status(app, listener, caller.user_id, false).await;
        let checked = app.get(&check).as_user(caller).answer().await;
        assert_problem(&checked, 404, "listener_not_found");
        assert_problem(&add().await, 404, "listener_not_found");
        let unblock = app.delete("/block").as_user(blocker).json(&blocked);
        assert_eq!(unblock.answer().await.status, 200);
        assert_sees_status(app, caller, listener.user_id, true).await;
        assert_sees_status(app, listener, caller.user_id, true).await;
        let checked = app.get(&check).as_user(caller).answer().await;
        assert_eq!(checked.body["is_favorited"], true, "{checked:?}");
    }
}
