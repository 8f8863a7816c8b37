//! `calls.listener_badges`, and the talk times by which badges are assigned.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::FromRow;
use talktime_kit::db::PgConnection;

use crate::domain::badge::{Badge, BadgeCard};
use crate::domain::call::CallType;

/// Maximum number of days between the creation and the end of a call. It bounds the search for the calls
/// that ended on a day, which goes by their creation.
const CALL_DAYS_MAX: i32 = 2;

/// The badge of a listener on a day.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
pub struct ListenerDayBadge {
    pub listener_id: i64,
    /// Calendar day in India.
    pub date: NaiveDate,
    #[sqlx(try_from = "String")]
    pub badge: Badge,
    pub audio_paise_per_minute: i64,
    pub video_paise_per_minute: i64,
    pub assigned_at: DateTime<Utc>,
}

macro_rules! badge_columns {
    () => {
        "listener_id, date, badge, (audio_rate_per_minute * 100)::bigint AS audio_paise_per_minute,
         (video_rate_per_minute * 100)::bigint AS video_paise_per_minute, assigned_at"
    };
}

/// A span of time, usually a day from midnight to midnight.
#[derive(Clone, Copy, Debug)]
pub struct TimeSpan {
    pub from: DateTime<Utc>,
    /// First instant after the span.
    pub until: DateTime<Utc>,
}

/// Finds the badge of a listener on a day.
pub async fn find_for_day(
    connection: &mut PgConnection,
    listener_id: i64,
    date: NaiveDate,
) -> sqlx::Result<Option<ListenerDayBadge>> {
    sqlx::query_as(concat!(
        "SELECT ",
        badge_columns!(),
        " FROM calls.listener_badges WHERE listener_id = $1 AND date = $2"
    ))
    .bind(listener_id)
    .bind(date)
    .fetch_optional(connection)
    .await
}

/// Lists the badges of a listener in a range of days, newest first.
pub async fn list_between(
    connection: &mut PgConnection,
    listener_id: i64,
    first: NaiveDate,
    last: NaiveDate,
) -> sqlx::Result<Vec<ListenerDayBadge>> {
    sqlx::query_as(concat!(
        "SELECT ",
        badge_columns!(),
        " FROM calls.listener_badges WHERE listener_id = $1 AND date BETWEEN $2 AND $3
         ORDER BY date DESC"
    ))
    .bind(listener_id)
    .bind(first)
    .bind(last)
    .fetch_all(connection)
    .await
}

/// Figures of a badge over a range of days.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct BadgeRangeFigures {
    #[sqlx(try_from = "String")]
    pub badge: Badge,
    /// Number of times that it was assigned.
    pub count: i64,
    /// Mean rate of an audio minute, in paise.
    pub avg_audio_paise: i64,
    /// Mean rate of a video minute, in paise.
    pub avg_video_paise: i64,
}

/// Counts how often each badge was assigned in a range of days.
pub async fn count_by_badge(
    connection: &mut PgConnection,
    first: NaiveDate,
    last: NaiveDate,
) -> sqlx::Result<Vec<BadgeRangeFigures>> {
    sqlx::query_as(
        "SELECT badge, count(*) AS count,
                round(avg(audio_rate_per_minute) * 100)::bigint AS avg_audio_paise,
                round(avg(video_rate_per_minute) * 100)::bigint AS avg_video_paise
         FROM calls.listener_badges WHERE date BETWEEN $1 AND $2 GROUP BY badge",
    )
    .bind(first)
    .bind(last)
    .fetch_all(connection)
    .await
}

/// Counts the listeners with a badge in a range of days.
pub async fn count_listeners(
    connection: &mut PgConnection,
    first: NaiveDate,
    last: NaiveDate,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT count(DISTINCT listener_id) FROM calls.listener_badges
         WHERE date BETWEEN $1 AND $2",
    )
    .bind(first)
    .bind(last)
    .fetch_one(connection)
    .await
}

/// Returns the seconds that a listener talked in completed calls that ended in the span (contract, section
/// 10). Dropped and cancelled calls do not count.
pub async fn load_talked_secs(
    connection: &mut PgConnection,
    listener_id: i64,
    span: TimeSpan,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT COALESCE(sum(duration_seconds), 0)::bigint FROM calls.call_records
         WHERE listener_id = $1 AND status = 'completed' AND created_at >= $2 - make_interval(days => $4)
           AND created_at < $3 AND end_time >= $2 AND end_time < $3",
    )
    .bind(listener_id)
    .bind(span.from)
    .bind(span.until)
    .bind(CALL_DAYS_MAX)
    .fetch_one(connection)
    .await
}

