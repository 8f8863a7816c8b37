//! `profile.feed_listeners`: what other services tell of each listener.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use talktime_kit::db::column;

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

/// Keeps statuses that are newer than those held, one of each person. Who is not in the feed stays out
/// of it.
pub async fn set_statuses(tx: &mut PgConnection, statuses: &[ListenerStatus]) -> sqlx::Result<()> {
    sqlx::query(
        "WITH told AS (
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::boolean[], $4::boolean[],
                                  $5::integer[], $6::timestamptz[])
                      AS told (user_id, version, is_online, is_busy, wait_time, last_seen)
         ), held AS (
             SELECT user_id FROM profile.feed_listeners WHERE user_id = ANY($1)
             ORDER BY user_id FOR NO KEY UPDATE
         )
         UPDATE profile.feed_listeners AS l
         SET status_version = told.version, is_online = told.is_online, is_busy = told.is_busy,
             wait_time = told.wait_time, last_seen = told.last_seen
         FROM held JOIN told USING (user_id)
         WHERE l.user_id = held.user_id AND l.status_version < told.version",
    )
    .bind(column(statuses, |status| status.user_id))
    .bind(column(statuses, |status| status.version))
    .bind(column(statuses, |status| status.is_online))
    .bind(column(statuses, |status| status.is_busy))
    .bind(column(statuses, |status| status.wait_time))
    .bind(column(statuses, |status| status.last_seen))
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

/// Calls that a listener has talked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Talked {
    /// How many.
    pub calls: i64,
    /// How long in all, in seconds.
    pub secs: i64,
}

/// Counts calls, by listener.
pub async fn add_calls(tx: &mut PgConnection, talked: &BTreeMap<i64, Talked>) -> sqlx::Result<()> {
    let user_ids: Vec<i64> = talked.keys().copied().collect();
    let talked: Vec<Talked> = talked.values().copied().collect();
    sqlx::query(
        "WITH told AS (
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
                      AS told (user_id, calls, secs)
         ), held AS (
             SELECT user_id FROM profile.feed_listeners WHERE user_id = ANY($1)
             ORDER BY user_id FOR NO KEY UPDATE
         )
         UPDATE profile.feed_listeners AS l
         SET call_count = call_count + told.calls, total_call_secs = total_call_secs + told.secs
         FROM held JOIN told USING (user_id)
         WHERE l.user_id = held.user_id",
    )
    .bind(user_ids)
    .bind(column(&talked, |talked| talked.calls))
    .bind(column(&talked, |talked| talked.secs))
    .execute(tx)
    .await?;
    Ok(())
}

/// What is held of a listener that others own.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
pub struct Held {
    /// Who it is.
    pub user_id: i64,
    /// Version of the status.
    pub status_version: i64,
    /// Whether they are here.
    pub is_online: bool,
    /// Whether they are on a call, or want none.
    pub is_busy: bool,
    /// Minutes until they are free.
    pub wait_time: Option<i32>,
    /// Their latest sign of life; moves without a version, and is not compared.
    pub last_seen: Option<DateTime<Utc>>,
    /// Calls that they have talked.
    pub call_count: i64,
    /// Seconds of all of them.
    pub total_call_secs: i64,
    /// Whether they are verified.
    pub is_verified: bool,
    /// Version of the standing.
    pub verification_version: i64,
}

impl Held {
    /// A listener whom nobody has told anything of.
    pub fn new(user_id: i64) -> Self {
        Self {
            user_id,
            status_version: 0,
            is_online: false,
            is_busy: false,
            wait_time: None,
            last_seen: None,
            call_count: 0,
            total_call_secs: 0,
            is_verified: false,
            verification_version: 0,
        }
    }

    /// Whether anything of it differs.
    pub fn differs(&self, other: &Self) -> bool {
        self.status_differs(other) || self.totals_differ(other) || self.standing_differs(other)
    }

    /// Whether the status does.
    pub fn status_differs(&self, other: &Self) -> bool {
        let of = |held: &Self| {
            (
                held.status_version,
                held.is_online,
                held.is_busy,
                held.wait_time,
            )
        };
        of(self) != of(other)
    }

