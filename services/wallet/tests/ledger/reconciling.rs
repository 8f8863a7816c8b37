//! Lookups of orders at the provider: each order on its own, each payment with its own outcome, and credited
//! orders for refunds that nobody reported.

use axum::http::StatusCode;
use chrono::TimeDelta;
use futures::future::join_all;
use serde_json::json;

use crate::books::{CALLER, LISTENER, TestBooks};
use crate::payments::{captured, id_of, notify, ordered, proof, prove, refunded};
use crate::razorpay::StandIn;

pub(crate) async fn reconcile_after(books: &TestBooks, wait: TimeDelta) -> usize {
    books.clock.advance(wait);
    books.ledger.reconcile_orders().await.expect("answered")
}

/// Loads the status of an order, and whether the provider will be asked about it again.
async fn load_order_status(books: &TestBooks, order_id: &str) -> (String, bool) {
    sqlx::query_as(
        "SELECT status, ask_at IS NOT NULL FROM wallet.payment_orders WHERE order_id = $1",
    )
    .bind(order_id)
    .fetch_one(&books.database.app_pool)
    .await
    .expect("readable")
}

/// Six paid orders whose payments nobody has reported.
async fn six_paid() -> (TestBooks, StandIn, Vec<String>) {
    let (books, stand_in, first) = ordered().await;
    let mut order_ids = vec![first];
    for n in 1..6 {
        let receipt = format!("order-{n}");
        let order = books.ledger.open_order(LISTENER, 15_000, &receipt);
        order_ids.push(order.await.expect("opened").order_id);
    }
    for order_id in &order_ids {
        stand_in.pay(order_id);
    }
    (books, stand_in, order_ids)
}

#[tokio::test]
async fn an_order_answered_with_an_error_does_not_delay_the_others() {
    for broken in 0..6 {
        let (books, stand_in, order_ids) = six_paid().await;
        stand_in.break_order(&order_ids[broken], StatusCode::BAD_REQUEST);
        let credited = reconcile_after(&books, TimeDelta::minutes(1)).await;
        assert_eq!(credited, 5, "with order {broken} broken");
        books.assert_consistent().await;
    }
}

#[tokio::test]
async fn an_order_that_is_only_answered_with_errors_is_given_up() {
    let (books, stand_in, order_id) = ordered().await;
    stand_in.break_order(&order_id, StatusCode::BAD_REQUEST);
    for _ in 0..200 {
        reconcile_after(&books, TimeDelta::minutes(15)).await;
    }
    assert!(stand_in.request_count() > 10);
    assert_eq!(
        load_order_status(&books, &order_id).await,
        ("expired".to_owned(), false)
    );
    let requests = stand_in.request_count();
    reconcile_after(&books, TimeDelta::days(2)).await;
    assert_eq!(
        stand_in.request_count(),
        requests,
        "no request is sent any more"
    );
    // A payment that is reported all the same is credited.
    let payment = stand_in.pay(&order_id);
    notify(&books, &captured(&payment), "event_1")
        .await
        .expect("received");
    assert_eq!(books.load_coins(CALLER).await, 300);
}

