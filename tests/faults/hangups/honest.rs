//! Clients that wait for every answer, beside disconnecting ones.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use sqlx::PgPool;
use talktime_client::{ApiRequest, AppUser};
use talktime_tests::{CallPair, ExpectAnswer, wait_for};

const COINS_PER_RECHARGE: i64 = 300;
const COINS_PER_MINUTE: i64 = 10;

/// The results that were acknowledged to a pair.
#[derive(Default)]
pub(super) struct AcknowledgedResults {
    pub(super) recharges: i64,
    minutes: i64,
    order_ids: Vec<String>,
    rated_call_ids: Vec<i64>,
    withdrawal_ids: Vec<i64>,
    /// Answers that required another attempt.
    pub(super) refusals: usize,
}

/// A pair that waits for every answer, and repeats a request with the same key if required.
pub(super) struct HonestPair<'a> {
    pair: &'a CallPair,
    acknowledged: AcknowledgedResults,
    requests: usize,
}

impl<'a> HonestPair<'a> {
    pub(super) fn new(pair: &'a CallPair) -> Self {
        Self {
            pair,
            acknowledged: AcknowledgedResults::default(),
            requests: 0,
        }
    }

    /// Orders, recharges, calls, rates and withdraws in rounds until `end`.
    pub(super) async fn run_until(mut self, end: Instant) -> AcknowledgedResults {
        self.add_bank_details().await;
        while Instant::now() < end {
            self.order_and_recharge().await;
            let call_id = self.make_call().await;
            self.rate_call(call_id).await;
            self.withdraw_rupee().await;
        }
        self.acknowledged
    }

    async fn add_bank_details(&mut self) {
        let account = json!({
            "account_holder_name": "Devi Rao", "account_number": "123456789012",
            "ifsc_code": "HDFC0ABC123"
        });
        let pair = self.pair;
        let build_request = || {
            pair.app
                .put("/wallet/bank-details")
                .as_user(&pair.listener)
                .json(&account)
        };
        self.request_until_accepted("bank details", build_request)
            .await;
    }

    async fn order_and_recharge(&mut self) {
        let order = json!({"amount_rupees": 150});
        let order = self
            .post(&self.pair.caller, "/payments/orders", &order)
            .await;
        let order_id = order["order_id"].as_str().expect("an order id");
        self.acknowledged.order_ids.push(order_id.to_owned());
        let recharge = json!({"amount_rupees": 150, "payment_method": "upi"});
        self.post(&self.pair.caller, "/calls/recharge", &recharge)
            .await;
        self.acknowledged.recharges += 1;
    }

    async fn make_call(&mut self) -> i64 {
        let start = json!({"listener_id": self.pair.listener.user_id, "call_type": "audio"});
        let started = self.post(&self.pair.caller, "/calls/start", &start).await;
        let call_id = started["call_id"].as_i64().expect("a call id");
        let end = json!({"call_id": call_id});
        self.post(&self.pair.caller, "/calls/end", &end).await;
        let receipt = wait_for("the receipt", || async {
            let request = self.pair.app.get(&format!("/calls/{call_id}"));
            let receipt = request.as_user(&self.pair.caller).answer().await;
            (receipt.status == 200 && receipt.body["status"] != "ongoing").then_some(receipt.body)
        })
        .await;
        self.acknowledged.minutes += receipt["duration_minutes"].as_i64().expect("minutes");
        call_id
    }

    async fn rate_call(&mut self, call_id: i64) {
        let path = format!("/calls/{call_id}/rating");
        self.post(&self.pair.caller, &path, &json!({"stars": 5}))
            .await;
        self.acknowledged.rated_call_ids.push(call_id);
    }

    async fn withdraw_rupee(&mut self) {
        let amount = json!({"amount": 1});
        let withdrawn = self
            .post(&self.pair.listener, "/wallet/withdraw", &amount)
            .await;
        let withdrawal_id = withdrawn["withdrawal_id"]
            .as_i64()
            .expect("a withdrawal id");
        self.acknowledged.withdrawal_ids.push(withdrawal_id);
    }

    async fn post(&mut self, person: &AppUser, path: &str, body: &Value) -> Value {
        self.requests += 1;
        let (app, key) = (&self.pair.app, self.requests.to_string());
        let build_request = || {
            app.post(path)
                .as_user(person)
                .header("idempotency-key", &key)
                .json(body)
        };
        self.request_until_accepted(path, build_request).await
    }

    /// Repeats a request until it is accepted; any refusal that is not temporary fails the test.
    async fn request_until_accepted(
        &mut self,
        description: &str,
        build_request: impl Fn() -> ApiRequest,
    ) -> Value {
        let refusals = AtomicUsize::new(0);
        let answer = wait_for(description, || async {
            let answer = build_request().send().await.ok();
            let is_repeated = refusals.load(Ordering::Relaxed) > 0;
            let answer = answer.filter(|answer| match answer.status {
                503 | 504 => false,
                // A failed start keeps both people busy until it is undone, and a rating whose answer was late
                // exists.
                409 => !is_repeated || answer.code() == "already_rated",
                _ => true,
            });
            if answer.is_none() {
                refusals.fetch_add(1, Ordering::Relaxed);
            }
            answer
        })
        .await;
        let refusals = refusals.into_inner();
        self.acknowledged.refusals += refusals;
        let exists = refusals > 0 && answer.status == 409;
        assert!(answer.status < 300 || exists, "{description}: {answer:?}");
        answer.body
    }
}

/// Asserts that every acknowledged result exists, and that the coins match.
pub(super) async fn assert_nothing_missing(
    database: &PgPool,
    pair: &CallPair,
    acknowledged: &AcknowledgedResults,
) {
    let orders: i64 =
        sqlx::query_scalar("SELECT count(*) FROM wallet.payment_orders WHERE order_id = ANY($1)")
            .bind(&acknowledged.order_ids)
            .fetch_one(database)
            .await
            .expect("counted");
    assert_eq!(
        usize::try_from(orders),
        Ok(acknowledged.order_ids.len()),
        "orders"
    );
    let ratings: i64 =
        sqlx::query_scalar("SELECT count(*) FROM calls.call_ratings WHERE call_id = ANY($1)")
            .bind(&acknowledged.rated_call_ids)
            .fetch_one(database)
            .await
            .expect("counted");
    assert_eq!(
        usize::try_from(ratings),
        Ok(acknowledged.rated_call_ids.len()),
        "ratings"
    );
    let withdrawals: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM wallet.user_withdrawals WHERE withdrawal_id = ANY($1)",
    )
    .bind(&acknowledged.withdrawal_ids)
    .fetch_one(database)
    .await
    .expect("counted");
    assert_eq!(
        usize::try_from(withdrawals),
        Ok(acknowledged.withdrawal_ids.len()),
        "withdrawals"
    );
    let coins = COINS_PER_RECHARGE * (1 + acknowledged.recharges);
    assert_eq!(
        pair.load_coins().await,
        coins - COINS_PER_MINUTE * acknowledged.minutes,
        "coins"
    );
}
