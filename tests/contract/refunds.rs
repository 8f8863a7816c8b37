//! Sections 6 and 9: captures, refusals and refunds of a payment provider. The sandbox has none of these, so these
//! tests start a wallet whose provider imitates Razorpay, by its documentation of orders and webhooks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use talktime_client::{ApiAnswer, ApiClient, AppUser, UserRole};
use talktime_tests::replica::{GatewayReplica, ServiceReplica, start_gateway, start_wallet};
use talktime_tests::{ExpectAnswer, WAIT_MAX, assert_books_are_right, connect_app};
use tokio::net::TcpListener;

use crate::assert_problem;
use crate::sockets::{assert_quiet, open};

const KEY_SECRET: &str = "opens orders";
const WEBHOOK_SECRET: &str = "signs what the provider tells";

/// The payments that the API of the provider returns, by order.
type Payments = Arc<Mutex<HashMap<String, Vec<Value>>>>;

/// Answers `POST /v1/orders` of the provider.
async fn open_order(Json(order): Json<Value>) -> Json<Value> {
    assert_eq!(order["payment"]["capture"], "automatic");
    let id = format!("order_{}", order["receipt"].as_str().expect("a receipt"));
    Json(json!({"id": id, "entity": "order", "amount": order["amount"], "status": "created"}))
}

/// Answers `GET /v1/orders/{order_id}/payments` of the provider.
async fn list_payments(
    State(payments): State<Payments>,
    Path(order_id): Path<String>,
) -> Json<Value> {
    let payments = payments.lock().expect("not poisoned");
    let items = payments.get(&order_id).cloned().unwrap_or_default();
    Json(json!({"entity": "collection", "count": items.len(), "items": items}))
}

/// Starts a server that imitates the provider; returns its address.
async fn serve_provider(payments: Payments) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let router = Router::new()
        .route("/v1/orders", post(open_order))
        .route("/v1/orders/{order_id}/payments", get(list_payments))
        .with_state(payments);
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/v1")
}

/// Starts a gateway whose wallet uses this provider.
async fn start_with_provider(payments: Payments) -> (GatewayReplica, ServiceReplica) {
    let wallet = start_wallet(&[
        ("TALKTIME_WALLET__PAYMENTS__PROVIDER", "razorpay"),
        (
            "TALKTIME_WALLET__PAYMENTS__RAZORPAY__API_URL",
            &serve_provider(payments).await,
        ),
        (
            "TALKTIME_WALLET__PAYMENTS__RAZORPAY__KEY_ID",
            "rzp_test_key",
        ),
        (
            "TALKTIME_WALLET__PAYMENTS__RAZORPAY__KEY_SECRET",
            KEY_SECRET,
        ),
        (
            "TALKTIME_WALLET__PAYMENTS__RAZORPAY__WEBHOOK_SECRET",
            WEBHOOK_SECRET,
        ),
    ])
    .await;
    let gateway = start_gateway(&[("TALKTIME_GATEWAY__PEERS__WALLET", &wallet.url)]).await;
    (gateway, wallet)
}

fn sign(secret: &str, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hex::encode(hmac::sign(&key, text.as_bytes()))
}

/// Sends a signed notification with this body.
async fn notify_with(gateway: &ApiClient, body: String) -> ApiAnswer {
    let signature = sign(WEBHOOK_SECRET, &body);
    let notice = gateway
        .post("/payments/webhook")
        .header("x-razorpay-signature", &signature)
        // A repeated notification has the same id.
        .header("x-razorpay-event-id", &signature)
        .body("application/json", body);
    notice.answer().await
}

/// Sends a signed notification of an event.
async fn notify(gateway: &ApiClient, event: &str, payload: Value) {
    let body = json!({"entity": "event", "event": event, "payload": payload}).to_string();
    let received = notify_with(gateway, body).await;
    assert_eq!(received.status, 200, "{event}: {received:?}");
}

/// Opens an order for 300 coins at 150 rupees.
async fn order(gateway: &ApiClient, payer: &AppUser) -> String {
    let order = gateway.post("/payments/orders").as_user(payer);
    let order = order.json(&json!({"amount_rupees": 150})).answer().await;
    assert_eq!(order.status, 200, "{order:?}");
    order.body["order_id"]
        .as_str()
        .expect("an order")
        .to_owned()
}

fn payment(order_id: &str, amount: i64, status: &str) -> Value {
    json!({
        "id": format!("pay_{order_id}"), "entity": "payment", "amount": amount, "currency": "INR",
        "status": status, "order_id": order_id, "method": "upi", "amount_refunded": 0
    })
}

/// Sends the proof that the checkout returns to the app.
async fn prove(gateway: &ApiClient, payer: &AppUser, order_id: &str) -> ApiAnswer {
    let payment_id = format!("pay_{order_id}");
    let proof = json!({
        "amount_rupees": 150, "payment_method": "upi", "razorpay_order_id": order_id,
        "razorpay_payment_id": payment_id,
        "razorpay_signature": sign(KEY_SECRET, &format!("{order_id}|{payment_id}"))
    });
    gateway
        .post("/calls/recharge")
        .as_user(payer)
        .json(&proof)
        .answer()
        .await
}

async fn load_coins(app: &ApiClient, payer: &AppUser) -> Value {
    let balance = app.load_balance(payer).await.expect("a balance");
    balance.body["balance_coins"].clone()
}

