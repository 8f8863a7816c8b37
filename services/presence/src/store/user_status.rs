//! `presence.user_status`: one row per user.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use talktime_kit::Error;
use talktime_kit::db::{PgConnection, column, expect_rows};
use talktime_kit::messaging::outbox::OutboxColumns;

use crate::domain::{UserHeartbeat, UserStatus};

impl FromRow<'_, PgRow> for UserStatus {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            user_id: row.try_get("user_id")?,
            username: row.try_get("username")?,
            is_online: row.try_get("is_online")?,
            is_busy: row.try_get("is_busy")?,
            wait_time: row.try_get("wait_time")?,
            accepting_calls: row.try_get("accepting_calls")?,
            accepting_changed_at: row.try_get("accepting_changed_at")?,
            last_seen: row.try_get("last_seen")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            version: row.try_get("version")?,
            call_id: row.try_get("call_id")?,
            last_ended_call_id: row.try_get("last_ended_call_id")?,
            session_changed_at: row.try_get("session_changed_at")?,
            profile_version: row.try_get("profile_version")?,
            busy_since: row.try_get("busy_since")?,
            is_listener: row.try_get("is_listener")?,
            role_version: row.try_get("role_version")?,
            status_changed_at: row.try_get("status_changed_at")?,
            ended_session_ids: row.try_get("ended_session_ids")?,
            went_offline_at: row.try_get("went_offline_at")?,
        })
    }
}

/// Columns of a [`UserStatus`].
macro_rules! columns {
    () => {
        "user_id, username, is_online, is_busy, wait_time, last_seen, created_at, updated_at, \
         version, call_id, last_ended_call_id, session_changed_at, profile_version, busy_since, \
         is_listener, role_version, status_changed_at, ended_session_ids, went_offline_at, \
         accepting_calls, accepting_changed_at"
    };
}

/// The visible part of a status after a heartbeat. It has no further columns, since tens of thousands of
/// heartbeats are recorded each second.
#[derive(Debug, FromRow)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column of the row")]
pub struct HeartbeatStatusRow {
    pub user_id: i64,
    /// Empty while unknown.
    pub username: String,
    /// Whether the user is on a call, or wants none.
    pub is_busy: bool,
    /// Minutes until the user is free.
    pub wait_time: Option<i32>,
    /// Time of the latest heartbeat.
    pub last_seen: DateTime<Utc>,
    pub is_listener: bool,
    /// Whether the user takes calls.
    pub accepting_calls: bool,
    /// Version of the status, which grows with every visible change.
    pub version: i64,
    /// Whether this heartbeat put the user online.
    pub came_online: bool,
}

/// Finds statuses, in the order of user ids; unknown ids are left out.
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

/// Finds statuses and locks their rows until the transaction ends.
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

