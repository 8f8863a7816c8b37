//! `calls.listener_badges`, and what they are given by.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection};

use crate::domain::badge::{Badge, BadgeCard};
use crate::domain::call::CallType;

/// How long a call may last to be found by the day it ended on, in days: those of a day are looked for
/// among the calls that were asked for from so many days before it.
const CALL_DAYS_MAX: i32 = 2;

/// A listener's badge of a day.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
pub struct DayBadge {
    /// Whose.
    pub listener_id: i64,
    /// Of which day of India.
    pub date: NaiveDate,
    /// Which.
    #[sqlx(try_from = "String")]
    pub badge: Badge,
    /// Paise a minute of an audio call.
    pub audio_paise_per_minute: i64,
    /// Paise a minute of a video call.
    pub video_paise_per_minute: i64,
    /// When it was given.
    pub assigned_at: DateTime<Utc>,
}

macro_rules! badge_columns {
    () => {
        "listener_id, date, badge, (audio_rate_per_minute * 100)::bigint AS audio_paise_per_minute,
         (video_rate_per_minute * 100)::bigint AS video_paise_per_minute, assigned_at"
    };
}

/// From midnight to midnight.
#[derive(Clone, Copy, Debug)]
pub struct TimeSpan {
    /// Its first instant.
    pub from: DateTime<Utc>,
    /// The first instant after it.
    pub until: DateTime<Utc>,
}

/// A listener's badge of a day.
pub async fn find_for_day(
    connection: &mut PgConnection,
    listener_id: i64,
    date: NaiveDate,
) -> sqlx::Result<Option<DayBadge>> {
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

/// A listener's badges of some days, oldest first.
pub async fn list_between(
    connection: &mut PgConnection,
    listener_id: i64,
    first: NaiveDate,
    last: NaiveDate,
) -> sqlx::Result<Vec<DayBadge>> {
    sqlx::query_as(concat!(
        "SELECT ",
        badge_columns!(),
        " FROM calls.listener_badges WHERE listener_id = $1 AND date BETWEEN $2 AND $3
         ORDER BY date"
    ))
    .bind(listener_id)
    .bind(first)
    .bind(last)
    .fetch_all(connection)
    .await
}

/// A badge in numbers.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct BadgeCount {
    /// Which.
    #[sqlx(try_from = "String")]
    pub badge: Badge,
    /// How often it was given.
    pub count: i64,
    /// Mean rate of an audio minute, in paise.
    pub avg_audio_paise: i64,
    /// Mean rate of a video minute, in paise.
    pub avg_video_paise: i64,
}

/// How often each badge was given on these days.
pub async fn count_by_badge(
    connection: &mut PgConnection,
    first: NaiveDate,
    last: NaiveDate,
) -> sqlx::Result<Vec<BadgeCount>> {
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

/// How many listeners got a badge on these days.
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

/// Seconds that a listener talked in completed calls that ended in this span (contract, section 10): those
/// that were dropped or cancelled earn no badge.
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

/// The next `limit` listeners after an id, and how many seconds each talked in completed calls that ended
/// in this span.
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
         FROM calls.listeners AS l WHERE l.user_id > $3 ORDER BY l.user_id LIMIT $4",
    )
    .bind(span.from)
    .bind(span.until)
    .bind(after)
    .bind(limit)
    .bind(CALL_DAYS_MAX)
    .fetch_all(connection)
    .await
}

/// Gives badges of a date. Where one was given before, it stays, unless it is to be replaced.
pub async fn insert_badges(
    tx: &mut PgConnection,
    date: NaiveDate,
    badges: &[(i64, Badge)],
    card: &BadgeCard,
    now: DateTime<Utc>,
    replace: bool,
) -> sqlx::Result<()> {
    let listener_ids: Vec<i64> = badges.iter().map(|(listener_id, _)| *listener_id).collect();
    let words: Vec<&str> = badges.iter().map(|(_, badge)| badge.word()).collect();
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
    .bind(replace)
    .execute(tx)
    .await?;
    Ok(())
}

/// The last date whose badges are all given.
pub async fn find_last_assigned_day(
    connection: &mut PgConnection,
) -> sqlx::Result<Option<NaiveDate>> {
    sqlx::query_scalar("SELECT max(date) FROM calls.badge_days")
        .fetch_one(connection)
        .await
}

/// Takes the right to give badges until the end of the transaction; false when somebody else has it.
pub async fn try_lock(tx: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT pg_try_advisory_xact_lock(hashtext('calls.badges'))")
        .fetch_one(tx)
        .await
}

/// Whether all badges of a date are given.
pub async fn is_day_assigned(tx: &mut PgConnection, date: NaiveDate) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM calls.badge_days WHERE date = $1)")
        .bind(date)
        .fetch_one(tx)
        .await
}

/// Keeps that all badges of a date are given.
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

/// Whether somebody is known as a listener.
pub async fn is_listener(connection: &mut PgConnection, user_id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM calls.listeners WHERE user_id = $1)")
        .bind(user_id)
        .fetch_one(connection)
        .await
}

/// Somebody takes calls from now on.
pub async fn add_listener(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO calls.listeners (user_id) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(user_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// Somebody takes calls no more; the badges they had stay.
pub async fn remove_listener(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM calls.listeners WHERE user_id = $1")
        .bind(user_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// Forgets the badges of somebody who was deleted.
pub async fn delete_of_user(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    remove_listener(tx, user_id).await?;
    sqlx::query("DELETE FROM calls.listener_badges WHERE listener_id = $1")
        .bind(user_id)
        .execute(tx)
        .await?;
    Ok(())
}
