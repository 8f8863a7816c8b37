//! After Postgres was restored to a moment of the past: orders that only the provider knows.

use serde_json::json;
use talktime_wallet::ledger::RecoveredOrders;

use crate::books::{CALLER, TestBooks};
use crate::payments::{captured, notify, ordered, proof, prove};
use crate::razorpay::StandIn;

/// Somebody who signed up after the restored moment.
const STRANGER: i64 = 99;
/// More orders than the provider lists on one page.
const MANY: usize = 130;

/// Removes what was committed after the restored moment, as a restore would.
async fn forget_orders(books: &TestBooks, order_ids: &[&str]) {
    let deleted = sqlx::query("DELETE FROM wallet.payment_orders WHERE order_id = ANY($1)")
        .bind(order_ids)
        .execute(&books.database.superuser)
        .await
        .expect("deleted");
    assert_eq!(deleted.rows_affected(), order_ids.len() as u64);
}

/// Books in which the caller has an open wallet, with 300 coins.
async fn with_wallet() -> (TestBooks, StandIn) {
    let (books, stand_in, order_id) = ordered().await;
    let payment = stand_in.pay(&order_id);
    prove(&books, &proof(&order_id, &payment))
        .await
        .expect("paid");
    (books, stand_in)
}

async fn open_order(books: &TestBooks, user_id: i64, receipt: &str) -> String {
    let order = books.ledger.open_order(user_id, 15_000, receipt).await;
    order.expect("opened").order_id
}

#[tokio::test]
async fn a_paid_order_that_the_database_has_forgotten_is_credited_once() {
    let (books, stand_in) = with_wallet().await;
    let order_id = open_order(&books, CALLER, "lost").await;
    let payment = stand_in.pay(&order_id);
    forget_orders(&books, &[&order_id]).await;

    let lost = books.ledger.find_lost_orders().await.expect("compared");
    let found: Vec<&str> = lost.recoverable.iter().map(|(o, _)| &*o.order_id).collect();
    assert_eq!((found, lost.refundable.len()), (vec![&*order_id], 0));
    let recovered = books.ledger.recover_orders(&lost).await.expect("recovered");
    let once = RecoveredOrders {
        looked_up: 1,
        credited: 1,
    };
    assert_eq!(recovered, once);
    assert_eq!(books.load_coins(CALLER).await, 600);

    let again = books.ledger.find_lost_orders().await.expect("compared");
    assert!(again.recoverable.is_empty());
    let recovered = books
        .ledger
        .recover_orders(&again)
        .await
        .expect("recovered");
    assert_eq!(recovered, RecoveredOrders::default());
    notify(&books, &captured(&payment), "event_1")
        .await
        .expect("received");
    assert_eq!(books.load_coins(CALLER).await, 600);
    books.assert_consistent().await;
}

#[tokio::test]
async fn an_order_that_was_paid_after_the_restored_moment_is_credited_at_once() {
    let (books, stand_in) = with_wallet().await;
    let order_id = open_order(&books, CALLER, "known").await;
    stand_in.pay(&order_id);
    sqlx::query(
        "UPDATE wallet.payment_orders SET status = 'expired', ask_at = NULL WHERE order_id = $1",
    )
    .bind(&order_id)
    .execute(&books.database.superuser)
    .await
    .expect("expired");
    let lost = books.ledger.find_lost_orders().await.expect("compared");
    assert!(lost.recoverable.is_empty(), "the order is known");
    let recovered = books.ledger.recover_orders(&lost).await.expect("recovered");
    assert_eq!(recovered.credited, 1);
    assert_eq!(books.load_coins(CALLER).await, 600);
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_buyer_whom_the_database_has_forgotten_is_credited_nothing() {
    let (books, stand_in) = with_wallet().await;
    let paid = open_order(&books, STRANGER, "paid").await;
    let unpaid = open_order(&books, STRANGER, "unpaid").await;
    stand_in.pay(&paid);
    forget_orders(&books, &[&paid, &unpaid]).await;
    let lost = books.ledger.find_lost_orders().await.expect("compared");
    let refundable: Vec<&str> = lost
        .refundable
        .iter()
        .map(|order| &*order.order_id)
        .collect();
    assert_eq!((refundable, lost.recoverable.len()), (vec![&*paid], 0));
    books.ledger.recover_orders(&lost).await.expect("recovered");
    assert_eq!(books.load_coins(STRANGER).await, 0);
    books.assert_consistent().await;
}

#[tokio::test]
async fn all_pages_of_orders_are_read() {
    let (books, stand_in) = with_wallet().await;
    let mut order_ids = Vec::new();
    for number in 0..MANY {
        order_ids.push(open_order(&books, CALLER, &format!("many-{number}")).await);
    }
    stand_in.pay(&order_ids[0]);
    stand_in.pay_with(&order_ids[MANY - 1], &json!({"status": "failed"}));
    let order_ids: Vec<&str> = order_ids.iter().map(String::as_str).collect();
    forget_orders(&books, &order_ids).await;
    let lost = books.ledger.find_lost_orders().await.expect("compared");
    assert_eq!(lost.recoverable.len(), MANY);
    let recovered = books.ledger.recover_orders(&lost).await.expect("recovered");
    let outcome = RecoveredOrders {
        looked_up: MANY,
        credited: 1,
    };
    assert_eq!(recovered, outcome);
    books.assert_consistent().await;
}

#[tokio::test]
async fn nothing_is_stored_while_the_provider_is_unavailable() {
    let (books, stand_in) = with_wallet().await;
    let order_id = open_order(&books, CALLER, "lost").await;
    forget_orders(&books, &[&order_id]).await;
    stand_in.set_down(true);
    assert!(books.ledger.find_lost_orders().await.is_err());
    stand_in.set_down(false);
    let lost = books.ledger.find_lost_orders().await.expect("compared");
    assert_eq!(lost.recoverable.len(), 1);
}
