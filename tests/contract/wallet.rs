//! Sections 6, 7 and 9: balance and recharge.

use futures::future::join_all;
use serde_json::{Value, json};
use talktime_client::ApiAnswer;
use talktime_tests::{CallPair, ExpectAnswer, assert_books_are_right};

use crate::{assert_fields, assert_problem};

async fn recharge(pair: &CallPair, key: Option<&str>, body: Value) -> ApiAnswer {
    let mut request = pair
        .app
        .post("/calls/recharge")
        .as_user(&pair.caller)
        .json(&body);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.answer().await
}

fn step(amount_rupees: i64) -> Value {
    json!({"amount_rupees": amount_rupees, "payment_method": "upi"})
}

#[tokio::test]
async fn every_amount_of_the_rate_card_buys_its_coins() {
    let pair = CallPair::sign_up_without_coins().await;
    let mut balance = 0;
    for (rupees, coins) in [(150, 300), (300, 600), (500, 1_000), (1_000, 2_000)] {
        balance += coins;
        let bought = recharge(&pair, None, step(rupees)).await;
        assert_eq!(bought.status, 200, "{bought:?}");
        assert_fields(&bought.body, &["transaction_id", "message"]);
        assert_eq!(bought.body["amount_rupees"], rupees);
        assert_eq!(bought.body["coins_added"], coins);
        assert_eq!(bought.body["new_balance"], balance);
    }
    let fields = [
        "user_id",
        "balance_coins",
        "bonus_coins",
        "withdrawable_money",
        "available_money",
        "held_money",
        "total_earned",
        "total_withdrawn",
        "pending_withdrawals",
    ];
    assert_fields(&pair.load_balance(&pair.caller).await, &fields);
    assert_eq!(pair.load_coins().await, balance);
    assert_books_are_right().await;
}

#[tokio::test]
async fn a_recharge_without_a_payment_method_is_paid_with_upi() {
    let pair = CallPair::sign_up_without_coins().await;
    let bought = recharge(&pair, None, json!({"amount_rupees": 150})).await;
    assert_eq!(bought.status, 200, "{bought:?}");
    assert_eq!(pair.load_coins().await, 300);
    let history = pair
        .app
        .get("/calls/recharge/history")
        .as_user(&pair.caller);
    let history = history.answer().await;
    assert_eq!(history.body["recharges"][0]["payment_method"], "upi");
}

#[tokio::test]
async fn amounts_outside_the_rate_card_are_refused() {
    let pair = CallPair::sign_up_without_coins().await;
    for amount in [
        json!(0),
        json!(-150),
        json!(151),
        json!(150.5),
        json!(1e300),
    ] {
        let refused = recharge(
            &pair,
            None,
            json!({"amount_rupees": amount, "payment_method": "upi"}),
        )
        .await;
        assert_eq!(refused.status, 400, "{amount}: {refused:?}");
    }
    let cash = json!({"amount_rupees": 150, "payment_method": "cash"});
    assert_problem(
        &recharge(&pair, None, cash).await,
        400,
        "invalid_payment_method",
    );
    let words = json!({"amount_rupees": "150", "payment_method": "upi"});
    assert_eq!(recharge(&pair, None, words).await.status, 422);
    assert_eq!(pair.load_coins().await, 0);
}

#[tokio::test]
async fn concurrent_recharges_with_one_key_buy_once() {
    let pair = CallPair::sign_up_without_coins().await;
    let answers = join_all((0..20).map(|_| recharge(&pair, Some("key-1"), step(150)))).await;
    for answer in &answers {
        assert_eq!(
            (answer.status, &answer.body),
            (200, &answers[0].body),
            "{answer:?}"
        );
    }
    assert_eq!(pair.load_coins().await, 300);
    let other_body = recharge(&pair, Some("key-1"), step(300)).await;
    assert_problem(&other_body, 422, "idempotency_key_reused");
    assert_eq!(recharge(&pair, Some("key-2"), step(150)).await.status, 200);
    assert_eq!(pair.load_coins().await, 600);
    assert_books_are_right().await;
}

#[tokio::test]
async fn the_same_key_of_two_users_counts_as_two() {
    let (one, other) = (
        CallPair::sign_up_without_coins().await,
        CallPair::sign_up_without_coins().await,
    );
    for pair in [&one, &other] {
        assert_eq!(recharge(pair, Some("shared"), step(150)).await.status, 200);
        assert_eq!(pair.load_coins().await, 300);
    }
}
