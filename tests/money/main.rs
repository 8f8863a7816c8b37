//! Money through the public API: many people at once, and books that add up to the last coin.

use futures::future::join_all;
use serde_json::json;
use talktime_tests::{CallPair, ExpectAnswer, assert_books_are_right};

const PAIRS: usize = 20;
const RECHARGED_COINS: i64 = 300;
const RATE_COINS: i64 = 10;

/// Makes calls of one pair: a few calls, ended by either side; returns the number of paid minutes.
async fn talk(pair: &CallPair, calls: usize) -> i64 {
    let mut minutes = 0;
    for n in 0..calls {
        let call_id = pair.start_call().await;
        let person = if n % 2 == 0 {
            &pair.caller
        } else {
            &pair.listener
        };
        let ended = pair.end_call(person, call_id).await;
        assert_eq!(ended.status, 200, "{ended:?}");
        minutes += ended.body["duration_minutes"].as_i64().expect("minutes");
    }
    minutes
}

#[tokio::test]
async fn callers_pay_their_minutes_and_listeners_earn_their_share() {
    let pairs = join_all((0..PAIRS).map(|_| CallPair::sign_up())).await;
    let minutes = join_all(pairs.iter().map(|pair| talk(pair, 3))).await;
    for (pair, minutes) in pairs.iter().zip(minutes) {
        assert_eq!(
            pair.load_coins().await,
            RECHARGED_COINS - RATE_COINS * minutes
        );
        assert_eq!(pair.load_earned().await, json!(minutes));
    }
    assert_books_are_right().await;
}

#[tokio::test]
async fn concurrent_starts_and_recharges_lose_no_coin() {
    let pair = CallPair::sign_up().await;
    let step = json!({"amount_rupees": 150, "payment_method": "wallet"});
    let recharges = (0..10).map(|_| {
        pair.app
            .post("/calls/recharge")
            .as_user(&pair.caller)
            .json(&step)
            .answer()
    });
    let (call_id, recharged) = tokio::join!(pair.start_call(), join_all(recharges));
    assert!(
        recharged.iter().all(|answer| answer.status == 200),
        "{recharged:?}"
    );
    let ended = pair.end_call(&pair.caller, call_id).await;
    let minutes = ended.body["duration_minutes"].as_i64().expect("minutes");
    assert_eq!(
        pair.load_coins().await,
        11 * RECHARGED_COINS - RATE_COINS * minutes
    );
    assert_books_are_right().await;
}
