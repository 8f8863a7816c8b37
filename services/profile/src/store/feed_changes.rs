//! Changes of `profile.feed_listeners` since a snapshot of the database, for the index that each replica keeps in
//! memory; and `profile.feed_removals`, the listeners who have left.
//!
//! A row bears the transaction that wrote it last (`changed_xid`). What an earlier snapshot did not see are the
//! transactions that were under way then, which the snapshot lists, and those that began later, whose numbers are not
//! below its `xmax`. So nothing is missed, in whatever order transactions commit.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use sqlx::FromRow;
use talktime_kit::db::PgConnection;

use super::listener_columns::listener_columns;
use crate::domain::feed_index::IndexedListener;

/// A moment in the history of a database server.
#[derive(Clone, Debug, FromRow)]
pub struct FeedSnapshot {
    /// The text of a `pg_snapshot`.
    pub snapshot: String,
    /// The start of the server. Another server, and the same one after a crash, may use transaction numbers again.
    pub server_started_at: DateTime<Utc>,
}

/// The changes between two snapshots, and whom blocks hide at the later one.
#[derive(Clone, Debug, FromRow)]
pub struct FeedChanges {
    /// The later snapshot.
    #[sqlx(flatten)]
    pub until: FeedSnapshot,
    /// Whether both snapshots belong to one history. Otherwise the changes are meaningless.
    pub is_continuation: bool,
    /// Listeners whose rows were inserted, updated or deleted. One may occur several times.
    pub user_ids: Vec<i64>,
    /// The viewer of each block in either direction. A viewer occurs twice if each has blocked the other.
    viewer_ids: Vec<i64>,
    /// The users who are hidden from these viewers, in the same order.
    hidden_ids: Vec<i64>,
}

impl FeedChanges {
    /// Returns the users who are hidden from each viewer who has any.
    pub fn group_hidden_users(&self) -> HashMap<i64, Vec<i64>> {
        let mut hidden: HashMap<i64, Vec<i64>> = HashMap::new();
        for (viewer_id, hidden_id) in self.viewer_ids.iter().zip(&self.hidden_ids) {
            hidden.entry(*viewer_id).or_default().push(*hidden_id);
        }
        hidden
    }
}

/// `SELECT` of listeners as the index has them, and the rest of the statement.
macro_rules! select_indexed {
    ($tail:literal) => {
        concat!(
            "SELECT ",
            listener_columns!(),
            ", 0::bigint AS sort_key,
                    f.rating_key, f.availability, f.last_seen_key, f.sex AS sex_key,
                    f.interest_keys, lower(f.preferred_language) AS language_tag, f.username_key
             FROM profile.feed_listeners AS f JOIN profile.users AS u USING (user_id) ",
            $tail
        )
    };
}

/// Reads the present snapshot.
pub async fn read_snapshot(connection: &mut PgConnection) -> sqlx::Result<FeedSnapshot> {
    sqlx::query_as(
        "SELECT pg_current_snapshot()::text AS snapshot,
                pg_postmaster_start_time() AS server_started_at",
    )
    .fetch_one(connection)
    .await
}

/// Lists at most `limit` listeners who have changed since a snapshot, and the users whom blocks hide from the viewers. One
/// statement answers both, because all pages that wait need both, and each statement costs them a journey.
pub async fn list_changes(
    connection: &mut PgConnection,
    since: &FeedSnapshot,
    limit: usize,
    viewer_ids: &[i64],
) -> sqlx::Result<FeedChanges> {
    sqlx::query_as(
        "SELECT pg_current_snapshot()::text AS snapshot,
                pg_postmaster_start_time() AS server_started_at,
                pg_postmaster_start_time() = $2
                    AND pg_snapshot_xmax(pg_current_snapshot())
                        >= pg_snapshot_xmax($1::text::pg_snapshot) AS is_continuation,
                profile.list_feed_changes($1::text::pg_snapshot, $3) AS user_ids,
                hidden.viewer_ids, hidden.hidden_ids
         FROM (SELECT coalesce(array_agg(viewer_id), '{}') AS viewer_ids,
                      coalesce(array_agg(hidden_id), '{}') AS hidden_ids
               FROM profile.list_hidden_users($4)) AS hidden",
    )
    .bind(&since.snapshot)
    .bind(since.server_started_at)
    .bind(row_limit(limit))
    .bind(viewer_ids)
    .fetch_one(connection)
    .await
}

/// Reads listeners in the order of their ids, each as it arrives. Both tables are bounded, so that neither is read from its
/// beginning.
pub fn read_after(
    connection: &mut PgConnection,
    user_id: i64,
    limit: usize,
) -> BoxStream<'_, sqlx::Result<IndexedListener>> {
    sqlx::query_as(select_indexed!(
        "WHERE f.user_id > $1 AND u.user_id > $1 ORDER BY f.user_id LIMIT $2"
    ))
    .bind(user_id)
    .bind(row_limit(limit))
    .fetch(connection)
}

/// Lists these listeners; users who are not in the feed are left out.
pub async fn list_these(
    connection: &mut PgConnection,
    user_ids: &[i64],
) -> sqlx::Result<Vec<IndexedListener>> {
    sqlx::query_as(select_indexed!("WHERE f.user_id = ANY($1)"))
        .bind(user_ids)
        .fetch_all(connection)
        .await
}

/// Returns interests as the feed compares them, by their texts.
pub async fn fold_interests(
    connection: &mut PgConnection,
    interests: &[String],
) -> sqlx::Result<HashMap<String, String>> {
    let folded: Vec<(String, String)> = sqlx::query_as(
        "SELECT interest, key FROM unnest($1::text[]) AS interest,
                unnest(profile.interest_keys(ARRAY[interest])) AS key",
    )
    .bind(interests)
    .fetch_all(connection)
    .await?;
    Ok(folded.into_iter().collect())
}

/// Deletes the removals of more than an hour ago.
pub async fn purge_removals(tx: &mut PgConnection, limit: usize) -> sqlx::Result<u64> {
    let deleted = sqlx::query(
        "DELETE FROM profile.feed_removals WHERE removal_id IN
         (SELECT removal_id FROM profile.feed_removals
          WHERE removed_at < now() - interval '1 hour' LIMIT $1)",
    )
    .bind(row_limit(limit))
    .execute(tx)
    .await?;
    Ok(deleted.rows_affected())
}

fn row_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
