//! Reads the history of calls. It excludes calls that never began.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use talktime_kit::db::PgConnection;

use crate::domain::activity::PlatformActivity;
use crate::domain::badge::Badge;
use crate::domain::call::{CallStatus, CallType};
use crate::domain::ending::{CallEndReason, EndingParty};

/// A call of the history.
#[derive(Clone, Debug, FromRow)]
pub struct CallHistoryEntry {
    pub call_id: i64,
    pub user_id: i64,
    pub listener_id: i64,
    #[sqlx(try_from = "String")]
    pub call_type: CallType,
    #[sqlx(try_from = "String")]
    pub status: CallStatus,
    pub start_time: DateTime<Utc>,
    pub end_time: Option<DateTime<Utc>>,
    /// Talk time, once ended.
    pub duration_seconds: Option<i64>,
    /// Minutes that had begun, once ended.
    pub duration_minutes: Option<i32>,
    /// Coins charged so far.
    pub coins_spent: i64,
    /// Price that the caller paid for these coins in paise, once settled.
    pub user_paise_spent: i64,
    /// Earnings of the listener in paise, once settled.
    pub listener_paise_earned: i64,
    pub coins_per_minute: i64,
    /// Earnings of the listener per minute, in paise.
    pub listener_paise_per_minute: i64,
    /// Badge that set these earnings.
    #[sqlx(try_from = "String")]
    pub listener_badge: Badge,
    /// Version of the prices; `None` for calls that precede versioned prices.
    pub prices_version: Option<i64>,
    pub minute_secs: i32,
    pub minutes_billed: i32,
    /// Name of the caller at the start.
    pub caller_username: String,
    /// Name of the listener at the start.
    pub listener_username: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Why the call ended, once its figures are certain.
    pub end_reason: Option<CallEndReason>,
    /// The party that ended it.
    pub ended_by: Option<EndingParty>,
}

macro_rules! past_call_columns {
    () => {
        "call_id, user_id, listener_id, call_type, status, start_time, end_time, duration_seconds,
         duration_minutes, coins_spent, (user_money_spend * 100)::bigint AS user_paise_spent,
         (listener_money_earned * 100)::bigint AS listener_paise_earned, coins_per_minute,
         listener_paise_per_minute, listener_badge, prices_version, minute_secs, minutes_billed, caller_username, listener_username, created_at, updated_at,
         end_reason, ended_by"
    };
}

/// Filter for the calls of a user.
#[derive(Clone, Copy, Debug)]
pub struct CallHistoryFilter {
    pub user_id: i64,
    pub call_type: Option<CallType>,
    pub status: Option<CallStatus>,
}

/// Lists a page of the calls of a user, newest first. Each side is read by its own index and no further
/// than the page reaches. No call is on both sides, since nobody calls themselves.
pub async fn list_page(
    connection: &mut PgConnection,
    filter: CallHistoryFilter,
    limit: i64,
    offset: i64,
) -> sqlx::Result<Vec<CallHistoryEntry>> {
    sqlx::query_as(concat!(
        "SELECT ",
        past_call_columns!(),
        " FROM (
             (SELECT * FROM calls.call_records WHERE user_id = $1 AND start_time IS NOT NULL
                 AND ($2::text IS NULL OR call_type = $2) AND ($3::text IS NULL OR status = $3)
              ORDER BY created_at DESC, call_id DESC LIMIT $4 + $5)
             UNION ALL
             (SELECT * FROM calls.call_records WHERE listener_id = $1 AND start_time IS NOT NULL
                 AND ($2::text IS NULL OR call_type = $2) AND ($3::text IS NULL OR status = $3)
              ORDER BY created_at DESC, call_id DESC LIMIT $4 + $5)
         ) AS side ORDER BY created_at DESC, call_id DESC LIMIT $4 OFFSET $5"
    ))
    .bind(filter.user_id)
    .bind(filter.call_type.map(CallType::name))
    .bind(filter.status.map(CallStatus::name))
    .bind(limit)
    .bind(offset)
    .fetch_all(connection)
    .await
}

/// Totals over the calls of a user.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct UserCallTotals {
    /// Calls made and taken.
    pub total_calls: i64,
    /// Calls made as caller.
    pub calls_made: i64,
    pub completed_calls: i64,
    pub dropped_calls: i64,
    pub ongoing_calls: i64,
    pub audio_calls: i64,
    /// Coins spent as caller.
    pub coins_spent: i64,
    /// Money spent as caller, in paise.
    pub paise_spent: i64,
    /// Earnings as listener, in paise.
    pub paise_earned: i64,
    /// Talk time over all ended calls.
    pub duration_seconds: i64,
    /// Mean duration of the calls of today that ended.
    pub avg_duration_seconds: i64,
}

