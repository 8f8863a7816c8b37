//! `wallet.payout_batches`: the lists that operators pay by.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use talktime_kit::db::PgConnection;

/// A list that was exported.
#[derive(Clone, Debug, Eq, FromRow, PartialEq)]
pub struct PayoutBatchRecord {
    pub batch_id: i64,
    /// The operator, by the name that they gave.
    pub exported_by: String,
    pub exported_at: DateTime<Utc>,
}

/// Inserts a batch; returns its number.
pub async fn insert(
    tx: &mut PgConnection,
    exported_by: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "INSERT INTO wallet.payout_batches (exported_by, exported_at) VALUES ($1, $2)
         RETURNING batch_id",
    )
    .bind(exported_by)
    .bind(now)
    .fetch_one(tx)
    .await
}

/// Puts the withdrawals in processing that are payable and in no batch yet into this one; returns how many. Rows are
/// locked in the order of their ids, so that concurrent exports do not wait for each other in a circle.
pub async fn fill(tx: &mut PgConnection, batch_id: i64, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let filled = sqlx::query(
        "WITH unpaid AS (
             SELECT withdrawal_id FROM wallet.user_withdrawals
             WHERE status = 'processing' AND payout_batch_id IS NULL AND payable_at <= $2
             ORDER BY withdrawal_id FOR UPDATE)
         UPDATE wallet.user_withdrawals AS w SET payout_batch_id = $1
         FROM unpaid WHERE w.withdrawal_id = unpaid.withdrawal_id",
    )
    .bind(batch_id)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(filled.rows_affected())
}

/// Finds the batch that was exported last.
pub async fn find_last(connection: &mut PgConnection) -> sqlx::Result<Option<PayoutBatchRecord>> {
    sqlx::query_as(
        "SELECT batch_id, exported_by, exported_at FROM wallet.payout_batches
         ORDER BY batch_id DESC LIMIT 1",
    )
    .fetch_optional(connection)
    .await
}
