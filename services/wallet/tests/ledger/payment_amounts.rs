//! Amounts, currencies and states of payments: only a captured payment of the order's amount in
//! rupees brings its coins, whichever way it is reported.

use chrono::TimeDelta;
use serde_json::{Value, json};
use talktime_kit::paging::ListPageRequest;
use talktime_wallet::ledger::{PaymentProof, RechargeRequest};

use crate::books::{CALLER, TestBooks};
use crate::payments::{captured, charged_back, id_of, notify, ordered, proof, prove, refunded};
use crate::razorpay::{SignedMessage, StandIn};
use crate::reconciling::reconcile_after;

/// The outcome of a payment, as it is recorded.
async fn outcome(books: &TestBooks, payment: &Value) -> Option<String> {
    sqlx::query_scalar("SELECT outcome FROM wallet.order_payments WHERE payment_id = $1")
        .bind(id_of(payment))
        .fetch_optional(&books.database.app_pool)
        .await
        .expect("readable")
}

#[tokio::test]
async fn an_underpaid_order_is_not_credited_whoever_reports_the_payment() {
    for amount in [100, 0, -5, 14_999] {
        let (books, stand_in, order_id) = ordered().await;
        let payment = stand_in.pay_with(&order_id, &json!({"amount": amount}));
        notify(&books, &captured(&payment), "event_1")
            .await
            .expect("received");
        assert_eq!(
            reconcile_after(&books, TimeDelta::minutes(1)).await,
            0,
            "{amount}"
        );
        let proved = prove(&books, &proof(&order_id, &payment)).await;
        assert_eq!(proved.expect_err("underpaid"), "payment_mismatch");
        assert_eq!(books.load_coins(CALLER).await, 0, "{amount}");
        assert_eq!(
            outcome(&books, &payment).await.as_deref(),
            Some("underpaid")
        );
        let refund = refunded(&payment, "rfnd_1", 100);
        notify(&books, &refund, "event_2").await.expect("received");
        assert_eq!(books.load_coins(CALLER).await, 0, "{amount}");
        books.assert_consistent().await;
    }
}

#[tokio::test]
async fn a_good_payment_after_an_underpaid_one_still_credits_its_order() {
    let (books, stand_in, order_id) = ordered().await;
    let little = stand_in.pay_with(&order_id, &json!({"amount": 100}));
    notify(&books, &captured(&little), "event_1")
        .await
        .expect("received");
    let right = stand_in.pay(&order_id);
    let paid = prove(&books, &proof(&order_id, &right)).await;
    assert_eq!(paid.expect("paid").coins_added, 300);
    books.assert_consistent().await;
}

