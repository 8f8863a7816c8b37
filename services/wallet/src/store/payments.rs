//! `wallet.payment_orders`: what was to be paid for, and what was paid.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use crate::domain::history::{Found, Page, Purchase, PurchaseTotals};

/// A paid order.
#[derive(Clone, Debug, FromRow)]
pub struct PaidOrder {
    /// What was paid.
    pub amount_paise: i64,
    /// What it bought.
    pub coins: i64,
    /// When.
    pub paid_at: DateTime<Utc>,
}

/// An order to be written as paid.
#[derive(Clone, Debug)]
pub struct NewPaidOrder<'a> {
    /// Our id.
    pub order_id: &'a str,
    /// The provider's id of the payment.
    pub payment_id: &'a str,
    /// Who paid.
    pub user_id: i64,
    /// What was paid.
    pub amount_paise: i64,
    /// What it buys.
    pub coins: i64,
    /// `upi`, `card` or `wallet`.
    pub payment_method: &'static str,
}

/// Writes an order that the sandbox opened and paid at once.
pub async fn insert_sandbox_paid(
    tx: &mut PgConnection,
    order: &NewPaidOrder<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO wallet.payment_orders
            (order_id, user_id, provider, amount_paise, coins, payment_method, status, payment_id,
             created_at, paid_at)
         VALUES ($1, $2, 'sandbox', $3, $4, $5, 'paid', $6, $7, $7)",
    )
    .bind(order.order_id)
    .bind(order.user_id)
    .bind(order.amount_paise)
    .bind(order.coins)
    .bind(order.payment_method)
    .bind(order.payment_id)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Remembers which line of the buyer's history a payment became.
pub async fn credited(
    tx: &mut PgConnection,
    payment_id: &str,
    transaction_id: i64,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE wallet.payment_orders SET transaction_id = $2 WHERE payment_id = $1")
        .bind(payment_id)
        .bind(transaction_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// The order that a payment of this user paid, if the provider knows it.
pub async fn find_paid(
    tx: &mut PgConnection,
    user_id: i64,
    payment_id: &str,
) -> sqlx::Result<Option<PaidOrder>> {
    sqlx::query_as(
        "SELECT amount_paise, coins, paid_at FROM wallet.payment_orders
         WHERE payment_id = $1 AND user_id = $2 AND status = 'paid'",
    )
    .bind(payment_id)
    .bind(user_id)
    .fetch_optional(tx)
    .await
}

/// A page of what a person bought, newest first.
pub async fn purchases(
    connection: &mut PgConnection,
    user_id: i64,
    page: Page,
) -> sqlx::Result<(Found<Purchase>, PurchaseTotals)> {
    let entries = sqlx::query_as(
        "SELECT recharge_id, transaction_id, amount_paise, coins, payment_method, paid_at AS created_at,
                CASE status WHEN 'reversed' THEN 'reversed' ELSE 'completed' END AS status
         FROM wallet.payment_orders WHERE user_id = $1 AND transaction_id IS NOT NULL
         ORDER BY paid_at DESC, recharge_id DESC OFFSET $2 LIMIT $3",
    )
    .bind(user_id)
    .bind(page.offset())
    .bind(page.limit())
    .fetch_all(&mut *connection)
    .await?;
    let totals: PurchaseTotals = sqlx::query_as(
        "SELECT count(*) AS purchases, COALESCE(sum(amount_paise), 0)::bigint AS paise,
                COALESCE(sum(coins), 0)::bigint AS coins
         FROM wallet.payment_orders WHERE user_id = $1 AND transaction_id IS NOT NULL",
    )
    .bind(user_id)
    .fetch_one(connection)
    .await?;
    let found = Found {
        entries,
        total: totals.purchases,
    };
    Ok((found, totals))
}