#[tokio::test]
async fn a_payment_is_credited_once_the_provider_has_captured_it() {
    let payments = Payments::default();
    let (gateway, _wallet) = start_with_provider(payments.clone()).await;
    let app = connect_app().await;
    let payer = app.sign_up(UserRole::User).await;
    let order_id = order(&gateway.app, &payer).await;
    let report = |status| {
        let reported = vec![payment(&order_id, 15_000, status)];
        let mut payments = payments.lock().expect("not poisoned");
        payments.insert(order_id.clone(), reported);
    };
    report("authorized");
    let pending = prove(&gateway.app, &payer, &order_id).await;
    assert_problem(&pending, 402, "payment_pending");
    assert_eq!(load_coins(&app, &payer).await, 0);
    report("captured");
    let paid = prove(&gateway.app, &payer, &order_id).await;
    assert_eq!((paid.status, &paid.body["coins_added"]), (200, &json!(300)));

    let mut refunded = payment(&order_id, 15_000, "refunded");
    refunded["amount_refunded"] = json!(15_000);
    let refund = json!({"entity": {"id": format!("rfnd_{order_id}"), "amount": 15_000}});
    let payload = json!({"payment": {"entity": refunded}, "refund": refund});
    notify(&gateway.app, "refund.processed", payload).await;
    assert_eq!(load_coins(&app, &payer).await, 0);
    let again = prove(&gateway.app, &payer, &order_id).await;
    assert_problem(&again, 409, "payment_reversed");
    let history = app
        .get("/calls/recharge/history")
        .as_user(&payer)
        .answer()
        .await;
    assert_eq!(history.body["total_recharged"], 0, "{history:?}");
    assert_eq!(history.body["total_coins_added"], 0, "{history:?}");
    assert_books_are_right().await;
}

#[tokio::test]
async fn a_payment_that_differs_from_its_order_is_not_credited() {
    let (gateway, _wallet) = start_with_provider(Payments::default()).await;
    let app = connect_app().await;
    let payer = app.sign_up(UserRole::User).await;
    let order_id = order(&gateway.app, &payer).await;
    let underpaid = payment(&order_id, 100, "captured");
    let payload = json!({"payment": {"entity": underpaid}});
    notify(&gateway.app, "payment.captured", payload).await;
    assert_eq!(load_coins(&app, &payer).await, 0);
    let refund = json!({"entity": {"id": format!("rfnd_{order_id}"), "amount": 100}});
    let payload = json!({"payment": {"entity": underpaid}, "refund": refund});
    notify(&gateway.app, "refund.processed", payload).await;
    assert_eq!(load_coins(&app, &payer).await, 0);
    assert_books_are_right().await;
}

#[tokio::test]
async fn every_signed_notification_is_accepted() {
    let (gateway, _wallet) = start_with_provider(Payments::default()).await;
    let app = connect_app().await;
    let payer = app.sign_up(UserRole::User).await;
    let first = order(&gateway.app, &payer).await;
    let second = order(&gateway.app, &payer).await;
    let paid = payment(&first, 15_000, "captured");
    let mut twice = paid.clone();
    twice["order_id"] = json!(second);
    for payment in [&paid, &twice] {
        let payload = json!({"payment": {"entity": payment}});
        notify(&gateway.app, "payment.captured", payload).await;
    }
    assert_eq!(
        load_coins(&app, &payer).await,
        300,
        "one payment pays one order"
    );
    for event in ["settlement.processed", "payment.captured", "new.event"] {
        notify(&gateway.app, event, json!({"other": {"entity": {}}})).await;
    }
    for body in ["[]", "not JSON", "{}"] {
        let received = notify_with(&gateway.app, body.to_owned()).await;
        assert_eq!(received.status, 200, "{body}: {received:?}");
    }
    let forged = gateway
        .app
        .post("/payments/webhook")
        .header("x-razorpay-signature", &"0".repeat(64))
        .body("application/json", "{}".to_owned());
    assert_problem(&forged.answer().await, 400, "invalid_signature");
    assert_books_are_right().await;
}

#[tokio::test]
async fn a_refund_is_sent_to_the_socket_of_the_buyer() {
    let (gateway, _wallet) = start_with_provider(Payments::default()).await;
    let app = connect_app().await;
    let (payer, other) = (
        app.sign_up(UserRole::User).await,
        app.sign_up(UserRole::User).await,
    );
    let (mut own, _) = open(&app, "/ws/notifications", &payer).await;
    let (mut others, _) = open(&app, "/ws/notifications", &other).await;
    let order_id = order(&gateway.app, &payer).await;
    let payment = json!({"entity": payment(&order_id, 15_000, "captured")});
    notify(
        &gateway.app,
        "payment.captured",
        json!({"payment": payment}),
    )
    .await;
    let paid = app.load_balance(&payer).await.expect("a balance");
    assert_eq!(paid.body["balance_coins"], 300, "{paid:?}");

    let refund = json!({"entity": {"id": format!("rfnd_{order_id}"), "amount": 15_000}});
    let refunded = json!({"payment": payment, "refund": refund});
    notify(&gateway.app, "refund.processed", refunded).await;
    let reversed = own.receive_type("payment_reversed", WAIT_MAX).await;
    let reversed = reversed.expect("a message");
    let expected = json!({
        "user_id": payer.user_id, "order_id": order_id, "reason": "refund",
        "coins_taken": 300, "debt_coins": 0, "balance_coins": 0
    });
    assert_eq!(reversed["data"], expected, "{reversed}");
    assert_quiet(&mut others).await;
    assert_books_are_right().await;
}
