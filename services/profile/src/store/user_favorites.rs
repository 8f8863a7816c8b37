//! `profile.user_favorites`: whom people like to talk to.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use super::feed_pages::FeedCounts;
use crate::domain::Page;

/// A favourite as its owner sees it.
#[derive(Clone, Debug, FromRow)]
pub struct Favorite {
    /// Who it is.
    pub user_id: i64,
    /// Their name.
    pub username: String,
    /// A name of [`crate::domain::Sex`].
    pub sex: String,
    /// What they say of themselves.
    pub bio: Option<String>,
    /// What they like to talk about.
    pub interests: Vec<String>,
    /// An address on the web.
    pub profile_image_url: Option<String>,
    /// A language tag.
    pub preferred_language: String,
    /// Where they are.
    pub country: Option<String>,
    /// Mean of the stars, in hundredths.
    pub rating_hundredths: Option<i32>,
    /// Whether they are here.
    pub is_online: bool,
    /// Whether they are on a call, or want none.
    pub is_busy: bool,
    /// Minutes until they are free.
    pub wait_time: Option<i32>,
    /// Their latest sign of life, as of their latest change of status.
    pub last_seen: Option<DateTime<Utc>>,
    /// Since when they are one.
    pub favorited_at: DateTime<Utc>,
}

/// Which of somebody's favourites are listed: all of them by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct FavoritesFilter {
    /// Only those online.
    pub online_only: bool,
    /// Only those online and not busy.
    pub available_only: bool,
}

impl FavoritesFilter {
    /// The least `availability` of a listener whom it finds.
    fn availability_min(self) -> i64 {
        match self {
            Self {
                available_only: true,
                ..
            } => 2,
            Self {
                online_only: true, ..
            } => 1,
            _ => 0,
        }
    }
}

/// The visible favourites of `$1` whose availability is at least `$2`. Who is blocked, either way, is in
/// nobody's sight; the row stays and shows again when the block goes.
macro_rules! of_visible {
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

/// Makes a listener a favourite; answers whether they were none before. Of many at once, one is
/// told so.
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

/// Drops a favourite; answers whether they were one.
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

/// The name under which a listener is told of somebody whose favourite they are: empty while either has
/// blocked the other.
pub async fn name_for_listener(
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

/// Whether the one likes the other.
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

/// How many favourites the filter finds, on all pages.
pub async fn counts(
    connection: &mut PgConnection,
    favoriter_id: i64,
    filter: FavoritesFilter,
) -> sqlx::Result<FeedCounts> {
    sqlx::query_as(of_visible!(
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

/// A page of favourites, newest first.
pub async fn page(
    connection: &mut PgConnection,
    favoriter_id: i64,
    filter: FavoritesFilter,
    page: Page,
) -> sqlx::Result<Vec<Favorite>> {
    sqlx::query_as(of_visible!(
        "SELECT u.user_id, u.username, u.sex, u.bio, u.interests, u.profile_image_url,
                u.preferred_language, u.country, (u.rating * 100)::integer AS rating_hundredths,
                f.is_online, f.is_busy, f.wait_time, f.last_seen,
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
