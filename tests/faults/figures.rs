//! The published figures of a call are those of its receipt, even if the last minute cannot be paid.

use serde_json::{Value, json};
use sqlx::PgPool;
use talktime_proto::events::v1::CallEnded;
use talktime_proto::events::v1::event::Kind;
use talktime_tests::{
    CallPair, EventLog, ExpectAnswer, WAIT_MAX, assert_books_are_right, read_variable, run_dev,
    wait_for,
};

use crate::kill::{arm_failpoint, disarm_failpoint, is_dead};
use crate::lock_stack;

/// Coins of the five video minutes that the caller can pay.
const PAID_COINS: i64 = 300;
/// Seconds of these minutes on the test stack.
const PAID_SECS: i64 = 10;

async fn start_video_call(pair: &CallPair) -> i64 {
    let body = json!({"listener_id": pair.listener.user_id, "call_type": "video"});
    let started = pair.app.post("/calls/start").as_user(&pair.caller);
    let started = started.json(&body).answer().await;
    assert_eq!(started.status, 200, "{started:?}");
    started.body["call_id"].as_i64().expect("an id")
}

async fn load_receipt(pair: &CallPair, call_id: i64) -> Value {
    let receipt = pair.app.get(&format!("/calls/{call_id}"));
    let receipt = receipt.as_user(&pair.caller).answer().await;
    assert_eq!(receipt.status, 200, "{receipt:?}");
    receipt.body
}

/// Receives the next published end of a call.
async fn next_published_end(events: &mut EventLog, call_id: i64) -> CallEnded {
    let ended = events.receive_matching(|kind| match kind {
        Kind::CallEnded(ended) => ended.call_id == call_id,
        _ => false,
    });
    match ended.await.kind {
        Some(Kind::CallEnded(ended)) => ended,
        _ => unreachable!("only the end of a call matches"),
    }
}

#[track_caller]
fn assert_is_receipt(ended: &CallEnded, receipt: &Value) {
    assert_eq!(receipt["status"], ended.status);
    assert_eq!(receipt["duration_minutes"], ended.duration_minutes);
    assert_eq!(receipt["duration_seconds"], ended.duration_seconds);
    assert_eq!(receipt["coins_spent"], ended.coins_spent);
    let earned_rupees = receipt["listener_money_earned"].as_f64();
    let earned_rupees = earned_rupees.expect("a number");
    let paise = i32::try_from(ended.listener_paise_earned).expect("a few");
    assert!(
        (earned_rupees - f64::from(paise) / 100.0).abs() < 0.001,
        "{receipt}"
    );
}

/// Returns the totals of the listener in the feed: calls, and the seconds of all of them.
async fn load_feed_totals(pair: &CallPair) -> (i64, i64) {
    let pool = PgPool::connect(&read_variable("PROFILE_APP_DATABASE_URL")).await;
    let pool = pool.expect("connected");
    let totals = sqlx::query_as(
        "SELECT call_count, total_call_secs FROM profile.feed_listeners WHERE user_id = $1",
    )
    .bind(pair.listener.user_id)
    .fetch_one(&pool);
    totals.await.expect("readable")
}

