//! `profile.user_favorites`: listeners whom users have marked as favourites.

use chrono::{DateTime, Utc};
use talktime_kit::db::PgConnection;
use talktime_kit::paging::ListPageRequest;

use crate::domain::feed::FeedListenerCounts;
use crate::domain::{FavoriteListener, FavoriteListenerFilter};

/// A statement over the visible favourites of `$1` whose availability is at least `$2`. A block in either direction
/// hides a favourite; the row stays and is visible again when the block is removed.
macro_rules! select_visible {
    ($head:literal, $tail:literal) => {
        concat!(
            $head,
            " FROM profile.user_favorites AS favorite
              JOIN profile.users AS u ON u.user_id = favorite.favoritee_id
              JOIN profile.feed_listeners AS f ON f.user_id = favorite.favoritee_id
              WHERE favorite.favoriter_id = $1 AND f.availability >= $2
                AND NOT EXISTS (SELECT FROM profile.user_blocks AS b
                                WHERE b.blocker_id = $1 AND b.blocked_id = u.user_id)
                AND NOT EXISTS (SELECT FROM profile.user_blocks AS b
                                WHERE b.blocker_id = u.user_id AND b.blocked_id = $1) ",
            $tail
        )
    };
}

/// Inserts a favourite; returns whether it is a new one, which is true for only one of several equal requests at
/// the same time.
pub async fn insert(
    tx: &mut PgConnection,
    favoriter_id: i64,
    favoritee_id: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let inserted = sqlx::query(
        "INSERT INTO profile.user_favorites (favoriter_id, favoritee_id, created_at)
         VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(favoriter_id)
    .bind(favoritee_id)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Deletes a favourite; returns whether there was one.
pub async fn delete(
    tx: &mut PgConnection,
    favoriter_id: i64,
    favoritee_id: i64,
) -> sqlx::Result<bool> {
    let deleted = sqlx::query(
        "DELETE FROM profile.user_favorites WHERE favoriter_id = $1 AND favoritee_id = $2",
    )
    .bind(favoriter_id)
    .bind(favoritee_id)
    .execute(tx)
    .await?;
    Ok(deleted.rows_affected() == 1)
}

/// Finds the name of a user as a listener may read it: it is empty while either has blocked the other.
pub async fn find_visible_name(
    tx: &mut PgConnection,
    favoriter_id: i64,
    favoritee_id: i64,
) -> sqlx::Result<String> {
    let name: Option<String> = sqlx::query_scalar(
        "SELECT username FROM profile.users
         WHERE user_id = $1
           AND NOT EXISTS (SELECT FROM profile.user_blocks
                           WHERE blocker_id = $1 AND blocked_id = $2
                              OR blocker_id = $2 AND blocked_id = $1)",
    )
    .bind(favoriter_id)
    .bind(favoritee_id)
    .fetch_optional(tx)
    .await?;
    Ok(name.unwrap_or_default())
}

/// Returns whether a listener is a favourite of a user.
pub async fn exists(
    connection: &mut PgConnection,
    favoriter_id: i64,
    favoritee_id: i64,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM profile.user_favorites
                        WHERE favoriter_id = $1 AND favoritee_id = $2)",
    )
    .bind(favoriter_id)
    .bind(favoritee_id)
    .fetch_one(connection)
    .await
}

/// Counts the favourites that the filter finds, on all pages.
pub async fn count(
    connection: &mut PgConnection,
    favoriter_id: i64,
    filter: FavoriteListenerFilter,
) -> sqlx::Result<FeedListenerCounts> {
    sqlx::query_as(select_visible!(
        "SELECT count(*) AS total,
                count(*) FILTER (WHERE f.availability > 0) AS online,
                count(*) FILTER (WHERE f.availability = 2) AS available",
        ""
    ))
    .bind(favoriter_id)
    .bind(filter.availability_min())
    .fetch_one(connection)
    .await
}

/// Lists a page of favourites, newest first.
pub async fn list_page(
    connection: &mut PgConnection,
    favoriter_id: i64,
    filter: FavoriteListenerFilter,
    page: ListPageRequest,
) -> sqlx::Result<Vec<FavoriteListener>> {
    sqlx::query_as(select_visible!(
        "SELECT u.user_id, u.username, u.sex, u.bio, u.interests, u.profile_image_url,
                u.preferred_language, u.country, (u.rating * 100)::integer AS rating_hundredths,
                f.is_online, f.is_busy, f.wait_time, f.last_seen, f.accepting_calls,
                favorite.created_at AS favorited_at",
        "ORDER BY favorite.created_at DESC, favorite.favoritee_id DESC LIMIT $3 OFFSET $4"
    ))
    .bind(favoriter_id)
    .bind(filter.availability_min())
    .bind(page.limit())
    .bind(page.offset())
    .fetch_all(connection)
    .await
}