    /// Whether the call totals do.
    pub fn totals_differ(&self, other: &Self) -> bool {
        let of = |held: &Self| (held.call_count, held.total_call_secs);
        of(self) != of(other)
    }

    /// Whether the standing does.
    pub fn standing_differs(&self, other: &Self) -> bool {
        let of = |held: &Self| (held.verification_version, held.is_verified);
        of(self) != of(other)
    }
}

macro_rules! held {
    ($tail:literal) => {
        concat!(
            "SELECT user_id, status_version, is_online, is_busy, wait_time, last_seen, call_count,
                    total_call_secs, is_verified, verification_version
             FROM profile.feed_listeners ",
            $tail
        )
    };
}

/// Listeners in the order of their ids.
pub async fn held_after(
    connection: &mut PgConnection,
    user_id: i64,
    limit: i64,
) -> sqlx::Result<Vec<Held>> {
    sqlx::query_as(held!("WHERE user_id > $1 ORDER BY user_id LIMIT $2"))
        .bind(user_id)
        .bind(limit)
        .fetch_all(connection)
        .await
}

/// These listeners, as far as they are in the feed.
pub async fn held_of(connection: &mut PgConnection, user_ids: &[i64]) -> sqlx::Result<Vec<Held>> {
    sqlx::query_as(held!("WHERE user_id = ANY($1)"))
        .bind(user_ids)
        .fetch_all(connection)
        .await
}

/// Makes the feed hold everybody with the role and nobody else, with what their profiles say.
/// Answers how many rows were wrong.
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
             interests = u.interests, preferred_language = u.preferred_language
         FROM profile.users AS u
         WHERE u.user_id = f.user_id
           AND (f.sex, f.rating_key, f.interests, f.preferred_language)
               IS DISTINCT FROM (u.sex, coalesce((u.rating * 100)::bigint, 0), u.interests,
                                 u.preferred_language)",
    ] {
        let mended = sqlx::query(statement).execute(&mut *connection).await?;
        wrong += mended.rows_affected();
    }
    Ok(wrong)
}

/// Writes the owner's status, unless a newer one has come. Answers how many rows were written.
pub async fn mend_status(connection: &mut PgConnection, said: &Held) -> sqlx::Result<u64> {
    let mended = sqlx::query(
        "UPDATE profile.feed_listeners
         SET status_version = $2, is_online = $3, is_busy = $4, wait_time = $5, last_seen = $6
         WHERE user_id = $1 AND status_version <= $2",
    )
    .bind(said.user_id)
    .bind(said.status_version)
    .bind(said.is_online)
    .bind(said.is_busy)
    .bind(said.wait_time)
    .bind(said.last_seen)
    .execute(connection)
    .await?;
    Ok(mended.rows_affected())
}

/// Writes the owner's call totals over those that were compared. Answers how many rows were written.
pub async fn mend_totals(
    connection: &mut PgConnection,
    held: &Held,
    said: &Held,
) -> sqlx::Result<u64> {
    let mended = sqlx::query(
        "UPDATE profile.feed_listeners SET call_count = $4, total_call_secs = $5
         WHERE user_id = $1 AND call_count = $2 AND total_call_secs = $3",
    )
    .bind(held.user_id)
    .bind(held.call_count)
    .bind(held.total_call_secs)
    .bind(said.call_count)
    .bind(said.total_call_secs)
    .execute(connection)
    .await?;
    Ok(mended.rows_affected())
}

/// Writes the owner's standing, unless a newer one has come. Answers how many rows were written.
pub async fn mend_standing(connection: &mut PgConnection, said: &Held) -> sqlx::Result<u64> {
    let mended = sqlx::query(
        "UPDATE profile.feed_listeners SET verification_version = $2, is_verified = $3
         WHERE user_id = $1 AND verification_version <= $2",
    )
    .bind(said.user_id)
    .bind(said.verification_version)
    .bind(said.is_verified)
    .execute(connection)
    .await?;
    Ok(mended.rows_affected())
}
