//! `calls.call_ratings`, one row per rated call, and `calls.listener_ratings`, their sums.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use talktime_kit::db::PgConnection;

use crate::domain::rating::{CallRating, RatableCall};

/// Sums over the ratings of a listener.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct ListenerRatingTotals {
    /// Stars of all ratings.
    pub stars_total: i64,
    /// Number of ratings.
    pub ratings_total: i64,
}

/// Finds a call that began and locks its row until the end of the transaction, so that a deletion of its
/// parties waits.
pub async fn lock_rated_call(
    tx: &mut PgConnection,
    call_id: i64,
) -> sqlx::Result<Option<RatableCall>> {
    sqlx::query_as(
        "SELECT user_id, listener_id, status, end_time, listener_username = '' AS is_listener_gone
         FROM calls.call_records WHERE call_id = $1 AND start_time IS NOT NULL FOR SHARE",
    )
    .bind(call_id)
    .fetch_optional(tx)
    .await
}

/// Inserts a rating; false if the call has one.
pub async fn insert_rating(
    tx: &mut PgConnection,
    call_id: i64,
    listener_id: i64,
    rating: &CallRating,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let inserted = sqlx::query(
        "INSERT INTO calls.call_ratings (call_id, listener_id, stars, comment, created_at)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (call_id) DO NOTHING",
    )
    .bind(call_id)
    .bind(listener_id)
    .bind(rating.stars)
    .bind(&rating.comment)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Adds the stars of a rating to the sums of the listener.
pub async fn add_stars(
    tx: &mut PgConnection,
    listener_id: i64,
    stars: i16,
) -> sqlx::Result<ListenerRatingTotals> {
    sqlx::query_as(
        "INSERT INTO calls.listener_ratings AS sum (listener_id, stars_total, ratings_total)
         VALUES ($1, $2, 1)
         ON CONFLICT (listener_id) DO UPDATE
             SET stars_total = sum.stars_total + excluded.stars_total,
                 ratings_total = sum.ratings_total + 1
         RETURNING stars_total, ratings_total",
    )
    .bind(listener_id)
    .bind(i64::from(stars))
    .fetch_one(tx)
    .await
}

/// Counts the ratings of a listener by their stars, from one to five.
pub async fn count_by_stars(
    connection: &mut PgConnection,
    listener_id: i64,
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM calls.call_ratings AS rating
                 WHERE rating.listener_id = $1 AND rating.stars = stars.number)
         FROM generate_series(1, 5) AS stars (number) ORDER BY stars.number",
    )
    .bind(listener_id)
    .fetch_all(connection)
    .await
}

/// Deletes the ratings of a deleted listener and the comments of a deleted caller. The stars that the
/// caller gave stay.
pub async fn delete_of_user(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    for statement in [
        "DELETE FROM calls.call_ratings WHERE listener_id = $1",
        "DELETE FROM calls.listener_ratings WHERE listener_id = $1",
        "UPDATE calls.call_ratings AS rating SET comment = NULL
         FROM calls.user_calls AS call
         WHERE call.user_id = $1 AND rating.call_id = call.call_id AND comment IS NOT NULL",
    ] {
        sqlx::query(statement)
            .bind(user_id)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
