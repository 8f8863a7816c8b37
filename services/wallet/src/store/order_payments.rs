//! `wallet.order_payments`: every captured payment that the provider has reported; and
//! `wallet.payment_reversals`: what went back of them.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use talktime_kit::Error;
use talktime_kit::db::{PgConnection, expect_rows};

use crate::domain::order_evaluation::{CapturedPayment, CapturedPaymentOutcome, ReversedAmounts};
use crate::domain::provider_payment::{PaymentReversal, ReportedPayment};

/// A payment with its last decision and its effects.
#[derive(Clone, Debug, FromRow)]
pub struct PaymentRecord {
    /// Its id at the provider.
    pub payment_id: String,
    /// The order that it is for.
    pub order_id: String,
    amount: i64,
    currency: String,
    is_discounted: bool,
    refunded: i64,
    charged_back: i64,
    /// The last decision about it, by [`CapturedPaymentOutcome::name`].
    pub outcome: Option<String>,
    /// The price that it paid for its coins, in paise.
    pub price_paise: i64,
    /// The coins that it brought.
    pub coins: i64,
    /// Money that was taken back so far, in paise.
    pub reversed_paise: i64,
    /// Coins that were taken back so far.
    pub reversed_coins: i64,
}

impl PaymentRecord {
    /// The part of the record on which decisions depend.
    pub fn captured(&self) -> CapturedPayment {
        CapturedPayment {
            payment_id: self.payment_id.clone(),
            amount: self.amount,
            currency: self.currency.clone(),
            is_discounted: self.is_discounted,
            refunded: self.refunded,
            charged_back: self.charged_back,
        }
    }

    /// The sum that went back so far, in the smallest unit of its currency.
    pub fn returned(&self) -> i64 {
        self.refunded.saturating_add(self.charged_back)
    }

    /// Whether its last decision was this one.
    pub fn has_outcome(&self, outcome: CapturedPaymentOutcome) -> bool {
        self.outcome.as_deref() == Some(outcome.name())
    }

    /// Whether more was paid than `order_paise`.
    pub fn is_above(&self, order_paise: i64) -> bool {
        self.amount > order_paise
    }
}

/// `SELECT` of whole records, and the rest of the statement.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT payment_id, order_id, amount, currency, is_discounted, refunded, charged_back,
                    outcome, price_paise, coins, reversed_paise, reversed_coins
             FROM wallet.order_payments ",
            $rest
        )
    };
}

/// Records a captured payment as it is reported now. The refunded amount never decreases. A concurrent report of the
/// same payment waits for the end of this transaction. Returns whether the payment belongs to this order; a payment
/// that was reported for another order is not changed.
pub async fn upsert(
    tx: &mut PgConnection,
    payment: &ReportedPayment,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let recorded = sqlx::query(
        "INSERT INTO wallet.order_payments AS known
             (payment_id, order_id, amount, currency, is_discounted, refunded, reported_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (payment_id) DO UPDATE
         SET amount = excluded.amount, currency = excluded.currency,
             is_discounted = known.is_discounted OR excluded.is_discounted,
             refunded = GREATEST(known.refunded, excluded.refunded)
         WHERE known.order_id = excluded.order_id",
    )
    .bind(&payment.payment_id)
    .bind(&payment.order_id)
    // A sum below zero is nonsense and pays nothing.
    .bind(payment.amount.max(0))
    .bind(&payment.currency)
    .bind(payment.is_discounted)
    .bind(payment.refunded)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(recorded.rows_affected() == 1)
}

/// Records a reversal of a recorded payment once, and the sum of all its reversals.
pub async fn insert_reversal(
    tx: &mut PgConnection,
    payment_id: &str,
    reversal: &PaymentReversal,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO wallet.payment_reversals
             (payment_id, reversal_id, reason, amount, reported_at)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (payment_id, reversal_id) DO NOTHING",
    )
    .bind(payment_id)
    .bind(&reversal.reversal_id)
    .bind(reversal.reason.name())
    .bind(reversal.amount)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    let result = sqlx::query(
        "UPDATE wallet.order_payments AS payment
         SET refunded = GREATEST(payment.refunded, known.refunded),
             charged_back = known.charged_back
         FROM (SELECT LEAST(COALESCE(sum(amount) FILTER (WHERE reason = 'refund'), 0),
                            9223372036854775807)::bigint AS refunded,
                      LEAST(COALESCE(sum(amount) FILTER (WHERE reason = 'chargeback'), 0),
                            9223372036854775807)::bigint AS charged_back
               FROM wallet.payment_reversals WHERE payment_id = $1) AS known
         WHERE payment.payment_id = $1",
    )
    .bind(payment_id)
    .execute(tx)
    .await?;
    expect_rows(&result, 1, "wallet.order_payments", payment_id)
}

