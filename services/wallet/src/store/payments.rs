//! `wallet.payment_orders`: orders and their payments; `wallet.payment_events`: notifications that were
//! handled.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use talktime_kit::Error;
use talktime_kit::db::{PgConnection, expect_rows};
use talktime_kit::paging::{ListPage, ListPageRequest};

use crate::domain::order_evaluation::ReversedAmounts;
use crate::domain::payment::PaymentOrder;

impl FromRow<'_, PgRow> for PaymentOrder {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            order_id: row.try_get("order_id")?,
            user_id: row.try_get("user_id")?,
            provider: row.try_get("provider")?,
            amount_paise: row.try_get("amount_paise")?,
            coins: row.try_get("coins")?,
            payment_id: row.try_get("payment_id")?,
            transaction_id: row.try_get("transaction_id")?,
            paid_at: row.try_get("paid_at")?,
            paid_paise: row.try_get("paid_paise")?,
            reversed_paise: row.try_get("reversed_paise")?,
            reversed_coins: row.try_get("reversed_coins")?,
        })
    }
}

/// Coins that were bought.
#[derive(Clone, Debug, Eq, PartialEq, FromRow)]
pub struct CoinPurchase {
    pub recharge_id: i64,
    /// The line in the history.
    pub transaction_id: i64,
    /// The sum that was paid, in paise.
    pub amount_paise: i64,
    /// The coins that were bought.
    pub coins: i64,
    /// The payment method, by the contract's or the provider's name.
    pub payment_method: Option<String>,
    /// `completed` or `reversed`.
    pub status: String,
    /// The instant at which it was paid.
    pub created_at: DateTime<Utc>,
}

/// The totals of all purchases.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, FromRow)]
pub struct CoinPurchaseTotals {
    pub purchases: i64,
    /// Money that was paid and not reversed, in paise.
    pub paise: i64,
    /// Coins that were bought and not taken back.
    pub coins: i64,
}

/// An order that is to be inserted.
#[derive(Clone, Debug)]
pub struct NewPaymentOrder<'a> {
    /// Its id at the provider.
    pub order_id: &'a str,
    pub user_id: i64,
    /// The provider's name.
    pub provider: &'static str,
    /// The price, in paise.
    pub amount_paise: i64,
    /// The coins that it buys.
    pub coins: i64,
    /// The payment method, if it is known.
    pub payment_method: Option<&'static str>,
    /// The payment that is to pay it, where that is known.
    pub payment_id: Option<&'a str>,
    /// The first instant at which the order is looked up at the provider; none if it never is.
    pub ask_at: Option<DateTime<Utc>>,
}

/// The credit of an order.
#[derive(Clone, Copy, Debug)]
pub struct PaymentOrderCredit<'a> {
    pub payment_id: &'a str,
    /// The payment method, if it is known.
    pub method: Option<&'static str>,
    /// The line in the buyer's history.
    pub transaction_id: i64,
    /// The price that was paid for the coins.
    pub paid_paise: i64,
    /// The first instant at which refunds are looked up at the provider; none if they never are.
    pub ask_at: Option<DateTime<Utc>>,
}

/// Wait before an order is first looked up at the provider, and the unit of the waits that follow.
pub const FIRST_WAIT: TimeDelta = TimeDelta::minutes(1);
/// The wait and the unit for credited orders, whose refunds may have gone unreported.
pub const REFUNDS_CHECKED_AFTER: TimeDelta = TimeDelta::days(1);
/// Most times that a wait doubles.
const DOUBLINGS_MAX: i32 = 10;

/// An order that is due to be looked up at the provider.
#[derive(Clone, Debug, FromRow)]
pub struct DuePaymentOrder {
    /// Its id at the provider.
    pub order_id: String,
    pub created_at: DateTime<Utc>,
    /// Whether it is credited.
    pub is_credited: bool,
}

/// `SELECT` of whole orders, and the rest of the statement.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT order_id, user_id, provider, amount_paise, coins, payment_id, transaction_id,
                    paid_at, paid_paise, reversed_paise, reversed_coins
             FROM wallet.payment_orders ",
            $rest
        )
    };
}

/// Inserts an order that was opened.
pub async fn insert(
    tx: &mut PgConnection,
    order: &NewPaymentOrder<'_>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let result = sqlx::query(
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
    expect_rows(&result, 1, "wallet.payment_orders", order.order_id)
}

