//! `presence.deleted_users`: ids of deleted users, so that a late message does not create their row again.

use chrono::{DateTime, Utc};
use talktime_kit::db::PgConnection;

/// Locks the insertion and the deletion of the rows of these users until the transaction ends. Without it, an
/// insertion that began before a deletion could commit after it. The lock has to be taken before any row is
/// locked.
pub async fn lock_user_lifecycle(tx: &mut PgConnection, user_ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query(
        "SELECT pg_advisory_xact_lock(user_id)
         FROM (SELECT user_id FROM unnest($1::bigint[]) AS wanted (user_id) ORDER BY user_id) AS ordered",
    )
    .bind(user_ids)
    .execute(tx)
    .await?;
    Ok(())
}

/// Remembers that a user was deleted.
pub async fn insert(tx: &mut PgConnection, user_id: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO presence.deleted_users (user_id, deleted_at) VALUES ($1, $2)
         ON CONFLICT (user_id) DO NOTHING",
    )
    .bind(user_id)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}
