//! `profile.feed_listeners`: what other services tell of each listener.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// A listener's status, as presence tells it.
#[derive(Clone, Copy, Debug)]
pub struct ListenerStatus {
    /// Whose it is.
    pub user_id: i64,
    /// Grows with every change.
    pub version: i64,
    /// Whether they are here.
    pub is_online: bool,
    /// Whether they are on a call, or want none.
    pub is_busy: bool,
    /// Minutes until they are free.
    pub wait_time: Option<i32>,
    /// Their latest sign of life, as of this version.
    pub last_seen: Option<DateTime<Utc>>,
}

/// Puts a listener in the feed, offline until presence tells otherwise.
pub async fn insert(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO profile.feed_listeners (user_id) VALUES ($1) ON CONFLICT (user_id) DO NOTHING",
    )
    .bind(user_id)
    .execute(tx)
    .await?;
    Ok(())
}

/// Keeps a status that is newer than the one held. Who is not in the feed stays out of it.
pub async fn set_status(tx: &mut PgConnection, status: ListenerStatus) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE profile.feed_listeners
         SET status_version = $2, is_online = $3, is_busy = $4, wait_time = $5, last_seen = $6
         WHERE user_id = $1 AND status_version < $2",
    )
    .bind(status.user_id)
    .bind(status.version)
    .bind(status.is_online)
    .bind(status.is_busy)
    .bind(status.wait_time)
    .bind(status.last_seen)
    .execute(tx)
    .await?;
    Ok(())
}

/// Keeps a standing that is newer than the one held. Who is not in the feed stays out of it.
pub async fn set_verified(
    tx: &mut PgConnection,
    user_id: i64,
    version: i64,
    is_verified: bool,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE profile.feed_listeners SET verification_version = $2, is_verified = $3
         WHERE user_id = $1 AND verification_version < $2",
    )
    .bind(user_id)
    .bind(version)
    .bind(is_verified)
    .execute(tx)
    .await?;
    Ok(())
}

/// Counts a call that a listener has talked.
pub async fn add_call(tx: &mut PgConnection, user_id: i64, duration_secs: i64) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE profile.feed_listeners
         SET call_count = call_count + 1, total_call_secs = total_call_secs + $2
         WHERE user_id = $1",
    )
    .bind(user_id)
    .bind(duration_secs)
    .execute(tx)
    .await?;
    Ok(())
}
