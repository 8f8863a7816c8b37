//! A stand-in for Razorpay that speaks its documented API, signatures included: orders are opened with
//! a key, payments of an order are listed, and changes are reported by signed webhooks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::hmac;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use talktime_wallet::provider::PaymentProvider;
use talktime_wallet::provider::razorpay::{RazorpayClient, RazorpayConfig};

const KEY_SECRET: &str = "the secret half";
const WEBHOOK_SECRET: &str = "the webhook's";
/// The instant at which every order is opened, in seconds since 1970: that of new books.
const OPENED_AT: i64 = 1_737_100_800;
/// `Basic` of `rzp_test_key:the secret half`.
const AUTHORIZATION: &str = "Basic cnpwX3Rlc3Rfa2V5OnRoZSBzZWNyZXQgaGFsZg==";

#[derive(Default)]
struct ProviderAccount {
    /// Amounts of orders, in paise.
    orders: HashMap<String, i64>,
    /// Orders in the sequence in which they were opened, as the API lists them.
    listed: Vec<Value>,
    /// Payments by order.
    payments: HashMap<String, Vec<Value>>,
    /// Orders whose requests are all answered with this status.
    broken: HashMap<String, StatusCode>,
    /// Requests about orders.
    request_count: usize,
    is_down: bool,
}

impl ProviderAccount {
    /// An order with what was paid for it.
    fn show_order(&self, order: &Value) -> Value {
        let order_id = order["id"].as_str().expect("an id");
        let payments = self.payments.get(order_id).into_iter().flatten();
        let captured = payments.filter(|payment| payment["status"] == "captured");
        let paid: i64 = captured
            .filter_map(|payment| payment["amount"].as_i64())
            .sum();
        let mut order = order.clone();
        order["amount_paid"] = paid.into();
        order
    }
}

/// A server that listens at the provider's address.
#[derive(Clone, Default)]
pub(crate) struct StandIn {
    account: Arc<Mutex<ProviderAccount>>,
}

/// A message as it arrives at our address.
pub(crate) struct SignedMessage {
    pub(crate) body: String,
    pub(crate) signature: String,
}

impl StandIn {
    /// Listens, and returns the stand-in with a provider that uses it.
    pub(crate) async fn listen() -> (Self, PaymentProvider) {
        let stand_in = Self::default();
        let router = Router::new()
            .route("/v1/orders", post(open_order).get(list_orders))
            .route("/v1/orders/{order_id}/payments", get(payments))
            .with_state(stand_in.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = RazorpayConfig {
            key_id: "rzp_test_key".to_owned(),
            key_secret: KEY_SECRET.into(),
            webhook_secret: WEBHOOK_SECRET.into(),
            api_url: format!("http://{address}/v1/"),
        };
        let razorpay = RazorpayClient::new(&config).expect("a client");
        (stand_in, PaymentProvider::Razorpay(Arc::new(razorpay)))
    }

    fn account(&self) -> MutexGuard<'_, ProviderAccount> {
        self.account.lock().expect("not poisoned")
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.account().is_down = is_down;
    }

    /// Makes every request about this order be answered with this status.
    pub(crate) fn break_order(&self, order_id: &str, status: StatusCode) {
        self.account().broken.insert(order_id.to_owned(), status);
    }

    /// Returns the number of requests about orders so far.
    pub(crate) fn request_count(&self) -> usize {
        self.account().request_count
    }

    /// Pays an order as in the checkout, and returns the payment.
    pub(crate) fn pay(&self, order_id: &str) -> Value {
        self.pay_with(order_id, &json!({}))
    }

    /// Adds a payment of an order with other fields than a good one, and returns it.
    pub(crate) fn pay_with(&self, order_id: &str, fields: &Value) -> Value {
        let mut account = self.account();
        let amount = account.orders[order_id];
        let payments = account.payments.entry(order_id.to_owned()).or_default();
        let mut payment = json!({
            "id": format!("pay_{order_id}_{}", payments.len()), "entity": "payment",
            "amount": amount, "currency": "INR", "status": "captured", "order_id": order_id,
            "method": "netbanking", "amount_refunded": 0
        });
        for (name, value) in fields.as_object().expect("fields") {
            payment[name] = value.clone();
        }
        payments.push(payment.clone());
        payment
    }

    /// Changes fields of a payment as the API shows it, and returns the payment.
    pub(crate) fn change(&self, payment: &Value, fields: &Value) -> Value {
        let mut account = self.account();
        let order_id = payment["order_id"].as_str().expect("an order");
        let payments = account.payments.get_mut(order_id).expect("paid");
        let known = payments
            .iter_mut()
            .find(|known| known["id"] == payment["id"]);
        let known = known.expect("known");
        for (name, value) in fields.as_object().expect("fields") {
            known[name] = value.clone();
        }
        known.clone()
    }

