//! `presence.deleted_users`: who is gone, so that what is heard of them late makes no new row.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// Lets the birth and the death of a user's row take turns, until the transaction ends: else an
/// insert that began before a deletion could end after it.
pub async fn take_turns(tx: &mut PgConnection, user_ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query(
        "SELECT pg_advisory_xact_lock(user_id)
         FROM (SELECT user_id FROM unnest($1::bigint[]) AS wanted (user_id) ORDER BY user_id) AS ordered",
    )
    .bind(user_ids)
    .execute(tx)
    .await?;
    Ok(())
}

/// Remembers that a user is gone.
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
