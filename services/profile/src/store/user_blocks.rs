//! `profile.user_blocks`: who does not want to see whom.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use talktime_kit::db::column;

use crate::domain::{Action, Page};

/// Somebody kept away by somebody.
#[derive(Clone, Debug)]
pub struct Block {
    /// By whom.
    pub blocker_id: i64,
    /// Who.
    pub blocked_id: i64,
    /// How.
    pub action: Action,
    /// Why.
    pub reason: Option<String>,
}

/// A blocked person as the one who blocked them sees them.
#[derive(Clone, Debug, FromRow)]
pub struct Blocked {
    /// Who it is.
    pub user_id: i64,
    /// Their name.
    pub username: String,
    /// A name of [`crate::domain::Sex`].
    pub sex: String,
    /// What they say of themselves.
    pub bio: Option<String>,
    /// An address on the web.
    pub profile_image_url: Option<String>,
    /// A name of [`Action`].
    pub action_type: String,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    pub blocked_at: DateTime<Utc>,
}

/// What stands between a caller and the one called.
#[derive(Clone, Debug, FromRow)]
pub struct CallCheck {
    /// `None` when there is no such user.
    pub caller_username: Option<String>,
    /// `None` when there is no such user.
    pub listener_username: Option<String>,
    /// Whether the one called is a listener.
    pub is_listener: bool,
    /// Whether either has blocked, or reported, the other.
    pub is_blocked: bool,
    /// Whether the one called is a listener whom nobody has verified.
    pub is_verification_missing: bool,
    /// `None` without a picture.
    pub caller_image_url: Option<String>,
    /// `None` without a picture.
    pub listener_image_url: Option<String>,
    /// Hundredths of stars; `None` before the first.
    pub caller_rating_hundredths: Option<i32>,
    /// Hundredths of stars; `None` before the first.
    pub listener_rating_hundredths: Option<i32>,
}

/// Whether callers may call listeners, `(caller_id, listener_id)` each, in their order.
pub async fn check_calls(
    connection: &mut PgConnection,
    planned: &[(i64, i64)],
) -> sqlx::Result<Vec<CallCheck>> {
    sqlx::query_as(
        "SELECT caller_profile.username AS caller_username,
                listener_profile.username AS listener_username,
                caller_profile.profile_image_url AS caller_image_url,
                listener_profile.profile_image_url AS listener_image_url,
                (caller_profile.rating * 100)::integer AS caller_rating_hundredths,
                (listener_profile.rating * 100)::integer AS listener_rating_hundredths,
                EXISTS (SELECT FROM profile.user_roles
                        WHERE user_id = listener AND role = 'listener' AND active) AS is_listener,
                EXISTS (SELECT FROM profile.user_blocks
                        WHERE blocker_id = caller AND blocked_id = listener
                           OR blocker_id = listener AND blocked_id = caller) AS is_blocked,
                EXISTS (SELECT FROM profile.feed_listeners
                        WHERE user_id = listener AND NOT is_verified) AS is_verification_missing
         FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY
              AS planned (caller, listener, position)
         LEFT JOIN profile.users AS caller_profile ON caller_profile.user_id = caller
         LEFT JOIN profile.users AS listener_profile ON listener_profile.user_id = listener
         ORDER BY position",
    )
    .bind(column(planned, |(caller_id, _)| *caller_id))
    .bind(column(planned, |(_, listener_id)| *listener_id))
    .fetch_all(connection)
    .await
}

/// Blocks, or changes how and why. Answers whether anything differs now: of many at once, one hears
/// so.
pub async fn upsert(
    tx: &mut PgConnection,
    block: &Block,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let written = sqlx::query(
        "INSERT INTO profile.user_blocks AS b
             (blocker_id, blocked_id, action_type, reason, created_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (blocker_id, blocked_id) DO UPDATE
         SET action_type = excluded.action_type, reason = excluded.reason
         WHERE (b.action_type, b.reason)
               IS DISTINCT FROM (excluded.action_type, excluded.reason)",
    )
    .bind(block.blocker_id)
    .bind(block.blocked_id)
    .bind(block.action.name())
    .bind(&block.reason)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(written.rows_affected() == 1)
}

/// Takes a block back; answers whether there was one.
pub async fn delete(tx: &mut PgConnection, blocker_id: i64, blocked_id: i64) -> sqlx::Result<bool> {
    let deleted =
        sqlx::query("DELETE FROM profile.user_blocks WHERE blocker_id = $1 AND blocked_id = $2")
            .bind(blocker_id)
            .bind(blocked_id)
            .execute(tx)
            .await?;
    Ok(deleted.rows_affected() == 1)
}

/// The name of the [`Action`] that the one keeps the other away with, if any.
pub async fn action(
    connection: &mut PgConnection,
    blocker_id: i64,
    blocked_id: i64,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(
        "SELECT action_type FROM profile.user_blocks WHERE blocker_id = $1 AND blocked_id = $2",
    )
    .bind(blocker_id)
    .bind(blocked_id)
    .fetch_optional(connection)
    .await
}

/// Whom somebody has blocked, and who has blocked them.
pub async fn either_way(connection: &mut PgConnection, user_id: i64) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT blocked_id FROM profile.user_blocks WHERE blocker_id = $1
         UNION
         SELECT blocker_id FROM profile.user_blocks WHERE blocked_id = $1",
    )
    .bind(user_id)
    .fetch_all(connection)
    .await
}

/// How many people somebody has blocked; in one way only, where `action` is given.
pub async fn count(
    connection: &mut PgConnection,
    blocker_id: i64,
    action: Option<Action>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT count(*) FROM profile.user_blocks
         WHERE blocker_id = $1 AND ($2::text IS NULL OR action_type = $2)",
    )
    .bind(blocker_id)
    .bind(action.map(Action::name))
    .fetch_one(connection)
    .await
}

/// A page of the people whom somebody has blocked, newest first; in one way only, where `action` is given.
pub async fn page(
    connection: &mut PgConnection,
    blocker_id: i64,
    action: Option<Action>,
    page: Page,
) -> sqlx::Result<Vec<Blocked>> {
    sqlx::query_as(
        "SELECT u.user_id, u.username, u.sex, u.bio, u.profile_image_url, b.action_type, b.reason,
                b.created_at AS blocked_at
         FROM profile.user_blocks AS b JOIN profile.users AS u ON u.user_id = b.blocked_id
         WHERE b.blocker_id = $1 AND ($2::text IS NULL OR b.action_type = $2)
         ORDER BY b.created_at DESC, b.blocked_id DESC LIMIT $3 OFFSET $4",
    )
    .bind(blocker_id)
    .bind(action.map(Action::name))
    .bind(page.limit())
    .bind(page.offset())
    .fetch_all(connection)
    .await
}
