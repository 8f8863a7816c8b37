//! `auth.deleted_users`: accounts that have ended for good.

use std::collections::HashSet;

use talktime_kit::db::PgConnection;

/// The key of a user's lock, for an expression with their id. All services share the advisory locks of one database.
macro_rules! lock_key {
    ($user_id:literal) => {
        concat!("hashtextextended('auth.account/' || ", $user_id, ", 0)")
    };
}

/// Holds off the deletion of users until the transaction ends. Logins do not wait for each other.
pub async fn lock_all_shared(tx: &mut PgConnection, user_ids: &[i64]) -> sqlx::Result<()> {
    // In one order for all, since a deletion that waits makes later logins wait.
    sqlx::query(concat!(
        "SELECT pg_advisory_xact_lock_shared(",
        lock_key!("user_id"),
        ") FROM (SELECT DISTINCT user_id FROM unnest($1::bigint[]) AS person (user_id)
                 ORDER BY user_id) AS person"
    ))
    .bind(user_ids)
    .execute(tx)
    .await?;
    Ok(())
}

/// Holds off logins of a user until the transaction ends.
pub async fn lock_exclusive(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    let lock = concat!(
        "SELECT pg_advisory_xact_lock(",
        lock_key!("$1::bigint"),
        ")"
    );
    sqlx::query(lock).bind(user_id).execute(tx).await?;
    Ok(())
}

/// Returns whether the account of a user has ended. The answer stays valid until the end of the transaction only
/// if one of the locks above is held.
pub async fn exists(connection: &mut PgConnection, user_id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM auth.deleted_users WHERE user_id = $1)")
        .bind(user_id)
        .fetch_one(connection)
        .await
}

/// Finds those of these users whose accounts have ended. As with [`exists`], the answer stays valid under a lock.
pub async fn find_all(tx: &mut PgConnection, user_ids: &[i64]) -> sqlx::Result<HashSet<i64>> {
    let found: Vec<i64> =
        sqlx::query_scalar("SELECT user_id FROM auth.deleted_users WHERE user_id = ANY($1)")
            .bind(user_ids)
            .fetch_all(tx)
            .await?;
    Ok(found.into_iter().collect())
}

/// Inserts a deleted user; returns false if the user was inserted before.
pub async fn insert(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<bool> {
    let inserted = sqlx::query(
        "INSERT INTO auth.deleted_users (user_id) VALUES ($1) ON CONFLICT (user_id) DO NOTHING",
    )
    .bind(user_id)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}