/// Lists the users who are online, most recent status change first; only listeners if requested.
pub async fn list_online(
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

/// Inserts rows, offline and free, for the users who have none and were not deleted.
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

/// Updates locked rows and appends the events that report them. Fails if one of the rows is missing.
///
/// A change that nobody sees, such as the login of a user who is online, changes no column with an index, as a heartbeat does:
/// the next sweep finds the row and its later `last_seen`.
pub async fn update(
    tx: &mut PgConnection,
    statuses: &[&UserStatus],
    events: OutboxColumns,
) -> Result<(), Error> {
    if statuses.is_empty() {
        return Ok(());
    }
    let updated = sqlx::query(
        "WITH reported AS (
             INSERT INTO presence.outbox (subject, aggregate_id, payload, traceparent)
             SELECT event.* FROM unnest($21::text[], $22::bigint[], $23::bytea[], $24::text[]) AS event
         )
         UPDATE presence.user_status AS s
         SET username = new.username, is_online = new.is_online, is_busy = new.is_busy,
             wait_time = new.wait_time, last_seen = new.last_seen, updated_at = new.updated_at,
             version = new.version, call_id = new.call_id,
             last_ended_call_id = new.last_ended_call_id,
             session_changed_at = new.session_changed_at, profile_version = new.profile_version,
             busy_since = new.busy_since, is_listener = new.is_listener,
             role_version = new.role_version, status_changed_at = new.status_changed_at,
             swept_seen_at = CASE WHEN s.is_online AND s.status_changed_at = new.status_changed_at
                                  THEN s.swept_seen_at ELSE new.last_seen END,
             ended_session_ids = string_to_array(new.ended_session_ids, ','),
             went_offline_at = new.went_offline_at, accepting_calls = new.accepting_calls,
             accepting_changed_at = new.accepting_changed_at
         FROM unnest($1::bigint[], $2::text[], $3::boolean[], $4::boolean[], $5::integer[],
                     $6::timestamptz[], $7::timestamptz[], $8::bigint[], $9::bigint[],
                     $10::bigint[], $11::timestamptz[], $12::bigint[], $13::timestamptz[],
                     $14::boolean[], $15::bigint[], $16::timestamptz[], $17::text[],
                     $18::timestamptz[], $19::boolean[], $20::timestamptz[])
              AS new (user_id, username, is_online, is_busy, wait_time, last_seen, updated_at,
                      version, call_id, last_ended_call_id, session_changed_at, profile_version,
                      busy_since, is_listener, role_version, status_changed_at,
                      ended_session_ids, went_offline_at, accepting_calls, accepting_changed_at)
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
    .bind(column(statuses, |status| status.accepting_calls))
    .bind(column(statuses, |status| status.accepting_changed_at))
    .bind(events.subjects)
    .bind(events.aggregate_ids)
    .bind(events.payloads)
    .bind(events.traceparents)
    .execute(tx)
    .await?;
    let (expected, first) = (statuses.len() as u64, statuses[0].user_id);
    expect_rows(&updated, expected, "presence.user_status", first)
}

/// Records heartbeats, one per user: `last_seen` moves forward and users who were offline are online again
/// (contract, section 4). Unknown users are left out, and so are users whose session has ended or who have
/// gone offline since. This is decided under the lock of the row, so that a concurrent logout counts.
pub async fn record_heartbeats(
    tx: &mut PgConnection,
    heartbeats: &[UserHeartbeat],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<HeartbeatStatusRow>> {
    sqlx::query_as(
        "WITH before AS (
             SELECT s.user_id AS id, s.is_online AS was_online,
                    heartbeat.session_id <> ALL (s.ended_session_ids)
                        AND (heartbeat.accepted_at > s.went_offline_at) IS NOT FALSE AS counts
             FROM unnest($1::bigint[], $3::text[], $4::timestamptz[])
                      AS heartbeat (user_id, session_id, accepted_at)
             JOIN presence.user_status AS s ON s.user_id = heartbeat.user_id
             ORDER BY s.user_id FOR NO KEY UPDATE OF s
         )
         UPDATE presence.user_status
         SET last_seen = greatest(last_seen, $2), updated_at = $2, is_online = true,
             version = version + CASE WHEN was_online THEN 0 ELSE 1 END,
             status_changed_at = CASE WHEN was_online THEN status_changed_at ELSE $2 END,
             swept_seen_at = CASE WHEN was_online THEN swept_seen_at ELSE $2 END
         FROM before WHERE user_id = id AND counts
         RETURNING user_id, username, is_busy, wait_time, last_seen, is_listener, version,
                   accepting_calls, NOT was_online AS came_online",
    )
    .bind(column(heartbeats, |heartbeat| heartbeat.user_id))
    .bind(now)
    .bind(column(heartbeats, |heartbeat| {
        heartbeat.session_id.as_str()
    }))
    .bind(column(heartbeats, |heartbeat| heartbeat.accepted_at))
    .fetch_all(tx)
    .await
}

/// Returns the ids of those users who have a status.
pub async fn find_existing_ids(
    connection: &mut PgConnection,
    user_ids: &[i64],
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar("SELECT user_id FROM presence.user_status WHERE user_id = ANY($1)")
        .bind(user_ids)
        .fetch_all(connection)
        .await
}

/// Marks users offline whose last heartbeat is older than `seen_before`, and returns every row that was
/// checked. Rows are chosen by `swept_seen_at`, the last heartbeat that a sweep has seen: an index on
/// `last_seen` itself would be updated with every heartbeat. Users with a newer heartbeat stay online and
/// are checked again later. Locked rows are skipped.
pub async fn mark_silent_offline(
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

/// Lists users who set their busy flag themselves and whose announced wait is over, or who set it at `since`
/// or earlier without announcing a wait.
pub async fn list_own_busy(
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

/// Lists users on calls with their call ids, in the order of user ids.
pub async fn list_on_calls(
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

/// Deletes the status of a user, if there is one.
pub async fn delete(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM presence.user_status WHERE user_id = $1")
        .bind(user_id)
        .execute(tx)
        .await?;
    Ok(())
}
