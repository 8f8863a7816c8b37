//! `profile.feed_listeners`: the feed's read model, with what other services report about each listener.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use talktime_kit::db::{PgConnection, column};

use crate::domain::feed_row::FeedSourceRow;

/// The status of a listener, as presence reports it.
#[derive(Clone, Copy, Debug)]
pub struct ListenerStatus {
    pub user_id: i64,
    /// Grows with every change of the status.
    pub version: i64,
    pub is_online: bool,
    /// Whether the listener is on a call, or wants none.
    pub is_busy: bool,
    pub accepting_calls: bool,
    /// Minutes until the listener is free.
    pub wait_time: Option<i32>,
    /// The last sign of life, as of this version.
    pub last_seen: Option<DateTime<Utc>>,
}

/// Updates the rows whose status is older than the one in `statuses`, which has at most one for each listener.
/// Users who are not in the feed are ignored.
pub async fn update_statuses(
    tx: &mut PgConnection,
    statuses: &[ListenerStatus],
) -> sqlx::Result<()> {
    sqlx::query(
        "WITH reported AS (
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::boolean[], $4::boolean[],
                                  $5::integer[], $6::timestamptz[], $7::boolean[])
                      AS reported (user_id, version, is_online, is_busy, wait_time, last_seen,
                                   accepting_calls)
         ), locked AS (
             SELECT user_id FROM profile.feed_listeners WHERE user_id = ANY($1)
             ORDER BY user_id FOR NO KEY UPDATE
         )
         UPDATE profile.feed_listeners AS l
         SET status_version = reported.version, is_online = reported.is_online,
             is_busy = reported.is_busy, wait_time = reported.wait_time,
             last_seen = reported.last_seen, accepting_calls = reported.accepting_calls
         FROM locked JOIN reported USING (user_id)
         WHERE l.user_id = locked.user_id AND l.status_version < reported.version",
    )
    .bind(column(statuses, |status| status.user_id))
    .bind(column(statuses, |status| status.version))
    .bind(column(statuses, |status| status.is_online))
    .bind(column(statuses, |status| status.is_busy))
    .bind(column(statuses, |status| status.wait_time))
    .bind(column(statuses, |status| status.last_seen))
    .bind(column(statuses, |status| status.accepting_calls))
    .execute(tx)
    .await?;
    Ok(())
}

/// Updates a row whose standing is older than the given one. Users who are not in the feed are ignored.
pub async fn update_verified(
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

/// Calls of a listener that count.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListenerCallTotals {
    pub calls: i64,
    /// The sum of their durations.
    pub secs: i64,
}

/// Adds calls to the totals of listeners.
pub async fn add_call_totals(
    tx: &mut PgConnection,
    totals: &BTreeMap<i64, ListenerCallTotals>,
) -> sqlx::Result<()> {
    let user_ids: Vec<i64> = totals.keys().copied().collect();
    let totals: Vec<ListenerCallTotals> = totals.values().copied().collect();
    sqlx::query(
        "WITH reported AS (
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
                      AS reported (user_id, calls, secs)
         ), locked AS (
             SELECT user_id FROM profile.feed_listeners WHERE user_id = ANY($1)
             ORDER BY user_id FOR NO KEY UPDATE
         )
         UPDATE profile.feed_listeners AS l
         SET call_count = call_count + reported.calls,
             total_call_secs = total_call_secs + reported.secs
         FROM locked JOIN reported USING (user_id)
         WHERE l.user_id = locked.user_id",
    )
    .bind(user_ids)
    .bind(column(&totals, |totals| totals.calls))
    .bind(column(&totals, |totals| totals.secs))
    .execute(tx)
    .await?;
    Ok(())
}

/// `SELECT` of rows with the fields that other services own, and the rest of the statement.
macro_rules! select_rows {
    ($tail:literal) => {
        concat!(
            "SELECT user_id, status_version, is_online, is_busy, wait_time, last_seen, call_count,
                    total_call_secs, answer_percent, is_verified, verification_version,
                    accepting_calls
             FROM profile.feed_listeners ",
            $tail
        )
    };
}

/// Lists the rows of listeners in the order of their ids.
pub async fn list_rows_after(
    connection: &mut PgConnection,
    user_id: i64,
    limit: i64,
) -> sqlx::Result<Vec<FeedSourceRow>> {
    sqlx::query_as(select_rows!("WHERE user_id > $1 ORDER BY user_id LIMIT $2"))
        .bind(user_id)
        .bind(limit)
        .fetch_all(connection)
        .await
}

/// Lists the rows of these listeners; users who are not in the feed are left out.
pub async fn list_rows(
    connection: &mut PgConnection,
    user_ids: &[i64],
) -> sqlx::Result<Vec<FeedSourceRow>> {
    sqlx::query_as(select_rows!("WHERE user_id = ANY($1)"))
        .bind(user_ids)
        .fetch_all(connection)
        .await
}

