//! Sections 6 and 9: orders, proofs and gifts with the sandbox.

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser};
use talktime_tests::{CallPair, ExpectAnswer, WAIT_MAX, assert_books_are_right, run_dev};

use crate::sockets::open;
use crate::{assert_fields, assert_problem};

async fn post(pair: &CallPair, person: &AppUser, path: &str, body: Value) -> ApiAnswer {
    pair.app
        .post(path)
        .as_user(person)
        .json(&body)
        .answer()
        .await
}

async fn add_coins(pair: &CallPair, body: Value) -> ApiAnswer {
    post(pair, &pair.caller, "/wallet/add-coins", body).await
}

#[tokio::test]
async fn an_order_is_paid_once_with_its_own_payment() {
    let pair = CallPair::sign_up_without_coins().await;
    let order = json!({"amount_rupees": 300});
    let order = post(&pair, &pair.caller, "/payments/orders", order).await;
    assert_eq!(order.status, 200, "{order:?}");
    assert_fields(&order.body, &["order_id", "key_id", "created_at"]);
    assert_eq!(order.body["provider"], "sandbox");
    assert_eq!(order.body["coins"], 600);
    assert_eq!(order.body["amount_paise"], 30_000);
    assert_eq!(order.body["status"], "created");
    assert_eq!(pair.load_coins().await, 0, "nothing is paid yet");

    let proof = json!({"amount_rupees": 300, "payment_method": "card",
        "payment_id": order.body["payment_id"]});
    let of_other = post(&pair, &pair.listener, "/calls/recharge", proof.clone()).await;
    assert_problem(&of_other, 402, "payment_not_found");
    let mut dearer = proof.clone();
    dearer["amount_rupees"] = json!(1_000);
    let dearer = post(&pair, &pair.caller, "/calls/recharge", dearer).await;
    assert_problem(&dearer, 400, "payment_for_something_else");
    for _ in 0..3 {
        let paid = post(&pair, &pair.caller, "/calls/recharge", proof.clone()).await;
        assert_eq!((paid.status, &paid.body["new_balance"]), (200, &json!(600)));
    }
    assert_eq!(pair.load_coins().await, 600);
    assert_books_are_right().await;
}

#[tokio::test]
async fn only_steps_of_the_card_can_be_ordered() {
    let pair = CallPair::sign_up_without_coins().await;
    for amount in [json!(1), json!(150.01), json!(-150), json!(1e15)] {
        let body = json!({"amount_rupees": amount});
        let refused = post(&pair, &pair.caller, "/payments/orders", body).await;
        assert_problem(&refused, 400, "amount_not_on_rate_card");
    }
    let body = json!({"amount_rupees": 0.001});
    let refused = post(&pair, &pair.caller, "/payments/orders", body).await;
    assert_problem(&refused, 400, "invalid_amount");
}

#[tokio::test]
async fn coins_are_bought_as_the_contract_describes() {
    let pair = CallPair::sign_up_without_coins().await;
    let bought = add_coins(&pair, json!({"coins": 100, "money_amount": 49.5})).await;
    assert_eq!(bought.status, 200, "{bought:?}");
    assert_fields(&bought.body, &["transaction_id", "message", "created_at"]);
    assert_eq!(bought.body["coins_added"], 100);
    assert_eq!(bought.body["money_amount"], 49.5);
    assert_eq!(bought.body["new_balance"], 100);
    let free = add_coins(&pair, json!({"coins": 1, "tx_type": "purchase"})).await;
    assert_eq!((free.status, &free.body["new_balance"]), (200, &json!(101)));
    assert_books_are_right().await;
}

#[tokio::test]
async fn invalid_payments_add_no_coins() {
    let pair = CallPair::sign_up_without_coins().await;
    for body in [
        json!({"coins": 0}),
        json!({"coins": -5}),
        json!({"coins": 9_223_372_036_854_775_807_i64}),
        json!({"coins": 1_000_000_001}),
        json!({"coins": 1, "money_amount": -1}),
        json!({"coins": 1, "money_amount": 10_000_000_000.0}),
        json!({"coins": 1, "money_amount": 1e300}),
        json!({"coins": 1, "money_amount": 0.001}),
        json!({"coins": 1, "tx_type": "spend"}),
        json!({"coins": 1, "tx_type": "gift"}),
        json!({"coins": 1, "razorpay_order_id": "order_1"}),
    ] {
        let refused = add_coins(&pair, body.clone()).await;
        assert_eq!(refused.status, 400, "{body}: {refused:?}");
    }
    for body in [
        json!({}),
        json!({"coins": "1"}),
        json!({"coins": 1.5}),
        json!({"coins": 1e30}),
    ] {
        assert_problem(&add_coins(&pair, body).await, 422, "invalid_body");
    }
    let largest = json!({"coins": 1_000_000_000, "money_amount": 9_999_999_999.99});
    let largest = add_coins(&pair, largest).await;
    assert_eq!(
        (largest.status, &largest.body["new_balance"]),
        (200, &json!(1_000_000_000))
    );
    let unknown = json!({"coins": 1, "payment_id": "sandbox_x"});
    assert_problem(&add_coins(&pair, unknown).await, 402, "payment_not_found");
    let signed = json!({"coins": 1, "razorpay_order_id": "order_1", "razorpay_payment_id": "pay_1",
        "razorpay_signature": "00"});
    assert_problem(&add_coins(&pair, signed).await, 402, "payment_not_found");
    assert_books_are_right().await;
}

