//! Section 3: blocks.

use futures::future::join_all;
use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser, UserRole};
use talktime_tests::{CallPair, ExpectAnswer, TestApp, connect_app, wait_for};

use crate::{assert_fields, assert_problem};

const NOBODY: i64 = 9_007_199_254_740_991;

async fn block(app: &TestApp, person: &AppUser, body: Value) -> ApiAnswer {
    app.post("/block")
        .as_user(person)
        .json(&body)
        .answer()
        .await
}

async fn unblock(app: &TestApp, person: &AppUser, blocked_id: i64) -> ApiAnswer {
    let request = app.delete("/block").as_user(person);
    request
        .json(&json!({"blocked_id": blocked_id}))
        .answer()
        .await
}

async fn check(app: &TestApp, person: &AppUser, user_id: i64) -> ApiAnswer {
    let path = format!("/block/check/{user_id}");
    app.get(&path).as_user(person).answer().await
}

async fn list_blocked(app: &TestApp, person: &AppUser, query: &str) -> Value {
    let listed = app.get(&format!("/blocked{query}")).as_user(person);
    let listed = listed.answer().await;
    assert_eq!(listed.status, 200, "{listed:?}");
    listed.body
}

async fn sees(app: &TestApp, viewer: &AppUser, listener: &AppUser) -> bool {
    let feed = app.get("/feed/listeners?per_page=100&sort_by=recent");
    let feed = feed.as_user(viewer).answer().await;
    assert_eq!(feed.status, 200, "{feed:?}");
    let listeners = feed.body["listeners"].as_array().expect("a list");
    listeners
        .iter()
        .any(|each| each["user_id"] == listener.user_id)
}

#[track_caller]
fn assert_block(answer: &ApiAnswer, blocked_id: i64, action_type: &str, is_blocked: bool) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["success"], true);
    assert!(answer.body["message"].is_string());
    assert_eq!(answer.body["blocked_id"], blocked_id);
    assert_eq!(answer.body["action_type"], action_type);
    assert_eq!(answer.body["is_blocked"], is_blocked);
}

#[track_caller]
fn assert_blocked(answer: &ApiAnswer, blocked_id: i64, is_blocked: bool) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["success"], true);
    assert!(answer.body["message"].is_string());
    assert_eq!(answer.body["blocked_id"], blocked_id);
    assert_eq!(answer.body["is_blocked"], is_blocked);
}

#[tokio::test]
async fn blocking_and_unblocking_are_idempotent() {
    let app = connect_app().await;
    let (one, other) = (
        app.sign_up(UserRole::User).await,
        app.sign_up(UserRole::User).await,
    );
    let id = other.user_id;
    assert_blocked(&check(&app, &one, id).await, id, false);
    for _ in 0..2 {
        let answer = block(&app, &one, json!({"blocked_id": id})).await;
        assert_block(&answer, id, "block", true);
    }
    assert_blocked(&check(&app, &one, id).await, id, true);
    // The answer does not reveal whether the user is blocked by the other.
    assert_blocked(&check(&app, &other, one.user_id).await, one.user_id, false);
    for _ in 0..2 {
        assert_block(&unblock(&app, &one, id).await, id, "unblock", false);
    }
    assert_blocked(&check(&app, &one, id).await, id, false);
}

#[tokio::test]
async fn a_report_contains_its_reason() {
    let app = connect_app().await;
    let (one, other) = (
        app.sign_up(UserRole::User).await,
        app.sign_up(UserRole::User).await,
    );
    let report = json!({
        "blocked_id": other.user_id, "action_type": "report", "reason": "rude",
    });
    block(&app, &one, json!({"blocked_id": other.user_id})).await;
    let reported = block(&app, &one, report).await;
    assert_block(&reported, other.user_id, "report", true);
    let page = list_blocked(&app, &one, "").await;
    assert_eq!(page["total_count"], 1);
    assert_fields(
        &page,
        &["page", "per_page", "has_next", "has_previous", "total"],
    );
    let entry = &page["blocked_users"][0];
    assert_fields(
        entry,
        &[
            "user_id",
            "username",
            "sex",
            "bio",
            "profile_image_url",
            "action_type",
            "reason",
            "blocked_at",
        ],
    );
    assert_eq!(entry["user_id"], other.user_id);
    assert_eq!(entry["username"], other.username);
    assert_eq!(
        (&entry["action_type"], &entry["reason"]),
        (&"report".into(), &"rude".into())
    );
}

