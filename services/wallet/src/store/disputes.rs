//! `wallet.payment_disputes`: disputes about payments, with the coins that each has set aside; and
//! `wallet.disputed_earnings`: the earnings that were paid for with them.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use talktime_kit::Error;
use talktime_kit::db::{PgConnection, column, expect_rows};

use crate::domain::dispute::{DisputeStatus, PaidCall, PaymentDispute};

/// Calls that are looked at for one dispute, the newest first.
const CALLS_MAX: i64 = 1_000;

/// Earnings of a call that a lost dispute takes.
#[derive(Clone, Debug, FromRow)]
pub struct LostEarning {
    pub payment_id: String,
    pub dispute_id: String,
    pub call_id: i64,
    pub listener_id: i64,
    /// The sum, in paise.
    pub paise: i64,
}

/// Inserts a dispute in the status that was reported; returns whether it was unknown.
pub async fn insert(
    tx: &mut PgConnection,
    payment_id: &str,
    owner_id: i64,
    dispute: &PaymentDispute,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let inserted = sqlx::query(
        "INSERT INTO wallet.payment_disputes
             (payment_id, dispute_id, owner_id, amount, status, opened_at, decided_at)
         VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $5 = 'open' THEN NULL ELSE $6 END)
         ON CONFLICT (payment_id, dispute_id) DO NOTHING",
    )
    .bind(payment_id)
    .bind(&dispute.dispute_id)
    .bind(owner_id)
    .bind(dispute.amount)
    .bind(dispute.status.name())
    .bind(now)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Records the coins that an open dispute has set aside.
pub async fn set_frozen(
    tx: &mut PgConnection,
    payment_id: &str,
    dispute_id: &str,
    coins: i64,
) -> Result<(), Error> {
    let result = sqlx::query(
        "UPDATE wallet.payment_disputes SET frozen_coins = $3
         WHERE payment_id = $1 AND dispute_id = $2 AND status = 'open'",
    )
    .bind(payment_id)
    .bind(dispute_id)
    .bind(coins)
    .execute(tx)
    .await?;
    expect_rows(&result, 1, "wallet.payment_disputes", dispute_id)
}

/// Decides an open dispute; returns the coins that it had set aside, or `None` if it was decided before.
pub async fn decide(
    tx: &mut PgConnection,
    payment_id: &str,
    dispute: &PaymentDispute,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar(
        "WITH open AS (
             SELECT payment_id, dispute_id, frozen_coins FROM wallet.payment_disputes
             WHERE payment_id = $1 AND dispute_id = $2 AND status = 'open' FOR UPDATE
         )
         UPDATE wallet.payment_disputes AS dispute
         SET status = $3, decided_at = $4, frozen_coins = 0
         FROM open WHERE dispute.payment_id = open.payment_id AND dispute.dispute_id = open.dispute_id
         RETURNING open.frozen_coins",
    )
    .bind(payment_id)
    .bind(&dispute.dispute_id)
    .bind(dispute.status.name())
    .bind(now)
    .fetch_optional(tx)
    .await
}

/// Clears the coins that disputes have set aside of a deleted account; returns their sum.
pub async fn take_frozen(tx: &mut PgConnection, owner_id: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "WITH frozen AS (
             SELECT payment_id, dispute_id, frozen_coins FROM wallet.payment_disputes
             WHERE owner_id = $1 AND frozen_coins > 0 FOR UPDATE
         ), cleared AS (
             UPDATE wallet.payment_disputes AS dispute SET frozen_coins = 0 FROM frozen
             WHERE dispute.payment_id = frozen.payment_id AND dispute.dispute_id = frozen.dispute_id
         )
         SELECT COALESCE(sum(frozen_coins), 0)::bigint FROM frozen",
    )
    .bind(owner_id)
    .fetch_one(tx)
    .await
}

