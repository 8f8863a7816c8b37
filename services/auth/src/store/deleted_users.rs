//! `auth.deleted_users`: accounts that have ended for good.

use talktime_kit::db::PgConnection;

/// The key of a user's lock. All services share the advisory locks of one database.
macro_rules! lock_key {
    () => {
        "hashtextextended('auth.account/' || $1::bigint, 0)"
    };
}

/// Holds off the deletion of a user until the transaction ends. Logins do not wait for each other.
pub async fn lock_shared(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    let lock = concat!("SELECT pg_advisory_xact_lock_shared(", lock_key!(), ")");
    sqlx::query(lock).bind(user_id).execute(tx).await?;
    Ok(())
}

/// Holds off logins of a user until the transaction ends.
pub async fn lock_exclusive(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    let lock = concat!("SELECT pg_advisory_xact_lock(", lock_key!(), ")");
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
