//! Comparing the books with what caused them: payments with what the provider reported, payouts in
//! progress with withdrawals that can be decided, and what deleted accounts left with their deletions.

use futures::TryStreamExt;
use sqlx::FromRow;
use talktime_kit::db::PgConnection;

use super::journal_totals::journal_totals;
use super::order_payments::PaymentRecord;
use crate::domain::order_evaluation::{CapturedPaymentOutcome, ReversedAmounts};

/// Payments that are named, at most; one is enough to look for more.
const PAYMENTS_MAX: usize = 100;

/// A payment as it was reported, and as it was booked.
#[derive(FromRow)]
struct PaymentAuditRow {
    #[sqlx(flatten)]
    record: PaymentRecord,
    booked_coins: Option<i64>,
    booked_paise: Option<i64>,
    returned_coins: i64,
    returned_paise: i64,
}

impl PaymentAuditRow {
    /// A sentence about the books, if they have something that the reports do not give.
    fn describe_difference(&self) -> Option<String> {
        let record = &self.record;
        let payment_id = &record.payment_id;
        if !record.has_outcome(CapturedPaymentOutcome::Credited) {
            return self.booked_coins.map(|coins| {
                let outcome = record.outcome.as_deref().unwrap_or("undecided");
                format!("payment {payment_id} is {outcome} and brought {coins} coins")
            });
        }
        let reported = (Some(record.coins), Some(record.price_paise));
        if (self.booked_coins, self.booked_paise) != reported {
            return Some(format!(
                "payment {payment_id} did not bring the {} coins that were paid for",
                record.coins
            ));
        }
        let payment = record.captured();
        let expected = payment.reversed_amounts(record.price_paise, record.coins);
        let booked = ReversedAmounts {
            paise: self.returned_paise,
            coins: self.returned_coins,
        };
        (booked != expected).then(|| {
            format!(
                "payment {payment_id} took {} coins back, and {} paise that went back make {}",
                booked.coins,
                record.returned(),
                expected.coins
            )
        })
    }
}

/// Finds payments that brought, or took back, other amounts of coins than the provider's reports of payments and
/// refunds imply. Reads one row into memory at a time.
pub async fn find_misbooked_payments(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    let mut rows = sqlx::query_as::<_, PaymentAuditRow>(
        "WITH returned AS (
             SELECT split_part(transfer_id, '/', 2) AS payment_id, sum(coins)::bigint AS coins,
                    sum(paise)::bigint AS paise
             FROM wallet.transfers
             WHERE kind = 'payment_reversal' AND transfer_id LIKE 'payment/%/reversal/%'
             GROUP BY 1
         )
         SELECT payment.payment_id, payment.order_id, payment.amount, payment.currency,
                payment.is_discounted, payment.refunded, payment.charged_back, payment.outcome,
                payment.price_paise, payment.coins, payment.reversed_paise, payment.reversed_coins,
                credit.coins AS booked_coins, credit.paise AS booked_paise,
                COALESCE(returned.coins, 0) AS returned_coins,
                COALESCE(returned.paise, 0) AS returned_paise
         FROM wallet.order_payments AS payment
         LEFT JOIN wallet.transfers AS credit
             ON credit.transfer_id = 'payment/' || payment.payment_id AND credit.kind = 'payment'
         LEFT JOIN returned ON returned.payment_id = payment.payment_id
         ORDER BY payment.payment_id",
    )
    .fetch(connection);
    let mut found = Vec::new();
    while let Some(payment) = rows.try_next().await? {
        found.extend(payment.describe_difference());
        if found.len() == PAYMENTS_MAX {
            break;
        }
    }
    Ok(found)
}

