//! `standings`: one row a listener, with the result of all decisions on them.

use sqlx::FromRow;
use talktime_kit::Error;
use talktime_kit::db::{PgConnection, expect_rows};

use crate::domain::ListenerVerificationState;

/// A listener's row, locked until the transaction ends.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
pub struct LockedVerificationRow {
    pub is_verified: bool,
    pub is_deleted: bool,
}

/// Locks the row of a listener until the transaction ends, and inserts it first if there is none. So changes of
/// one listener happen one after the other.
pub async fn lock(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<LockedVerificationRow> {
    sqlx::query_as(
        "INSERT INTO verification.standings (user_id) VALUES ($1)
         ON CONFLICT (user_id) DO UPDATE SET user_id = excluded.user_id
         RETURNING is_verified, is_deleted",
    )
    .bind(user_id)
    .fetch_one(tx)
    .await
}

/// Updates whether a locked listener is verified, and returns the new version.
pub async fn update_verified(
    tx: &mut PgConnection,
    user_id: i64,
    is_verified: bool,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "UPDATE verification.standings SET is_verified = $2, version = version + 1
         WHERE user_id = $1 RETURNING version",
    )
    .bind(user_id)
    .bind(is_verified)
    .fetch_one(tx)
    .await
}

/// Increments the version of a locked listener for an event that decides nothing, and returns it.
pub async fn increment_version(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "UPDATE verification.standings SET version = version + 1
         WHERE user_id = $1 RETURNING version",
    )
    .bind(user_id)
    .fetch_one(tx)
    .await
}

/// Marks a locked listener as deleted, so that later submissions are refused.
pub async fn mark_deleted(tx: &mut PgConnection, user_id: i64) -> Result<(), Error> {
    let result = sqlx::query(
        "UPDATE verification.standings SET is_verified = false, is_deleted = true
         WHERE user_id = $1",
    )
    .bind(user_id)
    .execute(tx)
    .await?;
    expect_rows(&result, 1, "verification.standings", user_id)
}

/// Lists the standings of many users; users without one are left out.
pub async fn list(
    db: &mut PgConnection,
    user_ids: &[i64],
) -> sqlx::Result<Vec<ListenerVerificationState>> {
    sqlx::query_as(
        "SELECT user_id, is_verified, version FROM verification.standings WHERE user_id = ANY($1)",
    )
    .bind(user_ids)
    .fetch_all(db)
    .await
}
