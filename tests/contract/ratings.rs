//! Ratings: by the caller of a completed call, once, and as others see them.

use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::PgPool;
use talktime_client::{ApiAnswer, AppUser, UserRole};
use talktime_tests::{CallPair, ExpectAnswer, TestApp, read_variable, wait_for};

use crate::{assert_fields, assert_problem};

async fn rate(app: &TestApp, person: &AppUser, call_id: i64, body: &Value) -> ApiAnswer {
    let path = format!("/calls/{call_id}/rating");
    app.post(&path).as_user(person).json(body).answer().await
}

/// Makes a call; returns the pair and the call.
async fn make_call() -> (CallPair, i64) {
    let pair = CallPair::sign_up().await;
    let call_id = talk(&pair).await;
    (pair, call_id)
}

async fn talk(pair: &CallPair) -> i64 {
    let call_id = pair.start_call().await;
    let ended = pair.end_call(&pair.caller, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    call_id
}

async fn wait_for_rating(pair: &CallPair, expected: Value) {
    wait_for("the mean to show in the profile and the feed", || async {
        let me = pair
            .app
            .get("/users/me")
            .as_user(&pair.listener)
            .answer()
            .await;
        let feed = pair.app.get("/feed/listeners?per_page=100&sort_by=recent");
        let feed = feed.as_user(&pair.caller).answer().await;
        let listeners = feed.body["listeners"].as_array()?.clone();
        let shown = listeners
            .into_iter()
            .find(|listener| listener["user_id"] == pair.listener.user_id)?;
        (me.body["rating"] == expected && shown["rating"] == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_rating_of_a_listener_is_the_mean_of_all_ratings() {
    let (pair, first) = make_call().await;
    let body = json!({"stars": 4, "comment": "Kind and patient"});
    let rated = rate(&pair.app, &pair.caller, first, &body).await;
    assert_eq!(rated.status, 200, "{rated:?}");
    assert_fields(&rated.body, &["call_id", "listener_id", "stars", "message"]);
    assert_eq!(rated.body["listener_id"], pair.listener.user_id);
    wait_for_rating(&pair, json!(4)).await;

    for stars in [5, 5] {
        let call_id = talk(&pair).await;
        let rated = rate(&pair.app, &pair.caller, call_id, &json!({"stars": stars})).await;
        assert_eq!(rated.status, 200, "{rated:?}");
    }
    wait_for_rating(&pair, json!(4.67)).await;

    // The rating in a profile that is sent back is ignored.
    let unchanged = pair.app.put("/users/me").as_user(&pair.listener);
    let unchanged = unchanged.json(&json!({"rating": 4.67, "bio": "Hello"}));
    assert_eq!(unchanged.answer().await.body["bio"], "Hello");
    let raised = pair.app.put("/users/me").as_user(&pair.listener);
    let raised = raised.json(&json!({"rating": 5})).answer().await;
    assert_problem(&raised, 403, "rating_not_allowed");
}

#[tokio::test]
async fn concurrent_ratings_of_a_call_count_once() {
    let (pair, call_id) = make_call().await;
    let body = json!({"stars": 3});
    let answers = join_all((0..20).map(|_| rate(&pair.app, &pair.caller, call_id, &body))).await;
    let rated = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(rated, 1, "{answers:?}");
    let refused = answers.iter().find(|answer| answer.status != 200);
    assert_problem(refused.expect("nineteen"), 409, "already_rated");
    wait_for_rating(&pair, json!(3)).await;
}

#[tokio::test]
async fn only_the_caller_of_a_completed_call_rates_it() {
    let pair = CallPair::sign_up().await;
    let stranger = pair.app.sign_up(UserRole::User).await;
    let five = json!({"stars": 5});
    let call_id = pair.start_call().await;
    let refused = rate(&pair.app, &pair.caller, call_id, &five).await;
    assert_problem(&refused, 409, "call_not_completed");
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);

    let refused = rate(&pair.app, &pair.listener, call_id, &five).await;
    assert_problem(&refused, 403, "not_the_caller");
    let refused = rate(&pair.app, &stranger, call_id, &five).await;
    assert_problem(&refused, 403, "not_a_party");
    let refused = rate(&pair.app, &pair.caller, 404_404_404, &five).await;
    assert_problem(&refused, 404, "call_not_found");
    let path = format!("/calls/{call_id}/rating");
    let refused = pair.app.post(&path).json(&five).answer().await;
    assert_problem(&refused, 401, "missing_token");

    let dropped = pair.start_call().await;
    let body = json!({"call_id": dropped, "reason": "dropped"});
    let ended = pair
        .app
        .post("/calls/end")
        .as_user(&pair.caller)
        .json(&body);
    assert_eq!(ended.answer().await.status, 200);
    let refused = rate(&pair.app, &pair.caller, dropped, &five).await;
    assert_problem(&refused, 409, "call_not_completed");
}

#[tokio::test]
async fn invalid_ratings_are_refused() {
    let (pair, call_id) = make_call().await;
    for (body, status, code) in [
        (json!({"stars": 0}), 400, "invalid_stars"),
        (json!({"stars": 6}), 400, "invalid_stars"),
        (json!({"stars": i64::MAX}), 400, "invalid_stars"),
        (
            json!({"stars": 5, "comment": "x".repeat(501)}),
            400,
            "invalid_comment",
        ),
        (
            json!({"stars": 5, "comment": "nul\0"}),
            400,
            "invalid_comment",
        ),
        (json!({"stars": 4.5}), 422, "invalid_body"),
        (json!({"stars": "5"}), 422, "invalid_body"),
        (json!({}), 422, "invalid_body"),
    ] {
        let refused = rate(&pair.app, &pair.caller, call_id, &body).await;
        assert_problem(&refused, status, code);
    }
    let rated = rate(&pair.app, &pair.caller, call_id, &json!({"stars": 1})).await;
    assert_eq!(rated.status, 200, "none of those counted: {rated:?}");
}

/// Loads the stored rating of a call: stars and comment.
async fn load_stored_rating(call_id: i64) -> Option<(i16, Option<String>)> {
    let url = read_variable("CALLS_APP_DATABASE_URL");
    let calls = PgPool::connect_lazy(&url).expect("a valid url");
    sqlx::query_as("SELECT stars, comment FROM calls.call_ratings WHERE call_id = $1")
        .bind(call_id)
        .fetch_optional(&calls)
        .await
        .expect("readable")
}

#[tokio::test]
async fn comments_of_a_deleted_caller_are_deleted_and_their_stars_remain() {
    let (pair, call_id) = make_call().await;
    let body = json!({"stars": 2, "comment": "They know what I said"});
    let rated = rate(&pair.app, &pair.caller, call_id, &body).await;
    assert_eq!(rated.status, 200, "{rated:?}");
    let words = Some("They know what I said".to_owned());
    assert_eq!(load_stored_rating(call_id).await, Some((2, words)));
    let deleted = pair.app.delete("/users/me").as_user(&pair.caller);
    assert_eq!(deleted.answer().await.status, 200);
    wait_for("the words to go", || async {
        (load_stored_rating(call_id).await == Some((2, None))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn ratings_of_a_deleted_listener_are_deleted_and_refused() {
    let (pair, first) = make_call().await;
    let second = talk(&pair).await;
    let five = json!({"stars": 5});
    let rated = rate(&pair.app, &pair.caller, first, &five).await;
    assert_eq!(rated.status, 200, "{rated:?}");
    let deleted = pair.app.delete("/users/me").as_user(&pair.listener);
    assert_eq!(deleted.answer().await.status, 200);
    wait_for("the rating to go", || async {
        load_stored_rating(first).await.is_none().then_some(())
    })
    .await;
    let refused = rate(&pair.app, &pair.caller, second, &five).await;
    assert_problem(&refused, 404, "listener_not_found");
}