#[tokio::test]
async fn a_block_holds_at_once_and_in_both_directions() {
    let pair = CallPair::sign_up().await;
    let (app, caller, listener) = (&pair.app, &pair.caller, &pair.listener);
    let add = app.post("/favorites/add").as_user(caller);
    let add = add.json(&json!({"listener_id": listener.user_id}));
    assert_eq!(add.answer().await.status, 200);
    wait_for("the listener to be seen", || async {
        sees(app, caller, listener).await.then_some(())
    })
    .await;

    for (blocker, other) in [(listener, caller), (caller, listener)] {
        let blocking = block(app, blocker, json!({"blocked_id": other.user_id})).await;
        assert_eq!(blocking.status, 200, "{blocking:?}");
        assert!(!sees(app, caller, listener).await);
        let favorites = app.get("/favorites").as_user(caller).answer().await;
        assert_eq!(favorites.body["total_count"], 0, "{favorites:?}");
        assert_eq!(pair.request_call().await.status, 403);
        unblock(app, blocker, other.user_id).await;
        assert!(sees(app, caller, listener).await);
        let favorites = app.get("/favorites").as_user(caller).answer().await;
        assert_eq!(favorites.body["total_count"], 1, "{favorites:?}");
    }
}

#[tokio::test]
async fn only_other_existing_users_can_be_blocked() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    for unknown_id in [NOBODY, 0, -1] {
        for answer in [
            block(&app, &person, json!({"blocked_id": unknown_id})).await,
            unblock(&app, &person, unknown_id).await,
            check(&app, &person, unknown_id).await,
        ] {
            assert_problem(&answer, 404, "user_not_found");
        }
    }
    let own = block(&app, &person, json!({"blocked_id": person.user_id})).await;
    assert_problem(&own, 400, "block_of_oneself");
}

#[tokio::test]
async fn invalid_requests_are_refused_and_a_token_is_required() {
    let app = connect_app().await;
    let (one, other) = (
        app.sign_up(UserRole::User).await,
        app.sign_up(UserRole::User).await,
    );
    let id = other.user_id;
    for (body, code) in [
        (
            json!({"blocked_id": id, "action_type": "mute"}),
            "invalid_action_type",
        ),
        (
            json!({"blocked_id": id, "reason": "x".repeat(501)}),
            "invalid_reason",
        ),
        (
            json!({"blocked_id": id, "reason": "\u{0}"}),
            "invalid_reason",
        ),
    ] {
        assert_problem(&block(&app, &one, body).await, 400, code);
    }
    for body in [json!({}), json!({"blocked_id": "7"}), json!([])] {
        assert_problem(&block(&app, &one, body).await, 422, "invalid_body");
    }
    let neither = app.delete("/block").as_user(&one).answer().await;
    assert_problem(&neither, 422, "invalid_body");
    let in_query = app.delete(&format!("/block?blocked_id={id}")).as_user(&one);
    assert_block(&in_query.answer().await, id, "unblock", false);
    for request in [
        app.post("/block"),
        app.delete("/block"),
        app.get("/blocked"),
        app.get("/block/check/1"),
    ] {
        assert_problem(&request.answer().await, 401, "missing_token");
    }
}

#[tokio::test]
async fn twenty_concurrent_blocks_create_one() {
    let app = connect_app().await;
    let (one, other) = (
        app.sign_up(UserRole::User).await,
        app.sign_up(UserRole::User).await,
    );
    let id = other.user_id;
    let body = || json!({"blocked_id": id});
    for answer in join_all((0..20).map(|_| block(&app, &one, body()))).await {
        assert_block(&answer, id, "block", true);
    }
    assert_eq!(list_blocked(&app, &one, "").await["total_count"], 1);
    for answer in join_all((0..20).map(|_| unblock(&app, &one, id))).await {
        assert_block(&answer, id, "unblock", false);
    }
    assert_eq!(list_blocked(&app, &one, "").await["total_count"], 0);
    let paged = app
        .get("/blocked?per_page=101")
        .as_user(&one)
        .answer()
        .await;
    assert_problem(&paged, 400, "invalid_per_page");
}
