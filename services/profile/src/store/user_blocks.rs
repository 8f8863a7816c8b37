//! `profile.user_blocks`: blocks and reports between users.

use chrono::{DateTime, Utc};
use talktime_kit::db::{PgConnection, column};
use talktime_kit::paging::ListPageRequest;

use crate::domain::{BlockAction, BlockedUser, CallPermissionFacts, PlannedParties, UserBlock};

/// Checks whether callers may call listeners. The results have the order of the calls.
///
/// The limit excludes no call. It makes Postgres expect as few calls without knowing them as it finds when it knows them,
/// so that it keeps the plan. Otherwise it plans the statement for each start of a call, which takes longer than the
/// execution. The plan is made again when autovacuum finds that a table has grown.
pub async fn check_calls(
    connection: &mut PgConnection,
    planned: &[PlannedParties],
) -> sqlx::Result<Vec<CallPermissionFacts>> {
    sqlx::query_as(
        "SELECT caller_profile.username AS caller_username,
                listener_profile.username AS listener_username,
                caller_profile.profile_image_url AS caller_image_url,
                listener_profile.profile_image_url AS listener_image_url,
                (caller_profile.rating * 100)::integer AS caller_rating_hundredths,
                (listener_profile.rating * 100)::integer AS listener_rating_hundredths,
                coalesce(listener_profile.audio_enabled, true) AS audio_enabled,
                coalesce(listener_profile.video_enabled, true) AS video_enabled,
                EXISTS (SELECT FROM profile.user_roles
                        WHERE user_id = listener AND role = 'listener' AND active) AS is_listener,
                EXISTS (SELECT FROM profile.user_blocks
                        WHERE blocker_id = caller AND blocked_id = listener
                           OR blocker_id = listener AND blocked_id = caller) AS is_blocked,
                EXISTS (SELECT FROM profile.feed_listeners
                        WHERE user_id = listener AND NOT is_verified) AS is_verification_missing
         FROM (SELECT * FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY LIMIT $3)
              AS planned (caller, listener, position)
         LEFT JOIN profile.users AS caller_profile ON caller_profile.user_id = caller
         LEFT JOIN profile.users AS listener_profile ON listener_profile.user_id = listener
         ORDER BY position",
    )
    .bind(column(planned, |parties| parties.caller_id))
    .bind(column(planned, |parties| parties.listener_id))
    .bind(i64::try_from(planned.len()).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await
}

/// Inserts a block, or updates its action and reason. Returns whether anything has changed, which is true for only
/// one of several equal requests at the same time.
pub async fn upsert(
    tx: &mut PgConnection,
    block: &UserBlock,
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

/// Deletes a block; returns whether there was one.
pub async fn delete(tx: &mut PgConnection, blocker_id: i64, blocked_id: i64) -> sqlx::Result<bool> {
    let deleted =
        sqlx::query("DELETE FROM profile.user_blocks WHERE blocker_id = $1 AND blocked_id = $2")
            .bind(blocker_id)
            .bind(blocked_id)
            .execute(tx)
            .await?;
    Ok(deleted.rows_affected() == 1)
}

/// Whether one of two users has blocked the other.
pub async fn is_blocked_between(
    connection: &mut PgConnection,
    parties: [i64; 2],
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM profile.user_blocks
                        WHERE blocker_id = $1 AND blocked_id = $2
                           OR blocker_id = $2 AND blocked_id = $1)",
    )
    .bind(parties[0])
    .bind(parties[1])
    .fetch_one(connection)
    .await
}

/// Finds the name of the [`BlockAction`] of one user against another.
pub async fn find_action(
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

/// Lists the users whom a user has blocked, and those who have blocked that user.
pub async fn list_hidden_users(
    connection: &mut PgConnection,
    user_id: i64,
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT blocked_id FROM profile.user_blocks WHERE blocker_id = $1
         UNION
         SELECT blocker_id FROM profile.user_blocks WHERE blocked_id = $1",
    )
    .bind(user_id)
    .fetch_all(connection)
    .await
}

/// Counts the users whom a user has blocked, limited to `action` if it is given.
pub async fn count(
    connection: &mut PgConnection,
    blocker_id: i64,
    action: Option<BlockAction>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT count(*) FROM profile.user_blocks
         WHERE blocker_id = $1 AND ($2::text IS NULL OR action_type = $2)",
    )
    .bind(blocker_id)
    .bind(action.map(BlockAction::name))
    .fetch_one(connection)
    .await
}

/// Lists a page of the users whom a user has blocked, newest first, limited to `action` if it is given.
pub async fn list_page(
    connection: &mut PgConnection,
    blocker_id: i64,
    action: Option<BlockAction>,
    page: ListPageRequest,
) -> sqlx::Result<Vec<BlockedUser>> {
    sqlx::query_as(
        "SELECT u.user_id, u.username, u.sex, u.bio, u.profile_image_url, b.action_type, b.reason,
                b.created_at AS blocked_at
         FROM profile.user_blocks AS b JOIN profile.users AS u ON u.user_id = b.blocked_id
         WHERE b.blocker_id = $1 AND ($2::text IS NULL OR b.action_type = $2)
         ORDER BY b.created_at DESC, b.blocked_id DESC LIMIT $3 OFFSET $4",
    )
    .bind(blocker_id)
    .bind(action.map(BlockAction::name))
    .bind(page.limit())
    .bind(page.offset())
    .fetch_all(connection)
    .await
}