/// Locks the captured payments of an order, in the order of their first reports.
pub async fn lock_by_order(
    tx: &mut PgConnection,
    order_id: &str,
) -> sqlx::Result<Vec<PaymentRecord>> {
    sqlx::query_as(select!(
        "WHERE order_id = $1 ORDER BY reported_at, payment_id FOR UPDATE"
    ))
    .bind(order_id)
    .fetch_all(tx)
    .await
}

/// Finds a payment.
pub async fn find(tx: &mut PgConnection, payment_id: &str) -> sqlx::Result<Option<PaymentRecord>> {
    sqlx::query_as(select!("WHERE payment_id = $1"))
        .bind(payment_id)
        .fetch_optional(tx)
        .await
}

/// Records what was decided about a payment.
pub async fn set_outcome(
    tx: &mut PgConnection,
    payment_id: &str,
    outcome: CapturedPaymentOutcome,
) -> Result<(), Error> {
    let result = sqlx::query("UPDATE wallet.order_payments SET outcome = $2 WHERE payment_id = $1")
        .bind(payment_id)
        .bind(outcome.name())
        .execute(tx)
        .await?;
    expect_rows(&result, 1, "wallet.order_payments", payment_id)
}

/// Records what a payment brought.
pub async fn set_credited(
    tx: &mut PgConnection,
    payment_id: &str,
    price_paise: i64,
    coins: i64,
) -> Result<(), Error> {
    let result = sqlx::query(
        "UPDATE wallet.order_payments
         SET outcome = 'credited', price_paise = $2, coins = $3 WHERE payment_id = $1",
    )
    .bind(payment_id)
    .bind(price_paise)
    .bind(coins)
    .execute(tx)
    .await?;
    expect_rows(&result, 1, "wallet.order_payments", payment_id)
}

/// Records what was taken back of a credited payment, from the first reversal to the last.
pub async fn set_reversed(
    tx: &mut PgConnection,
    payment_id: &str,
    reversed: ReversedAmounts,
) -> Result<(), Error> {
    let result = sqlx::query(
        "UPDATE wallet.order_payments SET reversed_paise = $2, reversed_coins = $3
         WHERE payment_id = $1",
    )
    .bind(payment_id)
    .bind(reversed.paise)
    .bind(reversed.coins)
    .execute(tx)
    .await?;
    expect_rows(&result, 1, "wallet.order_payments", payment_id)
}

/// Updates the records of a person's credited payments from their orders, which are about to be deleted and which an
/// earlier release may have credited or reversed by itself.
pub async fn upsert_from_orders(
    tx: &mut PgConnection,
    user_id: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO wallet.order_payments
             (payment_id, order_id, amount, currency, refunded, outcome, price_paise, coins,
              reversed_paise, reversed_coins, reported_at)
         SELECT payment_id, order_id, amount_paise, 'INR', reversed_paise, 'credited',
                COALESCE(paid_paise, amount_paise), coins, reversed_paise, reversed_coins, $2
         FROM wallet.payment_orders
         WHERE user_id = $1 AND transaction_id IS NOT NULL AND payment_id IS NOT NULL
         ON CONFLICT (payment_id) DO UPDATE
         SET outcome = 'credited', price_paise = excluded.price_paise, coins = excluded.coins,
             reversed_paise = excluded.reversed_paise, reversed_coins = excluded.reversed_coins",
    )
    .bind(user_id)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}
