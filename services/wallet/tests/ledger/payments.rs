//! Payments by proof and by notification, in any order and any number of times, and their reversals.

use chrono::TimeDelta;
use futures::future::join_all;
use serde_json::{Value, json};
use talktime_kit::Error;
use talktime_wallet::ledger::{
    PaymentProof, RechargeOutcome, RechargeRequest, RequestedCoinPurchase,
};

use crate::books::{CALLER, LISTENER, TestBooks, minute, recharge, terms};
use crate::razorpay::{SignedMessage, StandIn};

/// Books with a provider, and an order of 300 coins at 150 rupees.
pub(crate) async fn ordered() -> (TestBooks, StandIn, String) {
    let (stand_in, provider) = StandIn::listen().await;
    let books = TestBooks::with_provider(terms(), provider).await;
    let order = books.ledger.open_order(CALLER, 15_000, "receipt").await;
    let order = order.expect("opened");
    assert_eq!((order.coins, order.provider), (300, "razorpay"));
    assert_eq!(order.public_key.as_deref(), Some("rzp_test_key"));
    (books, stand_in, order.order_id)
}

/// The books of [`ordered`] after the order was paid and 25 minutes cost 250 of its coins, with the payment.
pub(crate) async fn ordered_and_spent() -> (TestBooks, StandIn, Value) {
    let (books, stand_in, order_id) = ordered().await;
    let payment = stand_in.pay(&order_id);
    let paid = prove(&books, &proof(&order_id, &payment)).await;
    paid.expect("paid");
    let minutes: Vec<_> = (1..=25).map(minute).collect();
    books.charge(&minutes).await.expect("charged");
    (books, stand_in, payment)
}

pub(crate) fn id_of(payment: &Value) -> String {
    payment["id"].as_str().expect("an id").to_owned()
}

/// The proof that the app sends after the checkout.
pub(crate) fn proof(order_id: &str, payment: &Value) -> RechargeRequest {
    let payment_id = id_of(payment);
    RechargeRequest {
        proof: PaymentProof::Razorpay {
            order_id: order_id.to_owned(),
            signature: StandIn::signature(order_id, &payment_id),
            payment_id,
        },
        ..recharge("unused")
    }
}

pub(crate) async fn prove(
    books: &TestBooks,
    recharge: &RechargeRequest,
) -> Result<RechargeOutcome, String> {
    let recharged = books.ledger.redeem_recharge(recharge).await;
    recharged.map_err(|error| Error::from(error).code().to_owned())
}

pub(crate) async fn notify(
    books: &TestBooks,
    message: &SignedMessage,
    event_id: &str,
) -> Result<(), String> {
    let handled = books
        .ledger
        .handle_payment_notice(message.body.as_bytes(), &message.signature, event_id)
        .await;
    handled.map_err(|error| Error::from(error).code().to_owned())
}

/// A dispute about a payment that the buyer's bank decided against us.
pub(crate) fn charged_back(payment: &Value, dispute_id: &str, amount_paise: i64) -> SignedMessage {
    let dispute = json!({"id": dispute_id, "entity": "dispute", "amount": amount_paise,
        "payment_id": payment["id"], "status": "lost"});
    StandIn::message(
        "payment.dispute.lost",
        payment,
        &json!({"dispute": dispute}),
    )
}

pub(crate) fn captured(payment: &Value) -> SignedMessage {
    StandIn::message("payment.captured", payment, &json!({}))
}

pub(crate) fn refunded(payment: &Value, refund_id: &str, amount_paise: i64) -> SignedMessage {
    let refund = json!({"id": refund_id, "entity": "refund", "amount": amount_paise,
        "payment_id": payment["id"], "status": "processed"});
    StandIn::message("refund.processed", payment, &json!({"refund": refund}))
}