    /// Adds a failed payment of an order.
    pub(crate) fn fail(&self, order_id: &str) {
        let mut account = self.account();
        let payments = account.payments.entry(order_id.to_owned()).or_default();
        payments.push(json!({
            "id": "pay_failed", "entity": "payment", "amount": 15_000, "currency": "INR",
            "status": "failed", "order_id": order_id, "method": "upi"
        }));
    }

    /// The signature that the checkout hands to the app with the two ids.
    pub(crate) fn signature(order_id: &str, payment_id: &str) -> String {
        sign(KEY_SECRET, &format!("{order_id}|{payment_id}"))
    }

    /// The provider's signature of a body.
    pub(crate) fn webhook_signature(body: &str) -> String {
        sign(WEBHOOK_SECRET, body)
    }

    /// A webhook about a payment, with more entities where the event has them.
    pub(crate) fn message(event: &str, payment: &Value, more: &Value) -> SignedMessage {
        let mut payload = json!({"payment": {"entity": payment}});
        for (name, entity) in more.as_object().expect("entities") {
            payload[name] = json!({"entity": entity});
        }
        let body = json!({
            "entity": "event", "account_id": "acc_1", "event": event, "contains": ["payment"],
            "payload": payload, "created_at": 1_737_100_800
        })
        .to_string();
        SignedMessage {
            signature: sign(WEBHOOK_SECRET, &body),
            body,
        }
    }
}

fn sign(secret: &str, message: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hex::encode(hmac::sign(&key, message.as_bytes()))
}

fn is_let_in(headers: &HeaderMap) -> bool {
    headers
        .get("authorization")
        .is_some_and(|value| value == AUTHORIZATION)
}

async fn open_order(
    State(stand_in): State<StandIn>,
    headers: HeaderMap,
    Json(order): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let mut account = stand_in.account();
    if account.is_down {
        return (StatusCode::BAD_GATEWAY, Json(json!({})));
    }
    if !is_let_in(&headers) {
        return (StatusCode::UNAUTHORIZED, Json(json!({"error": {}})));
    }
    assert_eq!(order["currency"], "INR");
    assert_eq!(order["payment"]["capture"], "automatic");
    let capture_options = &order["payment"]["capture_options"];
    assert_eq!(capture_options["automatic_expiry_period"], 4_320);
    assert_eq!(capture_options["refund_speed"], "normal");
    let amount = order["amount"].as_i64().expect("paise");
    let receipt = order["receipt"].as_str().expect("a receipt");
    assert!(receipt.len() <= 40, "the documented length");
    let order_id = format!("order_{receipt}");
    account.orders.insert(order_id.clone(), amount);
    let opened = json!({
        "id": order_id, "entity": "order", "amount": amount, "amount_paid": 0,
        "currency": "INR", "receipt": receipt, "status": "created", "attempts": 0,
        "notes": order["notes"], "created_at": OPENED_AT
    });
    account.listed.push(opened.clone());
    (StatusCode::OK, Json(opened))
}

async fn list_orders(
    State(stand_in): State<StandIn>,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, usize>>,
) -> (StatusCode, Json<Value>) {
    let account = stand_in.account();
    if account.is_down || !is_let_in(&headers) {
        return (StatusCode::BAD_GATEWAY, Json(json!({})));
    }
    assert!(query["count"] <= 100, "the documented maximum");
    let opened_at = usize::try_from(OPENED_AT).expect("after 1970");
    let is_asked = (query["from"]..=query["to"]).contains(&opened_at);
    let page = account.listed.iter().rev().filter(|_| is_asked);
    let items: Vec<Value> = page
        .skip(query["skip"])
        .take(query["count"])
        .map(|order| account.show_order(order))
        .collect();
    let found = json!({"entity": "collection", "count": items.len(), "items": items});
    (StatusCode::OK, Json(found))
}

async fn payments(
    State(stand_in): State<StandIn>,
    headers: HeaderMap,
    Path(order_id): Path<String>,
) -> (StatusCode, Json<Value>) {
    let mut account = stand_in.account();
    account.request_count += 1;
    if account.is_down || !is_let_in(&headers) {
        return (StatusCode::BAD_GATEWAY, Json(json!({})));
    }
    if let Some(status) = account.broken.get(&order_id) {
        return (
            *status,
            Json(json!({"error": {"code": "BAD_REQUEST_ERROR"}})),
        );
    }
    let items = account.payments.get(&order_id).cloned().unwrap_or_default();
    let found = json!({"entity": "collection", "count": items.len(), "items": items});
    (StatusCode::OK, Json(found))
}
