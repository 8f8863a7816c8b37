//! `wallet.user_withdrawals`: rupees that were asked for.

use sqlx::PgConnection;

/// What an operator has begun to pay out to a person, in paise.
pub async fn processing_paise(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT COALESCE(sum(amount) * 100, 0)::bigint FROM wallet.user_withdrawals
         WHERE user_id = $1 AND status = 'processing'",
    )
    .bind(user_id)
    .fetch_one(tx)
    .await
}