#[tokio::test]
async fn only_admins_give_coins_away() {
    let pair = CallPair::sign_up_without_coins().await;
    for tx_type in ["bonus", "referral_bonus"] {
        let gift = json!({"coins": 50, "tx_type": tx_type});
        assert_problem(&add_coins(&pair, gift).await, 403, "admin_only");
    }
    let for_another = json!({"coins": 50, "user_id": pair.listener.user_id});
    assert_problem(&add_coins(&pair, for_another).await, 403, "admin_only");

    run_dev(&["grant-admin", &pair.caller.phone]).await;
    let gift = add_coins(&pair, json!({"coins": 50, "tx_type": "bonus"})).await;
    assert_eq!((gift.status, &gift.body["new_balance"]), (200, &json!(50)));
    let user_id = pair.listener.user_id;
    let gift = json!({"coins": 20, "tx_type": "referral_bonus", "user_id": user_id});
    let request = pair.app.post("/wallet/add-coins").as_user(&pair.caller);
    let first = request
        .header("idempotency-key", "gift")
        .json(&gift)
        .answer()
        .await;
    let request = pair.app.post("/wallet/add-coins").as_user(&pair.caller);
    let again = request
        .header("idempotency-key", "gift")
        .json(&gift)
        .answer()
        .await;
    assert_eq!((first.status, &first.body), (200, &again.body));
    assert_eq!(pair.load_balance(&pair.listener).await["balance_coins"], 20);
    let unknown = json!({"coins": 20, "tx_type": "bonus", "user_id": 999_999_999});
    assert_problem(&add_coins(&pair, unknown).await, 404, "no_such_user");
    assert_books_are_right().await;
}

/// Loads the coins of the caller, and the part of them that was given.
async fn load_both_coins(pair: &CallPair) -> (i64, i64) {
    let balance = pair.load_balance(&pair.caller).await;
    let coins = |field: &str| balance[field].as_i64().expect("coins");
    (coins("balance_coins"), coins("bonus_coins"))
}

#[tokio::test]
async fn a_gift_is_spent_first_and_earns_the_listener_nothing() {
    let pair = CallPair::sign_up().await;
    let admin = pair.app.sign_up_admin().await;
    let user_id = pair.caller.user_id;
    let gift = json!({"coins": 15, "tx_type": "bonus", "user_id": user_id});
    let given = post(&pair, &admin, "/wallet/add-coins", gift).await;
    assert_eq!(
        (given.status, &given.body["new_balance"]),
        (200, &json!(315))
    );
    let (mut coins, mut bonus_coins) = load_both_coins(&pair).await;
    assert_eq!((coins, bonus_coins), (315, 15));

    let (mut socket, _) = open(&pair.app, "/ws/calls", &pair.listener).await;
    // The gift pays for a minute and a half, and the third call at the latest is paid with bought coins alone.
    let mut earned_coins = 0;
    for _ in 0..3 {
        let call_id = pair.start_call().await;
        let ended = pair.end_call(&pair.caller, call_id).await;
        assert_eq!(ended.status, 200, "{ended:?}");
        let spent = ended.body["coins_spent"].as_i64().expect("coins");
        let bought = spent - spent.min(bonus_coins);
        // A minute of ten coins earns a rupee.
        let tenths = ended.body["listener_money_earned"].as_f64().expect("money") * 10.0;
        assert_eq!(format!("{tenths:.0}"), bought.to_string(), "{ended:?}");
        let is_end = |message: &Value| {
            message["type"] == "call_ended" && message["data"]["call_id"] == call_id
        };
        let published = socket.receive_matching("the end", WAIT_MAX, is_end).await;
        let published = published.expect("an end")["data"].clone();
        for field in ["coins_spent", "listener_money_earned"] {
            assert_eq!(published[field], ended.body[field], "{field}: {published}");
        }
        coins -= spent;
        bonus_coins -= spent - bought;
        earned_coins += bought;
        assert_eq!(load_both_coins(&pair).await, (coins, bonus_coins));
    }
    assert_eq!(bonus_coins, 0);
    let earned = pair.load_earned().await.as_f64().expect("money") * 10.0;
    assert_eq!(format!("{earned:.0}"), earned_coins.to_string());
    assert_books_are_right().await;
}

#[tokio::test]
async fn the_sandbox_accepts_no_notifications() {
    let pair = CallPair::sign_up_without_coins().await;
    let notice = pair.app.post("/payments/webhook");
    let notice = notice.header("x-razorpay-event-id", "1").json(&json!({}));
    assert_problem(&notice.answer().await, 404, "no_such_provider");
}
