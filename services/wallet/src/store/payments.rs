//! `wallet.payment_orders`: what was to be paid for, and what was paid; `wallet.payment_events`: what
//! a provider told.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection};

use crate::domain::history::{Found, Page, Purchase, PurchaseTotals};
use crate::domain::payment::{Order, TakenBack};

/// An order to be kept.
#[derive(Clone, Debug)]
pub struct NewOrder<'a> {
    /// The provider's id of it.
    pub order_id: &'a str,
    /// Who buys.
    pub user_id: i64,
    /// The provider's name.
    pub provider: &'static str,
    /// What it costs.
    pub amount_paise: i64,
    /// What it brings.
    pub coins: i64,
    /// How it is to be paid, where that is known.
    pub payment_method: Option<&'static str>,
    /// The payment that is to pay it, where that is known.
    pub payment_id: Option<&'a str>,
    /// When the provider is asked about it first; none: never.
    pub ask_at: Option<DateTime<Utc>>,
}

/// An order that the provider is to be asked about.
#[derive(Clone, Debug, FromRow)]
pub struct Due {
    /// The provider's id of it.
    pub order_id: String,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
}

/// `SELECT` of whole orders, and the rest of the statement.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT order_id, user_id, amount_paise, coins, payment_id, transaction_id, paid_at,
                    reversed_paise, reversed_coins
             FROM wallet.payment_orders ",
            $rest
        )
    };
}

/// Keeps an order that was opened.
pub async fn insert(
    tx: &mut PgConnection,
    order: &NewOrder<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO wallet.payment_orders
            (order_id, user_id, provider, amount_paise, coins, payment_method, status, payment_id,
             ask_at, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, 'created', $7, $8, $9)",
    )
    .bind(order.order_id)
    .bind(order.user_id)
    .bind(order.provider)
    .bind(order.amount_paise)
    .bind(order.coins)
    .bind(order.payment_method)
    .bind(order.payment_id)
    .bind(order.ask_at)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// An order by the provider's id of it, not locked.
pub async fn find(connection: &mut PgConnection, order_id: &str) -> sqlx::Result<Option<Order>> {
    sqlx::query_as(select!("WHERE order_id = $1"))
        .bind(order_id)
        .fetch_optional(connection)
        .await
}

/// The order that a payment of the sandbox pays, not locked.
pub async fn find_by_payment(
    connection: &mut PgConnection,
    payment_id: &str,
) -> sqlx::Result<Option<Order>> {
    sqlx::query_as(select!("WHERE payment_id = $1"))
        .bind(payment_id)
        .fetch_optional(connection)
        .await
}

/// Locks an order, after its buyer's wallet.
pub async fn lock(tx: &mut PgConnection, order_id: &str) -> sqlx::Result<Option<Order>> {
    sqlx::query_as(select!("WHERE order_id = $1 FOR UPDATE"))
        .bind(order_id)
        .fetch_optional(tx)
        .await
}

/// Says which payment paid a locked order, and which line of the buyer's history it became.
pub async fn credited(
    tx: &mut PgConnection,
    order_id: &str,
    payment_id: &str,
    method: Option<&'static str>,
    transaction_id: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE wallet.payment_orders
         SET status = 'paid', payment_id = $2, payment_method = COALESCE(payment_method, $3),
             transaction_id = $4, paid_at = $5, ask_at = NULL
         WHERE order_id = $1",
    )
    .bind(order_id)
    .bind(payment_id)
    .bind(method)
    .bind(transaction_id)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Says what went back of a locked order.
pub async fn reversed(tx: &mut PgConnection, order_id: &str, back: TakenBack) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE wallet.payment_orders
         SET reversed_paise = reversed_paise + $2, reversed_coins = reversed_coins + $3,
             status = CASE WHEN reversed_paise + $2 = amount_paise THEN 'reversed' ELSE status END
         WHERE order_id = $1",
    )
    .bind(order_id)
    .bind(back.paise)
    .bind(back.coins)
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes orders that are due to be asked about, at most `limit`, and puts each off before anybody
/// asks, so that two replicas do not ask the same. The wait doubles with every time.
pub async fn claim_due(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    first_wait: TimeDelta,
    limit: i64,
) -> sqlx::Result<Vec<Due>> {
    sqlx::query_as(
        "UPDATE wallet.payment_orders
         SET times_asked = times_asked + 1,
             ask_at = $1 + make_interval(secs => $2) * power(2, LEAST(times_asked + 1, 10))
         WHERE order_id IN (
             SELECT order_id FROM wallet.payment_orders WHERE ask_at <= $1
             ORDER BY ask_at LIMIT $3 FOR UPDATE SKIP LOCKED)
         RETURNING order_id, created_at",
    )
    .bind(now)
    .bind(first_wait.as_seconds_f64())
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// Gives an order up that nobody paid; a payment that comes all the same is credited.
pub async fn expire(tx: &mut PgConnection, order_id: &str) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE wallet.payment_orders SET status = 'expired', ask_at = NULL
         WHERE order_id = $1 AND status = 'created'",
    )
    .bind(order_id)
    .execute(tx)
    .await?;
    Ok(())
}

/// Remembers a provider's message; whether it is the first time.
pub async fn remember_event(
    tx: &mut PgConnection,
    provider: &str,
    event_id: &str,
    event_type: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let inserted = sqlx::query(
        "INSERT INTO wallet.payment_events (provider, event_id, event_type, received_at)
         VALUES ($1, $2, $3, $4) ON CONFLICT (provider, event_id) DO NOTHING",
    )
    .bind(provider)
    .bind(event_id)
    .bind(event_type)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Forgets messages from before then, at most `limit`; answers how many.
pub async fn forget_events(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    let deleted = sqlx::query(
        "DELETE FROM wallet.payment_events WHERE (provider, event_id) IN
             (SELECT provider, event_id FROM wallet.payment_events
              WHERE received_at < $1 ORDER BY received_at LIMIT $2)",
    )
    .bind(before)
    .bind(limit)
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
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