#[tokio::test]
async fn a_payment_reported_fifty_times_is_credited_once() {
    let (books, stand_in, order_id) = ordered().await;
    let payment = stand_in.pay(&order_id);
    let (proof, captured) = (proof(&order_id, &payment), captured(&payment));
    let paid = StandIn::message("order.paid", &payment, &json!({}));
    let doors = (0..50).map(|n| {
        let (books, proof) = (&books, &proof);
        let message = if n % 2 == 0 { &captured } else { &paid };
        let event_id = format!("event_{}", n % 7);
        async move {
            if n % 3 == 0 {
                prove(books, proof).await.map(|_| ())
            } else {
                notify(books, message, &event_id).await
            }
        }
    });
    for done in join_all(doors).await {
        done.expect("credited, or credited before");
    }
    assert_eq!(books.load_coins(CALLER).await, 300);
    assert_eq!(books.count_events("events.wallet.coins_added").await, 1);
    let first = prove(&books, &proof).await.expect("the first answer");
    assert_eq!((first.coins_added, first.balance_coins), (300, 300));
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_proof_without_a_valid_signature_buys_nothing() {
    let (books, stand_in, order_id) = ordered().await;
    let payment = stand_in.pay(&order_id);
    let right = proof(&order_id, &payment);
    let mut forged = right.clone();
    if let PaymentProof::Razorpay { signature, .. } = &mut forged.proof {
        *signature = StandIn::signature(&order_id, "pay_other");
    }
    let of_other = RechargeRequest {
        user_id: LISTENER,
        ..right.clone()
    };
    let sandbox = RechargeRequest {
        proof: PaymentProof::Sandbox {
            payment_id: id_of(&payment),
        },
        ..right.clone()
    };
    for recharge in [forged, of_other, sandbox, recharge("none")] {
        let refused = prove(&books, &recharge).await.expect_err("unpaid");
        assert_eq!(refused, "payment_not_found");
    }
    let dearer = RechargeRequest {
        wanted: RequestedCoinPurchase::Step {
            amount_paise: 30_000,
        },
        ..right.clone()
    };
    let refused = prove(&books, &dearer).await.expect_err("another step");
    assert_eq!(refused, "payment_for_something_else");
    let mut message = captured(&payment);
    message.body.push(' ');
    let forged = notify(&books, &message, "event_1").await;
    assert_eq!(forged.expect_err("forged"), "invalid_signature");
    assert_eq!(books.load_coins(CALLER).await, 0);
    prove(&books, &right).await.expect("the right one");
}

#[tokio::test]
async fn a_second_payment_of_an_order_is_not_credited() {
    let (books, stand_in, order_id) = ordered().await;
    let (first, second) = (stand_in.pay(&order_id), stand_in.pay(&order_id));
    prove(&books, &proof(&order_id, &first))
        .await
        .expect("paid");
    let again = prove(&books, &proof(&order_id, &second)).await;
    assert_eq!(again.expect_err("paid before"), "order_already_paid");
    notify(&books, &captured(&second), "event_2")
        .await
        .expect("allowed");
    assert_eq!(books.load_coins(CALLER).await, 300);
    books.assert_consistent().await;
}

#[tokio::test]
async fn notifications_about_unknown_orders_are_accepted() {
    let (books, ..) = ordered().await;
    let payment = json!({"id": "pay_1", "amount": 100, "currency": "INR", "status": "captured",
        "order_id": "order_of_nobody", "method": "upi"});
    notify(&books, &captured(&payment), "event_1")
        .await
        .expect("allowed");
    notify(&books, &refunded(&payment, "rfnd_1", 100), "event_2")
        .await
        .expect("allowed");
    notify(&books, &captured(&payment), "")
        .await
        .expect("known by its body");
}

#[tokio::test]
async fn an_order_without_a_notification_is_reconciled() {
    let (books, stand_in, order_id) = ordered().await;
    let early = books.ledger.reconcile_orders().await;
    assert_eq!(early.expect("nothing is due"), 0);
    stand_in.fail(&order_id);
    books.clock.advance(TimeDelta::minutes(1));
    let unpaid = books.ledger.reconcile_orders().await;
    assert_eq!(unpaid.expect("a failed payment is none"), 0);
    stand_in.pay(&order_id);
    let again = books.ledger.reconcile_orders().await;
    assert_eq!(again.expect("not due again yet"), 0);
    books.clock.advance(TimeDelta::minutes(2));
    let outcomes = join_all((0..5).map(|_| books.ledger.reconcile_orders())).await;
    let credited: usize = outcomes
        .into_iter()
        .map(|outcome| outcome.expect("reconciled"))
        .sum();
    assert_eq!(credited, 1, "one replica asks");
    assert_eq!(books.load_coins(CALLER).await, 300);
    let page = talktime_kit::paging::ListPageRequest::new(1, 20).expect("a page");
    let (found, totals) = books
        .ledger
        .list_purchases(CALLER, page)
        .await
        .expect("listed");
    assert_eq!(
        found.entries[0].payment_method.as_deref(),
        Some("netbanking")
    );
    assert_eq!((totals.paise, totals.coins), (15_000, 300));
    books.assert_consistent().await;
}

#[tokio::test]
async fn an_unavailable_provider_is_queried_again_later() {
    let (books, stand_in, order_id) = ordered().await;
    stand_in.pay(&order_id);
    stand_in.set_down(true);
    books.clock.advance(TimeDelta::minutes(1));
    let outcome = books.ledger.reconcile_orders().await;
    assert_eq!(outcome.expect("nothing is answered"), 0);
    let order = books.ledger.open_order(CALLER, 15_000, "other").await;
    assert!(order.is_err());
    stand_in.set_down(false);
    books.clock.advance(TimeDelta::minutes(2));
    let outcome = books.ledger.reconcile_orders().await;
    assert_eq!(outcome.expect("back again"), 1);
}

#[tokio::test]
async fn an_order_that_nobody_pays_is_given_up_and_still_credits_a_late_payment() {
    let (books, stand_in, order_id) = ordered().await;
    books.clock.advance(TimeDelta::hours(25));
    books.ledger.reconcile_orders().await.expect("answered");
    let status: String = sqlx::query_scalar("SELECT status FROM wallet.payment_orders")
        .fetch_one(&books.database.app_pool)
        .await
        .expect("readable");
    assert_eq!(status, "expired");
    let payment = stand_in.pay(&order_id);
    notify(&books, &captured(&payment), "event_1")
        .await
        .expect("credited");
    assert_eq!(books.load_coins(CALLER).await, 300);
}

#[tokio::test]
async fn a_refund_takes_the_coins_back_once() {
    let (books, stand_in, order_id) = ordered().await;
    let payment = stand_in.pay(&order_id);
    prove(&books, &proof(&order_id, &payment))
        .await
        .expect("paid");
    let message = refunded(&payment, "rfnd_1", 15_000);
    for event_id in ["event_1", "event_1", "event_2"] {
        notify(&books, &message, event_id).await.expect("handled");
    }
    assert_eq!(books.load_coins(CALLER).await, 0);
    assert_eq!(
        books.count_events("events.wallet.payment_reversed").await,
        1
    );
    let again = prove(&books, &proof(&order_id, &payment)).await;
    assert_eq!(again.expect_err("refunded"), "payment_reversed");
    assert_eq!(books.load_coins(CALLER).await, 0, "and no second credit");
    let page = talktime_kit::paging::ListPageRequest::new(1, 20).expect("a page");
    let (found, totals) = books
        .ledger
        .list_purchases(CALLER, page)
        .await
        .expect("listed");
    assert_eq!(found.entries[0].status, "reversed");
    assert_eq!((totals.purchases, totals.paise, totals.coins), (1, 0, 0));
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_refund_that_arrives_before_its_payment_books_both() {
    let (books, stand_in, order_id) = ordered().await;
    let payment = stand_in.pay(&order_id);
    notify(&books, &refunded(&payment, "rfnd_1", 5_000), "event_1")
        .await
        .expect("handled");
    assert_eq!(books.load_coins(CALLER).await, 200);
    notify(&books, &captured(&payment), "event_2")
        .await
        .expect("handled");
    assert_eq!(books.load_coins(CALLER).await, 200);
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_chargeback_after_the_coins_are_spent_is_a_debt_that_the_next_payment_pays() {
    let (books, stand_in, payment) = ordered_and_spent().await;
    let lost = charged_back(&payment, "disp_1", 15_000);
    notify(&books, &lost, "event_1").await.expect("handled");
    assert_eq!(books.load_coins(CALLER).await, 0, "down to zero");
    books.assert_consistent().await;
    let debt: i64 =
        sqlx::query_scalar("SELECT debt_coins FROM wallet.user_wallets WHERE user_id = 1")
            .fetch_one(&books.database.app_pool)
            .await
            .expect("readable");
    assert_eq!(debt, 250);

    let order = books.ledger.open_order(CALLER, 15_000, "second").await;
    let order_id = order.expect("opened").order_id;
    let payment = stand_in.pay(&order_id);
    let paid = prove(&books, &proof(&order_id, &payment))
        .await
        .expect("paid");
    assert_eq!((paid.coins_added, paid.balance_coins), (300, 50));
    assert_eq!(books.load_coins(CALLER).await, 50);
    books.assert_consistent().await;
}
