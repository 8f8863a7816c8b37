//! A part that is down for a while: the rest goes on, and nothing half-done stays.

use std::time::{Duration, Instant};

use serde_json::json;
use talktime_client::random_phone;
use talktime_tests::{Answered, Pair, assert_books_are_right, dev, wait_for};

use crate::take_stack;

#[tokio::test]
async fn calls_go_on_while_nats_is_down_and_the_events_arrive_after() {
    let _stack = take_stack().await;
    let pair = Pair::meet().await;
    let call_id = pair.must_call().await;
    dev(&["stop", "nats"]).await;
    let outage = Instant::now();

    // A minute that begins in the outage is billed, the call can be ended and another be made.
    wait_for("a minute billed without NATS", || async {
        (pair.ongoing(&pair.caller).await["coins_spent"] == 20).then_some(())
    })
    .await;
    let ended = pair.end(&pair.caller, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    let second = pair.must_call().await;
    let ended = pair.end(&pair.listener, second).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    assert!(
        unpublished_events("calls").await > 0,
        "events wait in the outbox"
    );

    outage_of_thirty_seconds(outage).await;
    dev(&["start", "nats"]).await;
    for service in ["calls", "wallet", "presence"] {
        wait_for("the outbox to be published", || async {
            (unpublished_events(service).await == 0).then_some(())
        })
        .await;
    }
    // The feed's counter moves only by the event.
    wait_for("the feed to have heard of both calls", || async {
        let feed = pair
            .app
            .get("/feed/listeners?per_page=100&sort_by=recent")
            .of(&pair.caller);
        let listeners = feed.answer().await.body["listeners"].as_array()?.clone();
        let ours = listeners
            .into_iter()
            .find(|l| l["user_id"] == pair.listener.user_id)?;
        (ours["call_count"].as_i64()? >= 1).then_some(())
    })
    .await;
    assert_books_are_right().await;
}

/// The length of the outage is what is tested, so here time itself is waited for.
async fn outage_of_thirty_seconds(since: Instant) {
    let thirty_seconds = Duration::from_secs(30);
    tokio::time::sleep(thirty_seconds.saturating_sub(since.elapsed())).await;
}

async fn unpublished_events(service: &str) -> i64 {
    let url = talktime_tests::variable(&format!("{}_APP_DATABASE_URL", service.to_uppercase()));
    let pool = sqlx::PgPool::connect_lazy(&url).expect("a valid url");
    sqlx::query_scalar("SELECT count(*) FROM outbox WHERE published_at IS NULL")
        .fetch_one(&pool)
        .await
        .expect("readable")
}

#[tokio::test]
async fn a_stopped_service_answers_503_and_leaves_nothing_half_done() {
    let _stack = take_stack().await;
    let pair = Pair::meet().await;
    for service in ["wallet", "profile", "presence", "calls"] {
        dev(&["kill", service]).await;
        let refused = pair.call().await;
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
        dev(&["start", service]).await;
        wait_for("both free", || async {
            pair.both_free().await.then_some(())
        })
        .await;
        assert_eq!(pair.coins().await, 300, "{service}");
    }
    let call_id = pair.must_call().await;
    assert_eq!(pair.end(&pair.caller, call_id).await.status, 200);
    assert_books_are_right().await;
}

#[tokio::test]
async fn what_does_not_need_the_dead_part_goes_on() {
    let _stack = take_stack().await;
    let pair = Pair::meet().await;
    dev(&["kill", "wallet"]).await;
    for path in [
        "/users/me",
        "/users/me/status",
        "/feed/listeners",
        "/calls/ongoing",
    ] {
        let answer = pair.app.get(path).of(&pair.caller).answer().await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    dev(&["start", "wallet"]).await;
}

#[tokio::test]
async fn a_call_that_ends_while_the_wallet_is_down_frees_both_and_is_settled_after() {
    let _stack = take_stack().await;
    let pair = Pair::meet().await;
    let call_id = pair.must_call().await;
    dev(&["kill", "wallet"]).await;
    let pending = pair.end(&pair.caller, call_id).await;
    assert_eq!(pending.status, 503, "{pending:?}");
    wait_for("both free", || async {
        pair.both_free().await.then_some(())
    })
    .await;
    dev(&["start", "wallet"]).await;
    wait_for("the settlement", || async {
        (pair.earned().await == json!(1)).then_some(())
    })
    .await;
    assert_eq!(pair.coins().await, 290);
    assert_books_are_right().await;
}

#[tokio::test]
async fn a_login_while_profile_is_down_does_not_use_the_code_up() {
    let _stack = take_stack().await;
    let app = talktime_tests::app().await;
    let phone = random_phone();
    let sent = app
        .post("/auth/request_otp")
        .json(&json!({"phone": phone}))
        .answer()
        .await;
    assert_eq!(sent.status, 200, "{sent:?}");
    let otp = app.otp_of(&phone).await;
    dev(&["kill", "profile"]).await;
    let body = json!({"phone": phone, "otp": otp});
    let refused = app.post("/auth/verify").json(&body).answer().await;
    assert_eq!(refused.status, 503, "{refused:?}");
    dev(&["start", "profile"]).await;
    let verified = wait_for("profile to be back", || async {
        let answer = app.post("/auth/verify").json(&body).answer().await;
        (answer.status != 503).then_some(answer)
    })
    .await;
    assert_eq!(verified.status, 200, "{verified:?}");
    assert_eq!(verified.body["status"], "needs_registration");
}