#[tokio::test]
async fn orders_are_credited_after_the_provider_was_unavailable() {
    let (books, stand_in, _) = six_paid().await;
    stand_in.set_down(true);
    for _ in 0..40 {
        assert_eq!(reconcile_after(&books, TimeDelta::minutes(15)).await, 0);
    }
    stand_in.set_down(false);
    assert_eq!(reconcile_after(&books, TimeDelta::minutes(15)).await, 6);
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_refunded_payment_brings_nothing() {
    let (books, stand_in, order_id) = ordered().await;
    let refunded = json!({"status": "refunded", "amount_refunded": 15_000, "captured": true});
    stand_in.pay_with(&order_id, &refunded);
    assert_eq!(reconcile_after(&books, TimeDelta::minutes(1)).await, 0);
    assert_eq!(books.load_coins(CALLER).await, 0);
    books.assert_consistent().await;
}

#[tokio::test]
async fn every_payment_of_an_order_gets_its_own_outcome() {
    let (books, stand_in, order_id) = ordered().await;
    stand_in.pay_with(&order_id, &json!({"currency": "USD"}));
    let refunded = json!({"status": "refunded", "amount_refunded": 15_000});
    stand_in.pay_with(&order_id, &refunded);
    stand_in.pay_with(&order_id, &json!({"status": "failed"}));
    stand_in.pay_with(&order_id, &json!({"amount": "unreadable"}));
    let good = stand_in.pay(&order_id);
    assert_eq!(reconcile_after(&books, TimeDelta::minutes(1)).await, 1);
    assert_eq!(books.load_coins(CALLER).await, 300);
    let credited: String = sqlx::query_scalar("SELECT payment_id FROM wallet.payment_orders")
        .fetch_one(&books.database.app_pool)
        .await
        .expect("readable");
    assert_eq!(credited, id_of(&good));
    let outcomes: Vec<String> =
        sqlx::query_scalar("SELECT outcome FROM wallet.order_payments ORDER BY payment_id")
            .fetch_all(&books.database.app_pool)
            .await
            .expect("readable");
    assert_eq!(outcomes, ["foreign_currency", "returned", "credited"]);
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_refund_that_nobody_reported_is_found() {
    let (books, stand_in, order_id) = ordered().await;
    let payment = stand_in.pay(&order_id);
    prove(&books, &proof(&order_id, &payment))
        .await
        .expect("paid");
    let part = stand_in.change(&payment, &json!({"amount_refunded": 5_000}));
    reconcile_after(&books, TimeDelta::days(1)).await;
    assert_eq!(books.load_coins(CALLER).await, 200);
    // Its notification comes after all.
    notify(&books, &refunded(&part, "rfnd_1", 5_000), "event_1")
        .await
        .expect("received");
    assert_eq!(books.load_coins(CALLER).await, 200);
    stand_in.change(
        &payment,
        &json!({"status": "refunded", "amount_refunded": 15_000}),
    );
    reconcile_after(&books, TimeDelta::days(2)).await;
    assert_eq!(books.load_coins(CALLER).await, 0);
    assert_eq!(
        load_order_status(&books, &order_id).await,
        ("reversed".to_owned(), false)
    );
    assert_eq!(
        books.count_events("events.wallet.payment_reversed").await,
        2
    );
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_credited_order_is_checked_seldom_and_for_half_a_year() {
    let (books, stand_in, order_id) = ordered().await;
    let payment = stand_in.pay(&order_id);
    prove(&books, &proof(&order_id, &payment))
        .await
        .expect("paid");
    let requests = stand_in.request_count();
    for _ in 0..400 {
        reconcile_after(&books, TimeDelta::days(1)).await;
    }
    assert!(
        (1..=10).contains(&(stand_in.request_count() - requests)),
        "{}",
        stand_in.request_count()
    );
    assert_eq!(
        load_order_status(&books, &order_id).await,
        ("paid".to_owned(), false)
    );
}

#[tokio::test]
async fn an_order_waits_for_a_payment_that_is_authorized() {
    let (books, stand_in, order_id) = ordered().await;
    let payment = stand_in.pay_with(&order_id, &json!({"status": "authorized"}));
    for _ in 0..3 {
        reconcile_after(&books, TimeDelta::hours(20)).await;
    }
    assert_eq!(
        load_order_status(&books, &order_id).await,
        ("created".to_owned(), true)
    );
    stand_in.change(&payment, &json!({"status": "captured"}));
    assert_eq!(reconcile_after(&books, TimeDelta::hours(20)).await, 1);
}

#[tokio::test]
async fn reconciling_and_notifications_at_once_book_everything_once() {
    let (books, stand_in, order_id) = ordered().await;
    let payment = stand_in.pay_with(&order_id, &json!({"amount_refunded": 5_000}));
    let refund = refunded(&payment, "rfnd_1", 5_000);
    books.clock.advance(TimeDelta::minutes(1));
    let doors = (0..20).map(|n| {
        let (books, refund, payment) = (&books, &refund, &payment);
        let order_id = &order_id;
        async move {
            match n % 3 {
                0 => books
                    .ledger
                    .reconcile_orders()
                    .await
                    .map(|_| ())
                    .expect("answered"),
                1 => notify(books, refund, &format!("event_{n}"))
                    .await
                    .expect("received"),
                _ => {
                    let proved = prove(books, &proof(order_id, payment)).await;
                    proved.expect("credited");
                }
            }
        }
    });
    join_all(doors).await;
    assert_eq!(books.load_coins(CALLER).await, 200);
    assert_eq!(
        books.count_events("events.wallet.payment_reversed").await,
        1
    );
    books.assert_consistent().await;
}