#[tokio::test]
async fn an_overpaid_order_brings_the_ordered_coins() {
    let (books, stand_in, order_id) = ordered().await;
    let payment = stand_in.pay_with(&order_id, &json!({"amount": 30_000}));
    notify(&books, &captured(&payment), "event_1")
        .await
        .expect("received");
    assert_eq!(books.load_coins(CALLER).await, 300);
    notify(&books, &refunded(&payment, "rfnd_1", 15_000), "event_2")
        .await
        .expect("received");
    assert_eq!(
        books.load_coins(CALLER).await,
        300,
        "what was paid too much"
    );
    notify(&books, &refunded(&payment, "rfnd_2", 15_000), "event_3")
        .await
        .expect("received");
    assert_eq!(books.load_coins(CALLER).await, 0, "all of it");
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_full_refund_of_a_discounted_payment_takes_every_coin() {
    let (books, stand_in, order_id) = ordered().await;
    let offer = json!({"amount": 14_000, "offer_id": "offer_1"});
    let payment = stand_in.pay_with(&order_id, &offer);
    let paid = prove(&books, &proof(&order_id, &payment))
        .await
        .expect("paid");
    assert_eq!((paid.coins_added, paid.amount_paise), (300, 14_000));
    let page = ListPageRequest::new(1, 20).expect("a page");
    let (_, totals) = books
        .ledger
        .list_purchases(CALLER, page)
        .await
        .expect("listed");
    assert_eq!((totals.paise, totals.coins), (14_000, 300));
    notify(&books, &refunded(&payment, "rfnd_1", 14_000), "event_1")
        .await
        .expect("received");
    assert_eq!(books.load_coins(CALLER).await, 0);
    let (found, totals) = books
        .ledger
        .list_purchases(CALLER, page)
        .await
        .expect("listed");
    assert_eq!(found.entries[0].status, "reversed");
    assert_eq!((totals.paise, totals.coins), (0, 0));
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_payment_in_dollars_is_not_credited_whoever_reports_it() {
    let (books, stand_in, order_id) = ordered().await;
    let payment = stand_in.pay_with(&order_id, &json!({"currency": "USD"}));
    let proved = prove(&books, &proof(&order_id, &payment)).await;
    assert_eq!(proved.expect_err("not rupees"), "payment_mismatch");
    notify(&books, &captured(&payment), "event_1")
        .await
        .expect("received");
    assert_eq!(reconcile_after(&books, TimeDelta::minutes(1)).await, 0);
    assert_eq!(books.load_coins(CALLER).await, 0);
    let recorded = outcome(&books, &payment).await;
    assert_eq!(recorded.as_deref(), Some("foreign_currency"));
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_proof_before_the_capture_waits_for_it() {
    let (books, stand_in, order_id) = ordered().await;
    let payment = stand_in.pay_with(&order_id, &json!({"status": "authorized"}));
    let proof = proof(&order_id, &payment);
    for _ in 0..2 {
        let pending = prove(&books, &proof).await;
        assert_eq!(pending.expect_err("not captured"), "payment_pending");
    }
    notify(
        &books,
        &StandIn::message("payment.authorized", &payment, &json!({})),
        "event_1",
    )
    .await
    .expect("received");
    assert_eq!(books.load_coins(CALLER).await, 0);
    stand_in.change(&payment, &json!({"status": "captured"}));
    let paid = prove(&books, &proof).await.expect("captured");
    assert_eq!(paid.coins_added, 300);
    let requests = stand_in.request_count();
    prove(&books, &proof).await.expect("the same answer");
    assert_eq!(
        stand_in.request_count(),
        requests,
        "our own books have the answer"
    );
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_proof_of_a_payment_that_the_provider_does_not_have_is_refused() {
    let (books, stand_in, order_id) = ordered().await;
    let failed = stand_in.pay_with(&order_id, &json!({"status": "failed"}));
    let proved = prove(&books, &proof(&order_id, &failed)).await;
    assert_eq!(proved.expect_err("failed"), "payment_failed");
    let unknown = json!({"id": "pay_unknown"});
    let proved = prove(&books, &proof(&order_id, &unknown)).await;
    assert_eq!(proved.expect_err("unknown"), "payment_pending");
    stand_in.set_down(true);
    let proved = prove(&books, &proof(&order_id, &failed)).await;
    assert_eq!(proved.expect_err("down"), "payment_provider_unavailable");
    assert_eq!(books.load_coins(CALLER).await, 0);
}

#[tokio::test]
async fn a_proof_of_another_payment_is_refused_once_the_order_is_paid() {
    let (books, stand_in, order_id) = ordered().await;
    let (first, second) = (stand_in.pay(&order_id), stand_in.pay(&order_id));
    prove(&books, &proof(&order_id, &first))
        .await
        .expect("paid");
    let again = prove(&books, &proof(&order_id, &second)).await;
    assert_eq!(again.expect_err("paid before"), "order_already_paid");
    assert_eq!(outcome(&books, &second).await.as_deref(), Some("surplus"));
}

#[tokio::test]
async fn one_payment_named_for_two_orders_credits_the_first() {
    let (books, stand_in, order_id) = ordered().await;
    let other = books.ledger.open_order(CALLER, 15_000, "second").await;
    let other_id = other.expect("opened").order_id;
    let payment = stand_in.pay(&order_id);
    let mut twice = payment.clone();
    twice["order_id"] = json!(other_id);
    notify(&books, &captured(&payment), "event_1")
        .await
        .expect("received");
    notify(&books, &captured(&twice), "event_2")
        .await
        .expect("received and ignored");
    notify(&books, &refunded(&twice, "rfnd_1", 15_000), "event_3")
        .await
        .expect("received and ignored");
    assert_eq!(books.load_coins(CALLER).await, 300);
    books.assert_consistent().await;
}

#[tokio::test]
async fn every_signed_notification_is_accepted() {
    let (books, stand_in, order_id) = ordered().await;
    let payment = stand_in.pay(&order_id);
    let nul = StandIn::message("nul\0in.the.type", &payment, &json!({}));
    let unknown = StandIn::message("settlement.processed", &payment, &json!({}));
    let no_amount = StandIn::message("payment.captured", &json!({"id": "pay_1"}), &json!({}));
    for (n, message) in [nul, unknown, no_amount].iter().enumerate() {
        notify(&books, message, &format!("event_{n}"))
            .await
            .expect("received");
    }
    for (n, body) in [
        "",
        "not JSON",
        "[]",
        "{}",
        r#"{"event": "payment.captured"}"#,
    ]
    .into_iter()
    .enumerate()
    {
        let message = SignedMessage {
            signature: StandIn::webhook_signature(body),
            body: body.to_owned(),
        };
        notify(&books, &message, &format!("body_{n}"))
            .await
            .expect("received");
    }
    assert_eq!(books.load_coins(CALLER).await, 0);
    notify(&books, &captured(&payment), "event\u{fc}")
        .await
        .expect("an id that cannot be kept");
    assert_eq!(books.load_coins(CALLER).await, 300);
}

#[tokio::test]
async fn reversals_in_any_order_and_number_take_each_coin_once() {
    let (books, stand_in, order_id) = ordered().await;
    let payment = stand_in.pay(&order_id);
    let first = refunded(&payment, "rfnd_1", 5_000);
    notify(&books, &first, "event_1").await.expect("received");
    // The same refund in a notification of its own that shows a later state of the payment.
    let mut later = payment.clone();
    later["amount_refunded"] = json!(8_000);
    notify(&books, &refunded(&later, "rfnd_1", 5_000), "event_2")
        .await
        .expect("received");
    assert_eq!(books.load_coins(CALLER).await, 140);
    notify(&books, &refunded(&later, "rfnd_2", 3_000), "event_3")
        .await
        .expect("received");
    assert_eq!(books.load_coins(CALLER).await, 140, "known already");
    notify(&books, &charged_back(&payment, "disp_1", 7_000), "event_4")
        .await
        .expect("received");
    assert_eq!(books.load_coins(CALLER).await, 0);
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_payment_refunded_before_it_was_reported_brings_nothing() {
    let (books, stand_in, order_id) = ordered().await;
    let payment = stand_in.pay(&order_id);
    let refund = refunded(&payment, "rfnd_1", 15_000);
    notify(&books, &refund, "event_1").await.expect("received");
    notify(&books, &captured(&payment), "event_2")
        .await
        .expect("received");
    assert_eq!(books.load_coins(CALLER).await, 0);
    assert_eq!(books.count_events("events.wallet.coins_added").await, 0);
    let proved = RechargeRequest {
        proof: PaymentProof::Razorpay {
            order_id: order_id.clone(),
            payment_id: id_of(&payment),
            signature: StandIn::signature(&order_id, &id_of(&payment)),
        },
        ..proof(&order_id, &payment)
    };
    let proved = prove(&books, &proved).await;
    assert_eq!(proved.expect_err("refunded"), "payment_reversed");
    books.assert_consistent().await;
}