/// Inserts rows of listeners that are missing, deletes rows of users without the role, and updates the copied
/// fields of profiles. Returns the number of rows that were wrong.
pub async fn align_with_profiles(connection: &mut PgConnection) -> sqlx::Result<u64> {
    let mut wrong = 0;
    for statement in [
        "INSERT INTO profile.feed_listeners (user_id)
         SELECT user_id FROM profile.user_roles AS r
         WHERE r.role = 'listener' AND r.active
           AND NOT EXISTS (SELECT FROM profile.feed_listeners AS f WHERE f.user_id = r.user_id)
         ON CONFLICT (user_id) DO NOTHING",
        "DELETE FROM profile.feed_listeners AS f
         WHERE NOT EXISTS (SELECT FROM profile.user_roles AS r
                           WHERE r.user_id = f.user_id AND r.role = 'listener' AND r.active)",
        "UPDATE profile.feed_listeners AS f
         SET sex = u.sex, rating_key = coalesce((u.rating * 100)::bigint, 0),
             interests = u.interests, preferred_language = u.preferred_language,
             audio_enabled = u.audio_enabled, video_enabled = u.video_enabled,
             username_key = lower(u.username)
         FROM profile.users AS u
         WHERE u.user_id = f.user_id
           AND (f.sex, f.rating_key, f.interests, f.preferred_language, f.audio_enabled,
                f.video_enabled, f.username_key)
               IS DISTINCT FROM (u.sex, coalesce((u.rating * 100)::bigint, 0), u.interests,
                                 u.preferred_language, u.audio_enabled, u.video_enabled,
                                 lower(u.username))",
    ] {
        let repaired = sqlx::query(statement).execute(&mut *connection).await?;
        wrong += repaired.rows_affected();
    }
    Ok(wrong)
}

/// Writes the status of the source unless the row has a newer one. Returns the number of changed rows.
pub async fn repair_status(
    connection: &mut PgConnection,
    source: &FeedSourceRow,
) -> sqlx::Result<u64> {
    let repaired = sqlx::query(
        "UPDATE profile.feed_listeners
         SET status_version = $2, is_online = $3, is_busy = $4, wait_time = $5, last_seen = $6,
             accepting_calls = $7
         WHERE user_id = $1 AND status_version <= $2",
    )
    .bind(source.user_id)
    .bind(source.status_version)
    .bind(source.is_online)
    .bind(source.is_busy)
    .bind(source.wait_time)
    .bind(source.last_seen)
    .bind(source.accepting_calls)
    .execute(connection)
    .await?;
    Ok(repaired.rows_affected())
}

/// Writes the call totals of the source if the row still has those that were compared. Returns the number of
/// changed rows.
pub async fn repair_totals(
    connection: &mut PgConnection,
    stored: &FeedSourceRow,
    source: &FeedSourceRow,
) -> sqlx::Result<u64> {
    let repaired = sqlx::query(
        "UPDATE profile.feed_listeners SET call_count = $4, total_call_secs = $5
         WHERE user_id = $1 AND call_count = $2 AND total_call_secs = $3",
    )
    .bind(stored.user_id)
    .bind(stored.call_count)
    .bind(stored.total_call_secs)
    .bind(source.call_count)
    .bind(source.total_call_secs)
    .execute(connection)
    .await?;
    Ok(repaired.rows_affected())
}

/// Updates the answer rates that differ from those of the sources. Returns the number of changed rows.
pub async fn update_answer_rates(
    connection: &mut PgConnection,
    sources: &[FeedSourceRow],
) -> sqlx::Result<u64> {
    let updated = sqlx::query(
        "WITH reported AS (
             SELECT * FROM unnest($1::bigint[], $2::integer[]) AS reported (user_id, answer_percent)
         ), locked AS (
             SELECT user_id FROM profile.feed_listeners WHERE user_id = ANY($1)
             ORDER BY user_id FOR NO KEY UPDATE
         )
         UPDATE profile.feed_listeners AS l SET answer_percent = reported.answer_percent
         FROM locked JOIN reported USING (user_id)
         WHERE l.user_id = locked.user_id
           AND l.answer_percent IS DISTINCT FROM reported.answer_percent",
    )
    .bind(column(sources, |row| row.user_id))
    .bind(column(sources, |row| row.answer_percent))
    .execute(connection)
    .await?;
    Ok(updated.rows_affected())
}

/// Writes the standing of the source unless the row has a newer one. Returns the number of changed rows.
pub async fn repair_standing(
    connection: &mut PgConnection,
    source: &FeedSourceRow,
) -> sqlx::Result<u64> {
    let repaired = sqlx::query(
        "UPDATE profile.feed_listeners SET verification_version = $2, is_verified = $3
         WHERE user_id = $1 AND verification_version <= $2",
    )
    .bind(source.user_id)
    .bind(source.verification_version)
    .bind(source.is_verified)
    .execute(connection)
    .await?;
    Ok(repaired.rows_affected())
}
