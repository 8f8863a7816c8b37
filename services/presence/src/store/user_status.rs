//! `presence.user_status`: one row a person.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use talktime_kit::db::column;

use crate::domain::{SignOfLife, UserStatus};

/// The columns of a [`UserStatus`].
macro_rules! columns {
    () => {
        "user_id, username, is_online, is_busy, wait_time, last_seen, created_at, updated_at, \
         version, call_id, last_ended_call_id, session_changed_at, profile_version, busy_since, \
         is_listener, role_version, status_changed_at, ended_session_ids, went_offline_at"
    };
}

/// What others see of somebody who is online by a sign of life. No more: there are tens of thousands a
/// second.
#[derive(Debug, FromRow)]
pub struct Alive {
    /// Who it is.
    pub user_id: i64,
    /// Empty while unknown.
    pub username: String,
    /// Whether they are on a call, or want none.
    pub is_busy: bool,
    /// Minutes until they are free.
    pub wait_time: Option<i32>,
    /// Their latest sign of life.
    pub last_seen: DateTime<Utc>,
    /// Whether they are a listener.
    pub is_listener: bool,
    /// Of the status.
    pub version: i64,
    /// Whether the sign of life has put them online.
    pub came_online: bool,
}

/// Statuses in the order of user ids; unknown ids are left out.
pub async fn find(
    connection: &mut PgConnection,
    user_ids: &[i64],
) -> sqlx::Result<Vec<UserStatus>> {
    sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM presence.user_status WHERE user_id = ANY($1) ORDER BY user_id"
    ))
    .bind(user_ids)
    .fetch_all(connection)
    .await
}

/// The same, locked until the transaction ends.
pub async fn lock(tx: &mut PgConnection, user_ids: &[i64]) -> sqlx::Result<Vec<UserStatus>> {
    sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM presence.user_status WHERE user_id = ANY($1)
         ORDER BY user_id FOR NO KEY UPDATE"
    ))
    .bind(user_ids)
    .fetch_all(tx)
    .await
}

/// Who is online, those whose status changed last first; only listeners, where asked for.
pub async fn online(
    connection: &mut PgConnection,
    listeners_only: bool,
    limit: i64,
) -> sqlx::Result<Vec<UserStatus>> {
    let statement = if listeners_only {
        concat!(
            "SELECT ",
            columns!(),
            " FROM presence.user_status WHERE is_online AND is_listener
             ORDER BY status_changed_at DESC LIMIT $1"
        )
    } else {
        concat!(
            "SELECT ",
            columns!(),
            " FROM presence.user_status WHERE is_online
             ORDER BY status_changed_at DESC LIMIT $1"
        )
    };
    sqlx::query_as(statement)
        .bind(limit)
        .fetch_all(connection)
        .await
}

/// Makes rows, offline and free, for those who have none and are not gone.
pub async fn insert_missing(
    tx: &mut PgConnection,
    user_ids: &[i64],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO presence.user_status (user_id, last_seen, created_at, updated_at)
         SELECT user_id, $2, $2, $2 FROM unnest($1::bigint[]) AS wanted (user_id)
         WHERE NOT EXISTS
             (SELECT FROM presence.deleted_users AS gone WHERE gone.user_id = wanted.user_id)
         ORDER BY user_id
         ON CONFLICT (user_id) DO NOTHING",
    )
    .bind(user_ids)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes locked statuses back. `last_seen` only moves forward.
pub async fn save(tx: &mut PgConnection, statuses: &[&UserStatus]) -> sqlx::Result<()> {
    if statuses.is_empty() {
        return Ok(());
    }
    let saved = sqlx::query(
        "UPDATE presence.user_status AS s
         SET username = new.username, is_online = new.is_online, is_busy = new.is_busy,
             wait_time = new.wait_time, last_seen = new.last_seen, updated_at = new.updated_at,
             version = new.version, call_id = new.call_id,
             last_ended_call_id = new.last_ended_call_id,
             session_changed_at = new.session_changed_at, profile_version = new.profile_version,
             busy_since = new.busy_since, is_listener = new.is_listener,
             role_version = new.role_version, status_changed_at = new.status_changed_at,
             swept_seen_at = new.last_seen,
             ended_session_ids = string_to_array(new.ended_session_ids, ','),
             went_offline_at = new.went_offline_at
         FROM unnest($1::bigint[], $2::text[], $3::boolean[], $4::boolean[], $5::integer[],
                     $6::timestamptz[], $7::timestamptz[], $8::bigint[], $9::bigint[],
                     $10::bigint[], $11::timestamptz[], $12::bigint[], $13::timestamptz[],
                     $14::boolean[], $15::bigint[], $16::timestamptz[], $17::text[],
                     $18::timestamptz[])
              AS new (user_id, username, is_online, is_busy, wait_time, last_seen, updated_at,
                      version, call_id, last_ended_call_id, session_changed_at, profile_version,
                      busy_since, is_listener, role_version, status_changed_at,
                      ended_session_ids, went_offline_at)
         WHERE s.user_id = new.user_id",
    )
    .bind(column(statuses, |status| status.user_id))
    .bind(column(statuses, |status| status.username.as_str()))
    .bind(column(statuses, |status| status.is_online))
    .bind(column(statuses, |status| status.is_busy))
    .bind(column(statuses, |status| status.wait_time))
    .bind(column(statuses, |status| status.last_seen))
    .bind(column(statuses, |status| status.updated_at))
    .bind(column(statuses, |status| status.version))
    .bind(column(statuses, |status| status.call_id))
    .bind(column(statuses, |status| status.last_ended_call_id))
    .bind(column(statuses, |status| status.session_changed_at))
    .bind(column(statuses, |status| status.profile_version))
    .bind(column(statuses, |status| status.busy_since))
    .bind(column(statuses, |status| status.is_listener))
    .bind(column(statuses, |status| status.role_version))
    .bind(column(statuses, |status| status.status_changed_at))
    .bind(column(statuses, |status| {
        status.ended_session_ids.join(",")
    }))
    .bind(column(statuses, |status| status.went_offline_at))
    .execute(tx)
    .await?;
    if saved.rows_affected() == statuses.len() as u64 {
        Ok(())
    } else {
        Err(sqlx::Error::RowNotFound)
    }
}

