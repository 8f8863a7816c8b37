//! `calls.live_parties`: the people who are busy with a call, at most one call each.

use talktime_kit::db::PgConnection;

/// Frees the parties of a call; returns how many there were.
pub async fn delete_by_call(tx: &mut PgConnection, call_id: i64) -> sqlx::Result<u64> {
    let freed = sqlx::query("DELETE FROM calls.live_parties WHERE call_id = $1")
        .bind(call_id)
        .execute(tx)
        .await?;
    Ok(freed.rows_affected())
}

/// Returns whether any of these users is busy with a call.
pub async fn is_any_busy(connection: &mut PgConnection, user_ids: &[i64]) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM calls.live_parties WHERE user_id = ANY($1))")
        .bind(user_ids)
        .fetch_one(connection)
        .await
}

/// Finds the call that a user is busy with, in any phase.
pub async fn find_call_id(
    connection: &mut PgConnection,
    user_id: i64,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("SELECT call_id FROM calls.live_parties WHERE user_id = $1")
        .bind(user_id)
        .fetch_optional(connection)
        .await
}