/// Finds orders that were credited without a report of the payment, or whose reversed amounts differ from
/// those of the payment. Earlier releases credited without a report.
pub async fn find_unreported_orders(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT orders.order_id FROM wallet.payment_orders AS orders
         LEFT JOIN wallet.order_payments AS payment
             ON payment.payment_id = orders.payment_id AND payment.outcome = 'credited'
         WHERE orders.transaction_id IS NOT NULL AND orders.paid_paise IS NOT NULL
           AND (payment.payment_id IS NULL OR payment.order_id <> orders.order_id
                OR payment.reversed_coins <> orders.reversed_coins
                OR payment.reversed_paise <> orders.reversed_paise)
         ORDER BY orders.order_id",
    )
    .fetch_all(connection)
    .await
}

/// Finds transfers that hold rupees for a payout that cannot be decided any more, because the withdrawal was
/// deleted or decided. Earlier releases moved the sum when the account was deleted.
pub async fn find_undecidable_payouts(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT held.transfer_id FROM wallet.transfers AS held
         WHERE held.kind = 'withdrawal'
           AND NOT EXISTS (
               SELECT FROM wallet.transfers AS decided
               WHERE decided.transfer_id IN
                     (held.transfer_id || '/payout', held.transfer_id || '/return'))
           AND NOT EXISTS (
               SELECT FROM wallet.user_withdrawals AS w
               WHERE held.transfer_id = 'withdrawal/' || w.withdrawal_id
                 AND w.status IN ('pending', 'processing'))
           AND NOT EXISTS (
               SELECT FROM wallet.journal AS moved
               WHERE moved.transfer_id = 'user/' || held.owner_id || '/closing'
                 AND moved.debit_account = 'platform/payouts_pending')
         ORDER BY held.transfer_id",
    )
    .fetch_all(connection)
    .await
}

/// Finds withdrawals in progress whose sum no transfer holds, or whose wallet is neither open nor closed.
pub async fn find_unheld_withdrawals(connection: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT w.withdrawal_id FROM wallet.user_withdrawals AS w
         LEFT JOIN wallet.transfers AS held
             ON held.transfer_id = 'withdrawal/' || w.withdrawal_id
         WHERE w.status IN ('pending', 'processing')
           AND (held.paise IS DISTINCT FROM (w.amount * 100)::bigint
                OR (NOT EXISTS (SELECT FROM wallet.user_wallets AS o WHERE o.user_id = w.user_id)
                    AND NOT EXISTS
                        (SELECT FROM wallet.closed_wallets AS c WHERE c.owner_id = w.user_id)))
         ORDER BY w.withdrawal_id",
    )
    .fetch_all(connection)
    .await
}

/// Finds transfers that move forfeited coins or rupees of people who were not deleted.
pub async fn find_causeless_forfeits(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT DISTINCT moved.transfer_id
         FROM wallet.journal AS moved JOIN wallet.transfers AS t USING (transfer_id)
         WHERE 'platform/forfeited' IN (moved.credit_account, moved.debit_account)
           AND t.owner_id IS NOT NULL
           AND NOT EXISTS (SELECT FROM wallet.closed_wallets AS c WHERE c.owner_id = t.owner_id)
         ORDER BY moved.transfer_id",
    )
    .fetch_all(connection)
    .await
}

/// Finds deleted people whose accounts are not empty, or whose debt differs from the journal.
pub async fn find_mismatched_closings(connection: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(concat!(
        journal_totals!(),
        " SELECT c.owner_id FROM wallet.closed_wallets AS c
         LEFT JOIN total ON total.account = 'user/' || c.owner_id
         LEFT JOIN total AS bonus ON bonus.account = 'user/' || c.owner_id || '/bonus'
         LEFT JOIN total AS debt ON debt.account = 'user/' || c.owner_id || '/debt'
         WHERE COALESCE(total.coins, 0) + COALESCE(bonus.coins, 0) <> 0 OR COALESCE(total.paise, 0) <> 0
            OR c.debt_coins <> -COALESCE(debt.coins, 0)
         ORDER BY c.owner_id",
    ))
    .fetch_all(connection)
    .await
}

/// Sums the coins that deleted people owe.
pub async fn sum_closed_debt_coins(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT COALESCE(sum(debt_coins), 0)::bigint FROM wallet.closed_wallets")
        .fetch_one(connection)
        .await
}