/// Finds an order by its id at the provider, without locking it.
pub async fn find(
    connection: &mut PgConnection,
    order_id: &str,
) -> sqlx::Result<Option<PaymentOrder>> {
    sqlx::query_as(select!("WHERE order_id = $1"))
        .bind(order_id)
        .fetch_optional(connection)
        .await
}

/// Finds the order that a payment of the sandbox pays, without locking it.
pub async fn find_by_payment(
    connection: &mut PgConnection,
    payment_id: &str,
) -> sqlx::Result<Option<PaymentOrder>> {
    sqlx::query_as(select!("WHERE payment_id = $1"))
        .bind(payment_id)
        .fetch_optional(connection)
        .await
}

/// Locks an order, after its buyer's wallet.
pub async fn lock(tx: &mut PgConnection, order_id: &str) -> sqlx::Result<Option<PaymentOrder>> {
    sqlx::query_as(select!("WHERE order_id = $1 FOR UPDATE"))
        .bind(order_id)
        .fetch_optional(tx)
        .await
}

/// Records which payment credited a locked order, and which line of the buyer's history it became. The
/// order is looked up again at `ask_at`, for refunds that were not reported.
pub async fn set_credited(
    tx: &mut PgConnection,
    order_id: &str,
    credit: &PaymentOrderCredit<'_>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let result = sqlx::query(
        "UPDATE wallet.payment_orders
         SET status = 'paid', payment_id = $2, payment_method = COALESCE(payment_method, $3),
             transaction_id = $4, paid_paise = $5, paid_at = $6, ask_at = $7, times_asked = 0,
             failed_asks = 0
         WHERE order_id = $1",
    )
    .bind(order_id)
    .bind(credit.payment_id)
    .bind(credit.method)
    .bind(credit.transaction_id)
    .bind(credit.paid_paise)
    .bind(now)
    .bind(credit.ask_at)
    .execute(tx)
    .await?;
    expect_rows(&result, 1, "wallet.payment_orders", order_id)
}

/// Records what was taken back of a locked order, from the first reversal to the last. There is nothing
/// left to look up in an order whose whole payment went back.
pub async fn set_reversed(
    tx: &mut PgConnection,
    order_id: &str,
    reversed: ReversedAmounts,
) -> Result<(), Error> {
    let result = sqlx::query(
        "UPDATE wallet.payment_orders
         SET reversed_paise = $2, reversed_coins = $3,
             status = CASE WHEN $3 = coins THEN 'reversed' ELSE status END,
             ask_at = CASE WHEN $3 = coins THEN NULL ELSE ask_at END
         WHERE order_id = $1",
    )
    .bind(order_id)
    .bind(reversed.paise)
    .bind(reversed.coins)
    .execute(tx)
    .await?;
    expect_rows(&result, 1, "wallet.payment_orders", order_id)
}

/// Claims orders that are due to be looked up, at most `limit`, and postpones the next lookup of each at once,
/// so that two replicas do not look up the same. The wait doubles with every time.
pub async fn claim_due(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<DuePaymentOrder>> {
    sqlx::query_as(
        "UPDATE wallet.payment_orders
         SET times_asked = times_asked + 1,
             ask_at = $1 + power(2, LEAST(times_asked + 1, $4))
                           * CASE WHEN transaction_id IS NULL THEN $2::interval ELSE $3::interval END
         WHERE order_id IN (
             SELECT order_id FROM wallet.payment_orders WHERE ask_at <= $1
             ORDER BY ask_at LIMIT $5 FOR UPDATE SKIP LOCKED)
         RETURNING order_id, created_at, transaction_id IS NOT NULL AS is_credited",
    )
    .bind(now)
    .bind(FIRST_WAIT)
    .bind(REFUNDS_CHECKED_AFTER)
    .bind(DOUBLINGS_MAX)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// Records that the provider answered a lookup of an order.
pub async fn set_answered(tx: &mut PgConnection, order_id: &str) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE wallet.payment_orders SET failed_asks = 0 WHERE order_id = $1 AND failed_asks > 0",
    )
    .bind(order_id)
    .execute(tx)
    .await?;
    Ok(())
}

