//! Section 3: favourites.

use futures::future::join_all;
use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser, UserRole};
use talktime_tests::{CallPair, ExpectAnswer, TestApp, connect_app, wait_for};

use crate::{assert_fields, assert_problem};

const NOBODY: i64 = 9_007_199_254_740_991;

async fn add(app: &TestApp, person: &AppUser, listener_id: i64) -> ApiAnswer {
    let request = app.post("/favorites/add").as_user(person);
    request
        .json(&json!({"listener_id": listener_id}))
        .answer()
        .await
}

async fn remove(app: &TestApp, person: &AppUser, listener_id: i64) -> ApiAnswer {
    let request = app.delete("/favorites/remove").as_user(person);
    request
        .json(&json!({"listener_id": listener_id}))
        .answer()
        .await
}

async fn check(app: &TestApp, person: &AppUser, listener_id: i64) -> ApiAnswer {
    let path = format!("/favorites/check/{listener_id}");
    app.get(&path).as_user(person).answer().await
}

async fn list(app: &TestApp, person: &AppUser, query: &str) -> Value {
    let listed = app.get(&format!("/favorites{query}")).as_user(person);
    let listed = listed.answer().await;
    assert_eq!(listed.status, 200, "{listed:?}");
    listed.body
}

#[track_caller]
fn assert_favorited(answer: &ApiAnswer, listener_id: i64, is_favorited: bool) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["success"], true);
    assert!(answer.body["message"].is_string());
    assert_eq!(answer.body["listener_id"], listener_id);
    assert_eq!(answer.body["is_favorited"], is_favorited);
}

#[tokio::test]
async fn adding_and_removing_a_favourite_are_idempotent() {
    let CallPair {
        app,
        caller,
        listener,
    } = CallPair::sign_up_without_coins().await;
    let id = listener.user_id;
    assert_favorited(&check(&app, &caller, id).await, id, false);
    for _ in 0..2 {
        assert_favorited(&add(&app, &caller, id).await, id, true);
    }
    assert_favorited(&check(&app, &caller, id).await, id, true);
    for _ in 0..2 {
        assert_favorited(&remove(&app, &caller, id).await, id, false);
    }
    assert_favorited(&check(&app, &caller, id).await, id, false);
}

#[tokio::test]
async fn the_listener_may_be_named_in_the_query() {
    let CallPair {
        app,
        caller,
        listener,
    } = CallPair::sign_up_without_coins().await;
    add(&app, &caller, listener.user_id).await;
    let path = format!("/favorites/remove?listener_id={}", listener.user_id);
    let removed = app.delete(&path).as_user(&caller).answer().await;
    assert_favorited(&removed, listener.user_id, false);
    let neither = app
        .delete("/favorites/remove")
        .as_user(&caller)
        .answer()
        .await;
    assert_problem(&neither, 422, "invalid_body");
    let wrong = app
        .delete("/favorites/remove?listener_id=x")
        .as_user(&caller);
    assert_problem(&wrong.answer().await, 400, "invalid_query");
}

#[tokio::test]
async fn only_another_listener_can_be_a_favourite() {
    let CallPair {
        app,
        caller,
        listener,
    } = CallPair::sign_up_without_coins().await;
    let user = app.sign_up(UserRole::User).await;
    for wrong_id in [NOBODY, 0, -1, user.user_id] {
        for answer in [
            add(&app, &caller, wrong_id).await,
            remove(&app, &caller, wrong_id).await,
            check(&app, &caller, wrong_id).await,
        ] {
            assert_problem(&answer, 404, "listener_not_found");
        }
    }
    let own = add(&app, &listener, listener.user_id).await;
    assert_problem(&own, 400, "favorite_of_oneself");
    let named = app
        .get("/favorites/check/asha")
        .as_user(&caller)
        .answer()
        .await;
    assert_problem(&named, 404, "not_found");
}

