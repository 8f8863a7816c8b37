//! Outages of single parts: all others continue, and nothing remains unfinished.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use talktime_client::random_phone;
use talktime_tests::{CallPair, ExpectAnswer, assert_books_are_right, run_dev, wait_for};

use crate::lock_stack;

#[tokio::test]
async fn calls_go_on_while_nats_is_down_and_the_events_arrive_after() {
    let _stack = lock_stack().await;
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    run_dev(&["stop", "nats"]).await;
    let outage = Instant::now();

    // During the outage a minute is billed, the call can be ended, and another one can be made.
    wait_for("a minute billed without NATS", || async {
        (pair.load_ongoing_call(&pair.caller).await["coins_spent"] == 20).then_some(())
    })
    .await;
    let ended = pair.end_call(&pair.caller, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    let second = pair.start_call().await;
    let ended = pair.end_call(&pair.listener, second).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    assert!(
        count_unpublished_events("calls").await > 0,
        "events wait in the outbox"
    );

    wait_for_thirty_seconds(outage).await;
    run_dev(&["start", "nats"]).await;
    for service in ["calls", "wallet", "presence"] {
        wait_for("the outbox to be published", || async {
            (count_unpublished_events(service).await == 0).then_some(())
        })
        .await;
    }
    // Only the event increments the counter of the feed.
    wait_for("the feed to have heard of both calls", || async {
        let feed = pair
            .app
            .get("/feed/listeners?per_page=100&sort_by=recent")
            .as_user(&pair.caller);
        let listeners = feed.answer().await.body["listeners"].as_array()?.clone();
        let ours = listeners
            .into_iter()
            .find(|l| l["user_id"] == pair.listener.user_id)?;
        (ours["call_count"].as_i64()? >= 1).then_some(())
    })
    .await;
    assert_books_are_right().await;
}

/// Waits until the outage has lasted thirty seconds, because its length is what is tested.
async fn wait_for_thirty_seconds(since: Instant) {
    let thirty_seconds = Duration::from_secs(30);
    tokio::time::sleep(thirty_seconds.saturating_sub(since.elapsed())).await;
}

async fn count_unpublished_events(service: &str) -> i64 {
    let url = talktime_tests::read_database_url(service);
    let pool = sqlx::PgPool::connect_lazy(&url).expect("a valid url");
    sqlx::query_scalar("SELECT count(*) FROM outbox WHERE published_at IS NULL")
        .fetch_one(&pool)
        .await
        .expect("readable")
}

#[tokio::test]
async fn a_stopped_service_answers_503_and_leaves_nothing_half_done() {
    let _stack = lock_stack().await;
    let pair = CallPair::sign_up().await;
    for service in ["wallet", "profile", "presence", "calls"] {
        run_dev(&["kill", service]).await;
        let refused = pair.request_call().await;
        assert_eq!(refused.status, 503, "{service}: {refused:?}");
        assert_eq!(
            refused.header("content-type"),
            Some("application/problem+json")
        );
        assert!(
            refused.header("retry-after").is_some(),
            "{service}: {refused:?}"
        );
        assert!(refused.body["detail"].is_string());
        run_dev(&["start", service]).await;
        wait_for("both free", || async {
            pair.are_both_free().await.then_some(())
        })
        .await;
        assert_eq!(pair.load_coins().await, 300, "{service}");
    }
    let call_id = pair.start_call().await;
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
    assert_books_are_right().await;
}

#[tokio::test]
async fn requests_that_do_not_need_the_dead_service_succeed() {
    let _stack = lock_stack().await;
    let pair = CallPair::sign_up().await;
    run_dev(&["kill", "wallet"]).await;
    for path in [
        "/users/me",
        "/users/me/status",
        "/feed/listeners",
        "/calls/ongoing",
    ] {
        let answer = pair.app.get(path).as_user(&pair.caller).answer().await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    run_dev(&["start", "wallet"]).await;
}

/// An answer with statuses of users.
struct StatusesAnswer {
    /// Whether the answer declares its statuses as current.
    is_current: bool,
    body: Value,
}

async fn read_statuses(pair: &CallPair, path: &str) -> StatusesAnswer {
    let answer = pair.app.get(path).as_user(&pair.caller).answer().await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    let is_current = match path {
        "/calls/status" => answer.body["system_status"] == "operational",
        _ => answer.body["has_current_statuses"] == true,
    };
    StatusesAnswer {
        is_current,
        body: answer.body,
    }
}

/// Endpoints that return statuses without a request to presence.
const WITH_STATUSES: [&str; 4] = [
    "/feed/listeners?online_only=true&sort_by=recent&per_page=100",
    "/feed/stats",
    "/favorites",
    "/calls/status",
];

async fn wait_until_statuses_are_current(pair: &CallPair, is_current: bool) {
    for path in WITH_STATUSES {
        wait_for(path, || async {
            let answer = read_statuses(pair, path).await;
            (answer.is_current == is_current).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn without_presence_the_last_known_statuses_are_marked_as_such() {
    let _stack = lock_stack().await;
    let pair = CallPair::sign_up_without_coins().await;
    let favorite = json!({"listener_id": pair.listener.user_id});
    let add = pair.app.post("/favorites/add").as_user(&pair.caller);
    assert_eq!(add.json(&favorite).answer().await.status, 200);
    wait_until_statuses_are_current(&pair, true).await;
    let find_in_feed = || async {
        let feed = read_statuses(&pair, WITH_STATUSES[0]).await.body;
        let listeners = feed["listeners"].as_array()?.iter();
        let mut ours = listeners.filter(|one| one["user_id"] == pair.listener.user_id);
        ours.next().cloned()
    };
    let before = wait_for("the listener to be in the feed", find_in_feed).await;
    assert_eq!(before["is_online"], true, "{before}");

    run_dev(&["kill", "presence"]).await;
    wait_until_statuses_are_current(&pair, false).await;
    let after = find_in_feed().await.expect("still there, as last known");
    assert_eq!(after, before);
    let favorites = read_statuses(&pair, "/favorites").await.body;
    assert_eq!(favorites["favorites"][0]["is_online"], true, "{favorites}");
    let status = read_statuses(&pair, "/calls/status").await.body;
    assert!(status["listeners_online"].as_i64() >= Some(1), "{status}");
    // Requests that need presence fail with a 503.
    let own = pair.app.get("/users/me/status").as_user(&pair.caller);
    assert_eq!(own.answer().await.status, 503);

    run_dev(&["start", "presence"]).await;
    wait_until_statuses_are_current(&pair, true).await;
}

#[tokio::test]
async fn a_call_that_ends_while_the_wallet_is_down_frees_both_and_is_settled_after() {
    let _stack = lock_stack().await;
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    run_dev(&["kill", "wallet"]).await;
    let pending = pair.end_call(&pair.caller, call_id).await;
    assert_eq!(pending.status, 503, "{pending:?}");
    wait_for("both free", || async {
        pair.are_both_free().await.then_some(())
    })
    .await;
    run_dev(&["start", "wallet"]).await;
    wait_for("the settlement", || async {
        (pair.load_earned().await == json!(1)).then_some(())
    })
    .await;
    assert_eq!(pair.load_coins().await, 290);
    assert_books_are_right().await;
}

#[tokio::test]
async fn a_failed_login_without_profile_leaves_the_code_valid() {
    let _stack = lock_stack().await;
    let app = talktime_tests::connect_app().await;
    let phone = random_phone();
    let sent = app
        .post("/auth/request_otp")
        .json(&json!({"phone": phone}))
        .answer()
        .await;
    assert_eq!(sent.status, 200, "{sent:?}");
    let otp = app.read_otp(&phone).await;
    run_dev(&["kill", "profile"]).await;
    let body = json!({"phone": phone, "otp": otp});
    let refused = app.post("/auth/verify").json(&body).answer().await;
    assert_eq!(refused.status, 503, "{refused:?}");
    run_dev(&["start", "profile"]).await;
    let verified = wait_for("profile to be back", || async {
        let answer = app.post("/auth/verify").json(&body).answer().await;
        (answer.status != 503).then_some(answer)
    })
    .await;
    assert_eq!(verified.status, 200, "{verified:?}");
    assert_eq!(verified.body["status"], "needs_registration");
}
