//! `standings`: a row a listener, with what decisions have made of them.

use sqlx::{FromRow, PgConnection};

/// A listener's row, locked until the transaction ends.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
pub struct Locked {
    /// Whether they are verified.
    pub is_verified: bool,
    /// Whether they are gone.
    pub is_deleted: bool,
}

/// Makes the changes of one listener take turns, until the transaction ends.
pub async fn lock(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<Locked> {
    sqlx::query_as(
        "INSERT INTO verification.standings (user_id) VALUES ($1)
         ON CONFLICT (user_id) DO UPDATE SET user_id = excluded.user_id
         RETURNING is_verified, is_deleted",
    )
    .bind(user_id)
    .fetch_one(tx)
    .await
}

/// Writes what a decision has made of a locked listener. Answers the new version.
pub async fn decide(tx: &mut PgConnection, user_id: i64, is_verified: bool) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "UPDATE verification.standings SET is_verified = $2, version = version + 1
         WHERE user_id = $1 RETURNING version",
    )
    .bind(user_id)
    .bind(is_verified)
    .fetch_one(tx)
    .await
}

/// Counts a change of a locked listener that decides nothing. Answers the new version.
pub async fn touch(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "UPDATE verification.standings SET version = version + 1
         WHERE user_id = $1 RETURNING version",
    )
    .bind(user_id)
    .fetch_one(tx)
    .await
}

/// Remembers that a locked listener is gone.
pub async fn delete(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE verification.standings SET is_verified = false, is_deleted = true
         WHERE user_id = $1",
    )
    .bind(user_id)
    .execute(tx)
    .await?;
    Ok(())
}

/// What decisions have made of a listener.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
pub struct Known {
    /// Whose standing.
    pub user_id: i64,
    /// Whether they are verified.
    pub is_verified: bool,
    /// Version of the events that tell of it.
    pub version: i64,
}

/// The standings of many; who has none is left out.
pub async fn of_many(connection: &mut PgConnection, user_ids: &[i64]) -> sqlx::Result<Vec<Known>> {
    sqlx::query_as(
        "SELECT user_id, is_verified, version FROM verification.standings WHERE user_id = ANY($1)",
    )
    .bind(user_ids)
    .fetch_all(connection)
    .await
}
