//! Kills of replicas of the calls service while many calls are live: no minute is early, lost, or paid twice.

use futures::{StreamExt, stream};
use serde_json::{Value, json};
use talktime_tests::replica::start_calls_replica;
use talktime_tests::{CallPair, ExpectAnswer, assert_books_are_right, run_dev, wait_for};

use crate::lock_stack;

const CALLS: usize = 200;
/// Concurrent requests, as many as one machine answers in time.
const AT_ONCE: usize = 12;
const DEATHS: usize = 4;
const RATE_COINS: i64 = 10;
/// Length of a minute on the test stack.
const MINUTE_SECS: i64 = 2;

async fn sign_up_pairs() -> Vec<CallPair> {
    stream::iter(0..CALLS)
        .map(|_| CallPair::sign_up())
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

/// Ends a call that may have ended already, on a service that may be dying.
async fn end_possibly_ended_call(pair: &CallPair, call_id: i64) {
    wait_for("the end", || async {
        let ended = pair.end_call(&pair.caller, call_id).await;
        [200, 404].contains(&ended.status).then_some(())
    })
    .await;
}

async fn load_receipt(pair: &CallPair, call_id: i64) -> Value {
    wait_for("the receipt", || async {
        let path = format!("/calls/{call_id}");
        let receipt = pair.app.get(&path).as_user(&pair.caller).answer().await;
        let is_closed = receipt.status == 200 && receipt.body["listener_money_earned"] != 0;
        is_closed.then_some(receipt.body)
    })
    .await
}

/// Asserts that each begun minute was charged once, and that the listener was paid for as many.
async fn assert_paid_exactly(pair: &CallPair, call_id: i64) -> i64 {
    let receipt = load_receipt(pair, call_id).await;
    let seconds = receipt["duration_seconds"].as_i64().expect("seconds");
    let minutes = receipt["duration_minutes"].as_i64().expect("minutes");
    let minutes_begun = seconds.div_euclid(MINUTE_SECS) + i64::from(seconds % MINUTE_SECS > 0);
    assert_eq!(minutes, minutes_begun.max(1), "{receipt}");
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
async fn two_hundred_live_calls_survive_kills_of_replicas() {
    let _stack = lock_stack().await;
    let pairs = sign_up_pairs().await;
    let calls: Vec<(&CallPair, i64)> = stream::iter(&pairs)
        .map(|pair| async move { (pair, pair.start_call().await) })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut steady = start_calls_replica().await;
    for _ in 0..DEATHS {
        let mut doomed = start_calls_replica().await;
        run_dev(&["kill", "calls"]).await;
        doomed.kill().await.expect("killed");
        run_dev(&["start", "calls"]).await;
    }
    steady.kill().await.expect("killed");
    stream::iter(&calls)
        .for_each_concurrent(AT_ONCE, |(pair, call_id)| {
            end_possibly_ended_call(pair, *call_id)
        })
        .await;
    let minutes: Vec<i64> = stream::iter(&calls)
        .map(|(pair, call_id)| assert_paid_exactly(pair, *call_id))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    assert!(minutes.iter().all(|minutes| *minutes > 1), "{minutes:?}");
    assert_books_are_right().await;
}