/// Records that the provider did not answer a lookup of an order, which is repeated at
/// `retry_at` or before; returns how many lookups in a row have failed; none if the order
/// was deleted with its buyer meanwhile.
pub async fn count_failed_lookup(
    tx: &mut PgConnection,
    order_id: &str,
    retry_at: DateTime<Utc>,
) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar(
        "UPDATE wallet.payment_orders
         SET failed_asks = failed_asks + 1, ask_at = LEAST(ask_at, $2)
         WHERE order_id = $1 RETURNING failed_asks",
    )
    .bind(order_id)
    .bind(retry_at)
    .fetch_optional(tx)
    .await
}

/// Expires an order that nobody paid; returns whether it was open. A payment that arrives later is still
/// credited.
pub async fn expire(tx: &mut PgConnection, order_id: &str) -> sqlx::Result<bool> {
    let expired = sqlx::query(
        "UPDATE wallet.payment_orders SET status = 'expired', ask_at = NULL
         WHERE order_id = $1 AND status = 'created'",
    )
    .bind(order_id)
    .execute(tx)
    .await?;
    Ok(expired.rows_affected() == 1)
}

/// Stops the lookups of an order.
pub async fn stop_lookups(tx: &mut PgConnection, order_id: &str) -> sqlx::Result<()> {
    sqlx::query("UPDATE wallet.payment_orders SET ask_at = NULL WHERE order_id = $1")
        .bind(order_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// The newest instant at which an order was opened or a transfer was made; none if there is neither.
pub async fn find_newest_time(tx: &mut PgConnection) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar(
        "SELECT GREATEST((SELECT max(created_at) FROM wallet.payment_orders),
                         (SELECT max(created_at) FROM wallet.transfers))",
    )
    .fetch_one(tx)
    .await
}

/// Finds which of these orders are stored.
pub async fn find_known(tx: &mut PgConnection, order_ids: &[&str]) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("SELECT order_id FROM wallet.payment_orders WHERE order_id = ANY($1)")
        .bind(order_ids)
        .fetch_all(tx)
        .await
}

/// Makes each order of the provider due at `now` that is not credited and was opened after `since`,
/// including those that have expired.
pub async fn reopen_unpaid(
    tx: &mut PgConnection,
    provider: &str,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let reopened = sqlx::query(
        "UPDATE wallet.payment_orders SET status = 'created', ask_at = $3, times_asked = 0
         WHERE provider = $1 AND transaction_id IS NULL AND created_at > $2",
    )
    .bind(provider)
    .bind(since)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(reopened.rows_affected())
}

/// Inserts a provider's notification; returns whether it is the first one with this id.
pub async fn insert_event(
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

/// Deletes at most `limit` notifications received before `before`; returns how many were deleted.
pub async fn delete_events(
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

/// Lists a page of a person's purchases, newest first, with the totals of all of them, less what was reversed.
pub async fn list_purchases(
    connection: &mut PgConnection,
    user_id: i64,
    page: ListPageRequest,
) -> sqlx::Result<(ListPage<CoinPurchase>, CoinPurchaseTotals)> {
    let entries = sqlx::query_as(
        "SELECT recharge_id, transaction_id, COALESCE(paid_paise, amount_paise) AS amount_paise, coins,
                payment_method, paid_at AS created_at,
                CASE status WHEN 'reversed' THEN 'reversed' ELSE 'completed' END AS status
         FROM wallet.payment_orders WHERE user_id = $1 AND transaction_id IS NOT NULL
         ORDER BY paid_at DESC, recharge_id DESC OFFSET $2 LIMIT $3",
    )
    .bind(user_id)
    .bind(page.offset())
    .bind(page.limit())
    .fetch_all(&mut *connection)
    .await?;
    let totals: CoinPurchaseTotals = sqlx::query_as(
        "SELECT count(*) AS purchases,
                COALESCE(sum(COALESCE(paid_paise, amount_paise) - reversed_paise), 0)::bigint
                    AS paise,
                COALESCE(sum(coins - reversed_coins), 0)::bigint AS coins
         FROM wallet.payment_orders WHERE user_id = $1 AND transaction_id IS NOT NULL",
    )
    .bind(user_id)
    .fetch_one(connection)
    .await?;
    let found = ListPage {
        entries,
        total: totals.purchases,
    };
    Ok((found, totals))
}