/// Loads the totals over all calls that match.
pub async fn load_totals(
    connection: &mut PgConnection,
    filter: CallHistoryFilter,
) -> sqlx::Result<UserCallTotals> {
    sqlx::query_as(
        "SELECT count(*) AS total_calls,
                count(*) FILTER (WHERE user_id = $1) AS calls_made,
                count(*) FILTER (WHERE status = 'completed') AS completed_calls,
                count(*) FILTER (WHERE status = 'dropped') AS dropped_calls,
                count(*) FILTER (WHERE status = 'ongoing') AS ongoing_calls,
                count(*) FILTER (WHERE call_type = 'audio') AS audio_calls,
                COALESCE(sum(coins_spent) FILTER (WHERE user_id = $1), 0)::bigint AS coins_spent,
                COALESCE(sum(user_money_spend * 100) FILTER (WHERE user_id = $1), 0)::bigint
                    AS paise_spent,
                COALESCE(sum(listener_money_earned * 100) FILTER (WHERE listener_id = $1), 0)::bigint
                    AS paise_earned,
                COALESCE(sum(duration_seconds), 0)::bigint AS duration_seconds,
                COALESCE(floor(avg(duration_seconds)), 0)::bigint AS avg_duration_seconds
         FROM calls.call_records
         WHERE (user_id = $1 OR listener_id = $1) AND start_time IS NOT NULL
           AND ($2::text IS NULL OR call_type = $2) AND ($3::text IS NULL OR status = $3)",
    )
    .bind(filter.user_id)
    .bind(filter.call_type.map(CallType::name))
    .bind(filter.status.map(CallStatus::name))
    .fetch_one(connection)
    .await
}

/// Totals of a month.
#[derive(Clone, Debug, FromRow)]
pub struct MonthlyCallTotals {
    /// Month as `2026-11`.
    pub month: String,
    /// Calls made and taken.
    pub calls_count: i64,
    /// Coins spent as caller.
    pub coins_spent: i64,
    /// Earnings as listener, in paise.
    pub paise_earned: i64,
}

/// Loads the totals of the last six months including the present one, by the calendar of India, newest
/// first. A month without calls has zeros.
pub async fn load_monthly_totals(
    connection: &mut PgConnection,
    user_id: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<MonthlyCallTotals>> {
    sqlx::query_as(
        "SELECT to_char(month, 'YYYY-MM') AS month, count(call_id) AS calls_count,
                COALESCE(sum(coins_spent) FILTER (WHERE user_id = $1), 0)::bigint AS coins_spent,
                COALESCE(sum(listener_money_earned * 100) FILTER (WHERE listener_id = $1), 0)::bigint
                    AS paise_earned
         FROM generate_series(
                  date_trunc('month', $2 AT TIME ZONE 'Asia/Kolkata') - interval '5 months',
                  date_trunc('month', $2 AT TIME ZONE 'Asia/Kolkata'), interval '1 month') AS month
         LEFT JOIN calls.call_records
             ON (user_id = $1 OR listener_id = $1)
            AND start_time >= month AT TIME ZONE 'Asia/Kolkata'
            AND start_time < (month + interval '1 month') AT TIME ZONE 'Asia/Kolkata'
         GROUP BY month ORDER BY month DESC",
    )
    .bind(user_id)
    .bind(now)
    .fetch_all(connection)
    .await
}

/// Counts a user's calls that began in the present week, which starts on Monday in India.
pub async fn count_this_week(
    connection: &mut PgConnection,
    user_id: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT count(*) FROM calls.call_records
         WHERE (user_id = $1 OR listener_id = $1)
           AND start_time >= date_trunc('week', $2 AT TIME ZONE 'Asia/Kolkata')
                             AT TIME ZONE 'Asia/Kolkata'",
    )
    .bind(user_id)
    .bind(now)
    .fetch_one(connection)
    .await
}

/// Finds a call that began.
pub async fn find_call(
    connection: &mut PgConnection,
    call_id: i64,
) -> sqlx::Result<Option<CallHistoryEntry>> {
    sqlx::query_as(concat!(
        "SELECT ",
        past_call_columns!(),
        " FROM calls.call_records WHERE call_id = $1 AND start_time IS NOT NULL"
    ))
    .bind(call_id)
    .fetch_optional(connection)
    .await
}

/// Loads the activity of the platform at `now`.
pub async fn load_activity(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
) -> sqlx::Result<PlatformActivity> {
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM calls.call_records
                 WHERE phase = 'active' AND next_step_at IS NOT NULL) AS active_calls,
                count(*) AS calls_today,
                COALESCE(floor(avg(duration_seconds)), 0)::bigint AS avg_duration_seconds,
                COALESCE(sum(coins_spent), 0)::bigint AS coins_processed
         FROM calls.call_records
         WHERE start_time >= date_trunc('day', $1 AT TIME ZONE 'Asia/Kolkata')
                             AT TIME ZONE 'Asia/Kolkata'",
    )
    .bind(now)
    .fetch_one(connection)
    .await
}
