//! `calls.seen_unanswered`: how far users have seen their lists of unanswered calls.

use talktime_kit::db::PgConnection;

/// Counts the incoming unanswered calls that a user has not seen.
pub async fn count_unseen(connection: &mut PgConnection, user_id: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT count(*) FROM calls.user_calls
         WHERE listener_id = $1 AND phase = 'unanswered' AND outcome <> 'rejected'
           AND call_id > COALESCE((SELECT call_id FROM calls.seen_unanswered WHERE user_id = $1), 0)",
    )
    .bind(user_id)
    .fetch_one(connection)
    .await
}

/// Records that a user has seen all of their incoming unanswered calls.
pub async fn mark_seen(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO calls.seen_unanswered AS seen (user_id, call_id)
         SELECT $1, max(call_id) FROM calls.user_calls
         WHERE listener_id = $1 AND phase = 'unanswered' HAVING count(*) > 0
         ON CONFLICT (user_id) DO UPDATE SET call_id = GREATEST(seen.call_id, excluded.call_id)",
    )
    .bind(user_id)
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes the entry of a deleted user.
pub async fn delete_of_user(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM calls.seen_unanswered WHERE user_id = $1")
        .bind(user_id)
        .execute(tx)
        .await?;
    Ok(())
}
