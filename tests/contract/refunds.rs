//! Sections 6 and 9: what a payment provider takes back is told on the socket. The sandbox takes nothing
//! back, so these tests have a wallet of their own whose provider is Razorpay, as its documentation of
//! orders and webhooks has it.

use aws_lc_rs::hmac;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use talktime_client::{App, Role};
use talktime_tests::replica::{Replica, SecondService, second_gateway, second_wallet};
use talktime_tests::{Answered, WAIT_MAX, app, assert_books_are_right};
use tokio::net::TcpListener;

use crate::sockets::{assert_quiet, open};

const WEBHOOK_SECRET: &str = "signs what the provider tells";

/// `POST /v1/orders` of the provider.
async fn open_order(Json(order): Json<Value>) -> Json<Value> {
    let id = format!("order_{}", order["receipt"].as_str().expect("a receipt"));
    Json(json!({"id": id, "entity": "order", "amount": order["amount"], "status": "created"}))
}

/// Listens as the provider; answers where.
async fn provider() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let router = Router::new().route("/v1/orders", post(open_order));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/v1")
}

/// A gateway whose wallet has this provider.
async fn with_provider() -> (Replica, SecondService) {
    let wallet = second_wallet(&[
        ("TALKTIME_WALLET__PAYMENTS__PROVIDER", "razorpay"),
        (
            "TALKTIME_WALLET__PAYMENTS__RAZORPAY__API_URL",
            &provider().await,
        ),
        (
            "TALKTIME_WALLET__PAYMENTS__RAZORPAY__KEY_ID",
            "rzp_test_key",
        ),
        (
            "TALKTIME_WALLET__PAYMENTS__RAZORPAY__KEY_SECRET",
            "opens orders",
        ),
        (
            "TALKTIME_WALLET__PAYMENTS__RAZORPAY__WEBHOOK_SECRET",
            WEBHOOK_SECRET,
        ),
    ])
    .await;
    let gateway = second_gateway(&[("TALKTIME_GATEWAY__PEERS__WALLET", &wallet.url)]).await;
    (gateway, wallet)
}

/// The provider tells of something that happened, as it signs it.
async fn tell(gateway: &App, event: &str, payload: Value) {
    let body = json!({"entity": "event", "event": event, "payload": payload}).to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA256, WEBHOOK_SECRET.as_bytes());
    let signature = hex::encode(hmac::sign(&key, body.as_bytes()));
    let notice = gateway
        .post("/payments/webhook")
        .header("x-razorpay-signature", &signature)
        // The same for the same notice, and for no other.
        .header("x-razorpay-event-id", &signature)
        .body("application/json", body);
    let heard = notice.answer().await;
    assert_eq!(heard.status, 200, "{event}: {heard:?}");
}

#[tokio::test]
async fn a_refund_reaches_the_socket_of_who_had_paid() {
    let (gateway, _wallet) = with_provider().await;
    let app = app().await;
    let (payer, other) = (app.sign_up(Role::User).await, app.sign_up(Role::User).await);
    let (mut own, _) = open(&app, "/ws/notifications", &payer).await;
    let (mut others, _) = open(&app, "/ws/notifications", &other).await;
    let order = gateway.app.post("/payments/orders").of(&payer);
    let order = order.json(&json!({"amount_rupees": 150})).answer().await;
    assert_eq!(order.status, 200, "{order:?}");
    let order_id = order.body["order_id"].as_str().expect("an order");
    let payment = json!({"entity": {
        "id": format!("pay_{order_id}"), "entity": "payment", "amount": 15_000, "currency": "INR",
        "status": "captured", "order_id": order_id, "method": "upi"
    }});
    tell(
        &gateway.app,
        "payment.captured",
        json!({"payment": payment}),
    )
    .await;
    let paid = app.balance(&payer).await.expect("a balance");
    assert_eq!(paid.body["balance_coins"], 300, "{paid:?}");

    let refund = json!({"entity": {"id": format!("rfnd_{order_id}"), "amount": 15_000}});
    let refunded = json!({"payment": payment, "refund": refund});
    tell(&gateway.app, "refund.processed", refunded).await;
    let reversed = own.next_of_type("payment_reversed", WAIT_MAX).await;
    let reversed = reversed.expect("told");
    let expected = json!({
        "user_id": payer.user_id, "order_id": order_id, "reason": "refund",
        "coins_taken": 300, "debt_coins": 0, "balance_coins": 0
    });
    assert_eq!(reversed["data"], expected, "{reversed}");
    assert_quiet(&mut others).await;
    assert_books_are_right().await;
}