/// Signs of life of many at once, one each: `last_seen` moves, the offline are online again (contract,
/// section 4). Unknown ids are left out, and so is whoever has ended that session or gone offline since:
/// their row is looked at under its lock.
pub async fn revive(
    tx: &mut PgConnection,
    signs: &[SignOfLife],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Alive>> {
    sqlx::query_as(
        "WITH before AS (
             SELECT s.user_id AS id, s.is_online AS was_online,
                    sign.session_id <> ALL (s.ended_session_ids)
                        AND (sign.accepted_at > s.went_offline_at) IS NOT FALSE AS counts
             FROM unnest($1::bigint[], $3::text[], $4::timestamptz[])
                      AS sign (user_id, session_id, accepted_at)
             JOIN presence.user_status AS s ON s.user_id = sign.user_id
             ORDER BY s.user_id FOR NO KEY UPDATE OF s
         )
         UPDATE presence.user_status
         SET last_seen = greatest(last_seen, $2), updated_at = $2, is_online = true,
             version = version + CASE WHEN was_online THEN 0 ELSE 1 END,
             status_changed_at = CASE WHEN was_online THEN status_changed_at ELSE $2 END,
             swept_seen_at = CASE WHEN was_online THEN swept_seen_at ELSE $2 END
         FROM before WHERE user_id = id AND counts
         RETURNING user_id, username, is_busy, wait_time, last_seen, is_listener, version,
                   NOT was_online AS came_online",
    )
    .bind(column(signs, |sign| sign.user_id))
    .bind(now)
    .bind(column(signs, |sign| sign.session_id.as_str()))
    .bind(column(signs, |sign| sign.accepted_at))
    .fetch_all(tx)
    .await
}

/// Those of these users who have a status.
pub async fn known_among(
    connection: &mut PgConnection,
    user_ids: &[i64],
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar("SELECT user_id FROM presence.user_status WHERE user_id = ANY($1)")
        .bind(user_ids)
        .fetch_all(connection)
        .await
}

/// Looks at people who are online and were not seen since `seen_before`, as far as the last sweep
/// knew: those are put offline, the others are looked at again later. Answers all of them. Rows that
/// somebody else holds are left out.
pub async fn sweep_silent(
    tx: &mut PgConnection,
    seen_before: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<UserStatus>> {
    sqlx::query_as(concat!(
        "WITH due AS (
             SELECT user_id AS id, last_seen < $1 AS is_silent FROM presence.user_status
             WHERE is_online AND swept_seen_at < $1
             ORDER BY swept_seen_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
         )
         UPDATE presence.user_status
         SET swept_seen_at = last_seen, is_online = NOT is_silent,
             version = version + CASE WHEN is_silent THEN 1 ELSE 0 END,
             updated_at = CASE WHEN is_silent THEN $2 ELSE updated_at END,
             status_changed_at = CASE WHEN is_silent THEN $2 ELSE status_changed_at END
         FROM due WHERE user_id = id
         RETURNING ",
        columns!()
    ))
    .bind(seen_before)
    .bind(now)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// People who are busy by their own word since before `since`, and have waited as long as they said.
pub async fn own_busy(
    tx: &mut PgConnection,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT user_id FROM presence.user_status
         WHERE busy_since IS NOT NULL
           AND busy_since <= CASE WHEN wait_time IS NULL THEN $1
                                  ELSE $2 - make_interval(mins => wait_time) END
         ORDER BY user_id LIMIT $3",
    )
    .bind(since)
    .bind(now)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// People on calls, and which, in the order of user ids.
pub async fn on_calls(
    connection: &mut PgConnection,
    after_user_id: i64,
    limit: i64,
) -> sqlx::Result<Vec<(i64, i64)>> {
    sqlx::query_as(
        "SELECT user_id, call_id FROM presence.user_status
         WHERE call_id IS NOT NULL AND user_id > $1 ORDER BY user_id LIMIT $2",
    )
    .bind(after_user_id)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// Drops a person's status.
pub async fn delete(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM presence.user_status WHERE user_id = $1")
        .bind(user_id)
        .execute(tx)
        .await?;
    Ok(())
}
