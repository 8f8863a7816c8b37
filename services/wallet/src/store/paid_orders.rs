//! Orders of the sandbox that are paid as they are opened: `wallet.payment_orders` together with
//! `wallet.order_payments`.

use chrono::{DateTime, Utc};
use talktime_kit::Error;
use talktime_kit::db::{PgConnection, column, expect_rows};

use crate::domain::order_evaluation::CURRENCY;
use crate::domain::payment::SANDBOX;

/// A paid order that is to be inserted.
#[derive(Clone, Debug)]
pub struct NewPaidOrder {
    pub order_id: String,
    pub user_id: i64,
    /// The price, which is what was paid, in paise.
    pub amount_paise: i64,
    pub coins: i64,
    /// The payment method, if the app names it.
    pub payment_method: Option<&'static str>,
    pub payment_id: String,
    /// The line in the buyer's history.
    pub transaction_id: i64,
}

/// Inserts orders with the payments that have credited them. Does nothing if there are none.
pub async fn insert_all(
    tx: &mut PgConnection,
    orders: &[NewPaidOrder],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let Some(first) = orders.first() else {
        return Ok(());
    };
    let result = sqlx::query(
        "WITH paid AS (
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[],
                                  $6::text[], $7::bigint[])
                  AS paid (order_id, user_id, amount_paise, coins, payment_method, payment_id,
                           transaction_id)
         ), payment AS (
             INSERT INTO wallet.order_payments
                 (payment_id, order_id, amount, currency, outcome, price_paise, coins, reported_at)
             SELECT payment_id, order_id, amount_paise, $8, 'credited', amount_paise, coins, $10
             FROM paid
         )
         INSERT INTO wallet.payment_orders
             (order_id, user_id, provider, amount_paise, coins, payment_method, status, payment_id,
              transaction_id, paid_paise, paid_at, created_at)
         SELECT order_id, user_id, $9, amount_paise, coins, payment_method, 'paid', payment_id,
                transaction_id, amount_paise, $10, $10
         FROM paid",
    )
    .bind(column(orders, |order| order.order_id.as_str()))
    .bind(column(orders, |order| order.user_id))
    .bind(column(orders, |order| order.amount_paise))
    .bind(column(orders, |order| order.coins))
    .bind(column(orders, |order| order.payment_method))
    .bind(column(orders, |order| order.payment_id.as_str()))
    .bind(column(orders, |order| order.transaction_id))
    .bind(CURRENCY)
    .bind(SANDBOX)
    .bind(now)
    .execute(tx)
    .await?;
    let expected = orders.len() as u64;
    expect_rows(&result, expected, "wallet.payment_orders", &first.order_id)
}