/// The call ends in its sixth minute, which cannot be charged because the wallet is unavailable. When the wallet
/// returns, there are no coins for that minute, so the call has lasted five minutes.
#[tokio::test]
async fn a_begun_minute_that_cannot_be_paid_is_in_no_published_figure() {
    let _stack = lock_stack().await;
    let pair = CallPair::sign_up().await;
    let mut events = EventLog::subscribe("events.calls.>").await;
    let mut socket = pair.app.open_socket("/ws/calls", &pair.listener).await;
    let call_id = start_video_call(&pair).await;
    wait_for("the last minute that coins pay for", || async {
        (pair.load_ongoing_call(&pair.caller).await["coins_spent"] == PAID_COINS).then_some(())
    })
    .await;
    run_dev(&["kill", "wallet"]).await;
    wait_for("the minute that they do not pay for", || async {
        let ongoing = pair.load_ongoing_call(&pair.caller).await;
        (ongoing["duration_seconds"].as_i64()? > PAID_SECS).then_some(())
    })
    .await;
    let pending = pair.end_call(&pair.caller, call_id).await;
    assert_eq!(pending.status, 503, "{pending:?}");
    wait_for("both free", || async {
        pair.are_both_free().await.then_some(())
    })
    .await;
    let unsettled = load_receipt(&pair, call_id).await;
    assert_eq!(unsettled["status"], "ongoing", "{unsettled}");
    for field in ["end_time", "duration_seconds", "duration_minutes"] {
        assert!(unsettled[field].is_null(), "{field}: {unsettled}");
    }

    run_dev(&["start", "wallet"]).await;
    // The app repeats the request, possibly before the sweeper settles the call.
    wait_for("the settlement", || async {
        let ended = pair.end_call(&pair.caller, call_id).await;
        [200, 404].contains(&ended.status).then_some(())
    })
    .await;
    let ended = next_published_end(&mut events, call_id).await;
    let receipt = load_receipt(&pair, call_id).await;
    assert_eq!(receipt["status"], "dropped", "{receipt}");
    assert_eq!(receipt["duration_minutes"], 5, "{receipt}");
    assert_eq!(receipt["duration_seconds"], PAID_SECS, "{receipt}");
    assert_eq!(receipt["coins_spent"], PAID_COINS, "{receipt}");
    assert_eq!(receipt["listener_money_earned"], 30, "{receipt}");
    assert_is_receipt(&ended, &receipt);

    let is_end = move |message: &Value| {
        message["type"] == "call_ended" && message["data"]["call_id"] == call_id
    };
    let message = socket.receive_matching("the end", WAIT_MAX, is_end).await;
    let data = message.expect("a message")["data"].clone();
    assert_eq!(data["minute"], receipt["duration_minutes"], "{data}");
    for field in [
        "status",
        "duration_seconds",
        "coins_spent",
        "listener_money_earned",
    ] {
        assert_eq!(data[field], receipt[field], "{field}: {data}");
    }
    wait_for("the feed to count the call", || async {
        (load_feed_totals(&pair).await == (1, PAID_SECS)).then_some(())
    })
    .await;
    assert_books_are_right().await;
}

/// Calls dies at each step of a settlement on which the figures depend; they are published once and equal the
/// receipt.
#[tokio::test]
async fn figures_that_follow_the_settlement_survive_a_crash_at_every_step() {
    let _stack = lock_stack().await;
    for failpoint in [
        "calls.settle.decided",
        "calls.settle.settled",
        "calls.settle.before_closed",
        "calls.settle.closed",
    ] {
        let pair = CallPair::sign_up().await;
        let mut events = EventLog::subscribe("events.calls.>").await;
        let call_id = pair.start_call().await;
        run_dev(&["kill", "wallet"]).await;
        arm_failpoint("calls", failpoint).await;
        wait_for("a minute that is not charged", || async {
            let ongoing = pair.load_ongoing_call(&pair.caller).await;
            let charged_secs = ongoing["coins_spent"].as_i64()? / 5;
            (ongoing["duration_seconds"].as_i64()? > charged_secs).then_some(())
        })
        .await;
        let pending = pair.end_call(&pair.caller, call_id).await;
        assert_eq!(pending.status, 503, "{failpoint}: {pending:?}");
        run_dev(&["start", "wallet"]).await;
        wait_for("calls to die while it settles", || async {
            pair.end_call(&pair.caller, call_id).await;
            is_dead("calls").await.then_some(())
        })
        .await;
        disarm_failpoint("calls").await;
        let ended = next_published_end(&mut events, call_id).await;
        let receipt = load_receipt(&pair, call_id).await;
        assert_is_receipt(&ended, &receipt);
        wait_for("the feed to count the call once", || async {
            (load_feed_totals(&pair).await == (1, ended.duration_seconds)).then_some(())
        })
        .await;
        assert_books_are_right().await;
    }
}