/// Lists the next `limit` listeners after an id, each with the seconds talked in completed calls that ended
/// in the span.
pub async fn list_talked_secs(
    connection: &mut PgConnection,
    span: TimeSpan,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<(i64, i64)>> {
    sqlx::query_as(
        "SELECT l.user_id,
                (SELECT COALESCE(sum(c.duration_seconds), 0)::bigint FROM calls.call_records AS c
                 WHERE c.listener_id = l.user_id AND c.status = 'completed'
                   AND c.created_at >= $1 - make_interval(days => $5) AND c.created_at < $2
                   AND c.end_time >= $1 AND c.end_time < $2)
         FROM calls.listeners AS l WHERE l.user_id > $3 AND l.active ORDER BY l.user_id LIMIT $4",
    )
    .bind(span.from)
    .bind(span.until)
    .bind(after)
    .bind(limit)
    .bind(CALL_DAYS_MAX)
    .fetch_all(connection)
    .await
}

/// The fate of a badge that a listener already has on a day.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExistingBadgePolicy {
    /// It stays.
    Keep,
    /// The new one replaces it.
    Replace,
}

/// Inserts the badges of a date.
pub async fn insert_badges(
    tx: &mut PgConnection,
    date: NaiveDate,
    badges: &[(i64, Badge)],
    card: &BadgeCard,
    now: DateTime<Utc>,
    existing: ExistingBadgePolicy,
) -> sqlx::Result<()> {
    let listener_ids: Vec<i64> = badges.iter().map(|(listener_id, _)| *listener_id).collect();
    let words: Vec<&str> = badges.iter().map(|(_, badge)| badge.name()).collect();
    let paise = |call_type| -> Vec<i64> {
        badges
            .iter()
            .map(|(_, badge)| card.terms(*badge).paise_per_minute(call_type))
            .collect()
    };
    sqlx::query(
        "INSERT INTO calls.listener_badges AS given
             (listener_id, date, badge, audio_rate_per_minute, video_rate_per_minute, assigned_at)
         SELECT listener_id, $1, badge, audio_paise::numeric / 100, video_paise::numeric / 100, $6
         FROM unnest($2::bigint[], $3::text[], $4::bigint[], $5::bigint[])
              AS new (listener_id, badge, audio_paise, video_paise)
         ON CONFLICT (listener_id, date) DO UPDATE
             SET badge = excluded.badge, audio_rate_per_minute = excluded.audio_rate_per_minute,
                 video_rate_per_minute = excluded.video_rate_per_minute,
                 assigned_at = excluded.assigned_at
             WHERE $7",
    )
    .bind(date)
    .bind(listener_ids)
    .bind(words)
    .bind(paise(CallType::Audio))
    .bind(paise(CallType::Video))
    .bind(now)
    .bind(existing == ExistingBadgePolicy::Replace)
    .execute(tx)
    .await?;
    Ok(())
}

/// Finds the last date whose badges are all assigned.
pub async fn find_last_assigned_day(
    connection: &mut PgConnection,
) -> sqlx::Result<Option<NaiveDate>> {
    sqlx::query_scalar("SELECT max(date) FROM calls.badge_days")
        .fetch_one(connection)
        .await
}

/// Tries to take the lock for assigning badges until the end of the transaction; false if another replica
/// has it.
pub async fn try_lock(tx: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT pg_try_advisory_xact_lock(hashtext('calls.badges'))")
        .fetch_one(tx)
        .await
}

/// Whether all badges of a date are assigned.
pub async fn is_day_assigned(tx: &mut PgConnection, date: NaiveDate) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM calls.badge_days WHERE date = $1)")
        .bind(date)
        .fetch_one(tx)
        .await
}

/// Records that all badges of a date are assigned.
pub async fn insert_assigned_day(
    connection: &mut PgConnection,
    date: NaiveDate,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO calls.badge_days (date, assigned_at) VALUES ($1, $2)
         ON CONFLICT (date) DO NOTHING",
    )
    .bind(date)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether the user is a listener.
pub async fn is_listener(connection: &mut PgConnection, user_id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM calls.listeners WHERE user_id = $1 AND active)")
        .bind(user_id)
        .fetch_one(connection)
        .await
}

/// Stores whether a user is a listener, as of a version of the user, unless a later version is stored. The badges of
/// a former listener stay.
pub async fn upsert_listener(
    tx: &mut PgConnection,
    user_id: i64,
    version: i64,
    is_active: bool,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO calls.listeners AS listener (user_id, role_version, active)
         VALUES ($1, $2, $3)
         ON CONFLICT (user_id) DO UPDATE
             SET role_version = excluded.role_version, active = excluded.active
             WHERE listener.role_version < excluded.role_version",
    )
    .bind(user_id)
    .bind(version)
    .bind(is_active)
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes the badges of a deleted user.
pub async fn delete_of_user(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM calls.listener_badges WHERE listener_id = $1")
        .bind(user_id)
        .execute(tx)
        .await?;
    Ok(())
}
