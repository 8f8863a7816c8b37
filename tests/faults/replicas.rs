//! Replicas of the calls service die while many calls are live: no minute comes early, none is lost, none
//! is paid twice.

use futures::{StreamExt, stream};
use serde_json::{Value, json};
use talktime_tests::replica::start_calls;
use talktime_tests::{CallPair, ExpectAnswer, assert_books_are_right, run_dev, wait_for};

use crate::take_stack;

const CALLS: usize = 200;
/// Requests at a time: what one machine answers in good time.
const AT_ONCE: usize = 12;
const DEATHS: usize = 4;
const RATE_COINS: i64 = 10;
/// Of the test stack.
const MINUTE_SECS: i64 = 2;

async fn meet_all() -> Vec<CallPair> {
    stream::iter(0..CALLS)
        .map(|_| CallPair::sign_up())
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

/// Ends a call that may have ended, or be about to; the service may just be dying.
async fn end(pair: &CallPair, call_id: i64) {
    wait_for("the end", || async {
        let ended = pair.end_call(&pair.caller, call_id).await;
        [200, 404].contains(&ended.status).then_some(())
    })
    .await;
}

async fn receipt(pair: &CallPair, call_id: i64) -> Value {
    wait_for("the receipt", || async {
        let path = format!("/calls/{call_id}");
        let receipt = pair.app.get(&path).as_user(&pair.caller).answer().await;
        let is_closed = receipt.status == 200 && receipt.body["listener_money_earned"] != 0;
        is_closed.then_some(receipt.body)
    })
    .await
}

/// A minute for each two seconds begun, each charged once, the listener paid for as many.
async fn assert_paid_exactly(pair: &CallPair, call_id: i64) -> i64 {
    let receipt = receipt(pair, call_id).await;
    let seconds = receipt["duration_seconds"].as_i64().expect("seconds");
    let minutes = receipt["duration_minutes"].as_i64().expect("minutes");
    let begun = seconds.div_euclid(MINUTE_SECS) + i64::from(seconds % MINUTE_SECS > 0);
    assert_eq!(minutes, begun.max(1), "{receipt}");
    assert_eq!(receipt["status"], "completed", "{receipt}");
    assert_eq!(receipt["coins_spent"], RATE_COINS * minutes, "{receipt}");
    assert_eq!(
        pair.load_coins().await,
        300 - RATE_COINS * minutes,
        "{receipt}"
    );
    assert_eq!(pair.load_earned().await, json!(minutes), "{receipt}");
    minutes
}

#[tokio::test]
async fn replicas_die_while_two_hundred_calls_are_live() {
    let _stack = take_stack().await;
    let pairs = meet_all().await;
    let calls: Vec<(&CallPair, i64)> = stream::iter(&pairs)
        .map(|pair| async move { (pair, pair.start_call().await) })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut steady = start_calls().await;
    for _ in 0..DEATHS {
        let mut doomed = start_calls().await;
        run_dev(&["kill", "calls"]).await;
        doomed.kill().await.expect("killed");
        run_dev(&["start", "calls"]).await;
    }
    steady.kill().await.expect("killed");
    stream::iter(&calls)
        .for_each_concurrent(AT_ONCE, |(pair, call_id)| end(pair, *call_id))
        .await;
    let minutes: Vec<i64> = stream::iter(&calls)
        .map(|(pair, call_id)| assert_paid_exactly(pair, *call_id))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    assert!(minutes.iter().all(|minutes| *minutes > 1), "{minutes:?}");
    assert_books_are_right().await;
}