#[tokio::test]
async fn invalid_requests_are_refused_and_a_token_is_required() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    for body in [
        json!({}),
        json!({"listener_id": "7"}),
        json!({"listener_id": 1.5}),
    ] {
        let added = app.post("/favorites/add").as_user(&person).json(&body);
        let added = added.answer().await;
        assert_problem(&added, 422, "invalid_body");
        assert_eq!(added.body["errors"][0]["field"], "listener_id");
    }
    for request in [
        app.post("/favorites/add"),
        app.delete("/favorites/remove"),
        app.get("/favorites"),
        app.get("/favorites/check/1"),
    ] {
        assert_problem(&request.answer().await, 401, "missing_token");
    }
}

#[tokio::test]
async fn the_list_has_every_field_and_the_current_status() {
    let CallPair {
        app,
        caller,
        listener,
    } = CallPair::sign_up_without_coins().await;
    add(&app, &caller, listener.user_id).await;
    let page = wait_for("the favourite to be online", || async {
        let page = list(&app, &caller, "").await;
        (page["online_count"] == 1).then_some(page)
    })
    .await;
    assert_eq!(
        (&page["total_count"], &page["available_count"]),
        (&1.into(), &1.into())
    );
    assert_fields(
        &page,
        &["page", "per_page", "has_next", "has_previous", "total"],
    );
    let favorite = &page["favorites"][0];
    assert_fields(
        favorite,
        &[
            "user_id",
            "username",
            "sex",
            "bio",
            "interests",
            "profile_image_url",
            "preferred_language",
            "rating",
            "is_online",
            "is_busy",
            "wait_time",
            "last_seen",
            "is_available",
            "favorited_at",
        ],
    );
    assert_eq!(favorite["user_id"], listener.user_id);
    assert_eq!(favorite["username"], listener.username);
    assert_eq!(favorite["is_available"], true);
}

#[tokio::test]
async fn the_newest_favourite_comes_first_page_by_page() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let mut newest_first = Vec::new();
    for _ in 0..3 {
        let listener = app.sign_up(UserRole::Listener).await;
        add(&app, &person, listener.user_id).await;
        newest_first.insert(0, listener.user_id);
    }
    let mut seen = Vec::new();
    for (page, has_previous, has_next) in [(1, false, true), (2, true, true), (3, true, false)] {
        let body = list(&app, &person, &format!("?page={page}&per_page=1")).await;
        assert_eq!(body["total_count"], 3);
        assert_eq!(
            (&body["has_previous"], &body["has_next"]),
            (&has_previous.into(), &has_next.into()),
            "{body}"
        );
        seen.push(body["favorites"][0]["user_id"].as_i64().expect("an id"));
    }
    assert_eq!(seen, newest_first);
    for wrong in ["?page=0", "?per_page=0", "?per_page=101", "?page=x"] {
        let answer = app.get(&format!("/favorites{wrong}")).as_user(&person);
        assert_eq!(answer.answer().await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn twenty_concurrent_additions_create_one_favourite() {
    let CallPair {
        app,
        caller,
        listener,
    } = CallPair::sign_up_without_coins().await;
    let id = listener.user_id;
    for answer in join_all((0..20).map(|_| add(&app, &caller, id))).await {
        assert_favorited(&answer, id, true);
    }
    assert_eq!(list(&app, &caller, "").await["total_count"], 1);
    for answer in join_all((0..20).map(|_| remove(&app, &caller, id))).await {
        assert_favorited(&answer, id, false);
    }
    assert_eq!(list(&app, &caller, "").await["total_count"], 0);
}

#[tokio::test]
async fn a_deleted_listener_is_nobodys_favourite() {
    let CallPair {
        app,
        caller,
        listener,
    } = CallPair::sign_up_without_coins().await;
    add(&app, &caller, listener.user_id).await;
    let deleted = app.delete("/users/me").as_user(&listener).answer().await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    assert_eq!(list(&app, &caller, "").await["total_count"], 0);
    let gone = check(&app, &caller, listener.user_id).await;
    assert_problem(&gone, 404, "listener_not_found");
}