/// Lists calls that a buyer has paid for since an instant, the newest first, each with what no dispute claims yet of it:
/// neither one that holds earnings nor a lost one that has taken them. Coins that were given are no payment, so they and
/// what they brought are left out.
pub async fn list_paid_calls(
    tx: &mut PgConnection,
    buyer_id: i64,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<PaidCall>> {
    let rows: Vec<(i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT earning.call_id, earning.coins - earning.bonus_coins AS coins,
                ((earning.money - earning.bonus_money) * 100)::bigint AS paise,
                (COALESCE(held.paise, 0) + COALESCE(taken.paise, 0))::bigint AS claimed_paise
         FROM (SELECT DISTINCT call_id FROM wallet.transfers
               WHERE owner_id = $1 AND kind = 'charge' AND created_at >= $2) AS paid
         JOIN wallet.call_earnings AS earning ON earning.call_id = paid.call_id
         LEFT JOIN LATERAL (
             SELECT sum(paise) AS paise FROM wallet.disputed_earnings AS held
             WHERE held.call_id = earning.call_id
         ) AS held ON true
         LEFT JOIN LATERAL (
             SELECT sum(paise) AS paise FROM wallet.transfers AS taken
             WHERE taken.call_id = earning.call_id AND taken.kind = 'earning_reversal'
         ) AS taken ON true
         WHERE earning.coins > earning.bonus_coins
         ORDER BY earning.created_at DESC, earning.call_id DESC LIMIT $3",
    )
    .bind(buyer_id)
    .bind(since)
    .bind(CALLS_MAX)
    .fetch_all(tx)
    .await?;
    let unclaimed = |(call_id, coins, paise, claimed_paise)| {
        let call = PaidCall {
            call_id,
            coins,
            paise,
        };
        call.without_claimed(claimed_paise)
    };
    Ok(rows.into_iter().map(unclaimed).collect())
}

/// Inserts the earnings that an open dispute holds, as pairs of call and paise.
pub async fn insert_earnings(
    tx: &mut PgConnection,
    payment_id: &str,
    dispute_id: &str,
    earnings: &[(i64, i64)],
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO wallet.disputed_earnings
             (payment_id, dispute_id, call_id, listener_id, paise, earned_at)
         SELECT $1, $2, earning.call_id, earning.listener_id, held.paise, earning.created_at
         FROM unnest($3::bigint[], $4::bigint[]) AS held (call_id, paise)
         JOIN wallet.call_earnings AS earning ON earning.call_id = held.call_id",
    )
    .bind(payment_id)
    .bind(dispute_id)
    .bind(column(earnings, |(call_id, _)| *call_id))
    .bind(column(earnings, |(_, paise)| *paise))
    .execute(tx)
    .await?;
    Ok(())
}

/// Releases the earnings that a decided dispute has held, or marks them as lost.
pub async fn decide_earnings(
    tx: &mut PgConnection,
    payment_id: &str,
    dispute: &PaymentDispute,
) -> sqlx::Result<()> {
    let statement = if dispute.status == DisputeStatus::Lost {
        "UPDATE wallet.disputed_earnings SET is_lost = true WHERE payment_id = $1 AND dispute_id = $2"
    } else {
        "DELETE FROM wallet.disputed_earnings WHERE payment_id = $1 AND dispute_id = $2"
    };
    sqlx::query(statement)
        .bind(payment_id)
        .bind(&dispute.dispute_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// Lists earnings that lost disputes take, at most `limit`.
pub async fn list_lost(
    connection: &mut PgConnection,
    limit: i64,
) -> sqlx::Result<Vec<LostEarning>> {
    sqlx::query_as(
        "SELECT payment_id, dispute_id, call_id, listener_id, paise FROM wallet.disputed_earnings
         WHERE is_lost ORDER BY call_id LIMIT $1",
    )
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// Deletes earnings that were taken; returns whether they were still there.
pub async fn delete_lost(tx: &mut PgConnection, earning: &LostEarning) -> sqlx::Result<bool> {
    let deleted = sqlx::query(
        "DELETE FROM wallet.disputed_earnings
         WHERE payment_id = $1 AND dispute_id = $2 AND call_id = $3 AND is_lost",
    )
    .bind(&earning.payment_id)
    .bind(&earning.dispute_id)
    .bind(earning.call_id)
    .execute(tx)
    .await?;
    Ok(deleted.rows_affected() == 1)
}
