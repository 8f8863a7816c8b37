//! Lookups in bulk for other services.

use sqlx::FromRow;
use talktime_kit::db::PgConnection;

/// Talk time of a listener.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
pub struct ListenerTalkTotals {
    pub listener_id: i64,
    /// Number of calls.
    pub call_count: i64,
    /// Seconds of all of them.
    pub total_call_secs: i64,
    /// Accepted rings in percent of all that count; `None` below [`RATED_RINGS_MIN`].
    pub answer_percent: Option<i32>,
}

/// Rings from which on a listener has an answer rate.
const RATED_RINGS_MIN: i32 = 20;

/// Lists the calls among these that ring, are live or are being started. An existing call that is missing from the
/// result will never be live again.
pub async fn list_live(connection: &mut PgConnection, call_ids: &[i64]) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT call_id FROM calls.user_calls
         WHERE call_id = ANY($1) AND phase IN ('ringing', 'reserving', 'connecting', 'active')",
    )
    .bind(call_ids)
    .fetch_all(connection)
    .await
}

/// Lists the users among these of whom there is a call with a user, in either direction and answered or not.
pub async fn list_counterparts(
    connection: &mut PgConnection,
    user_id: i64,
    other_user_ids: &[i64],
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT other_id FROM unnest($2::bigint[]) AS other_id
         WHERE EXISTS (SELECT FROM calls.user_calls
                       WHERE user_id = $1 AND listener_id = other_id)
            OR EXISTS (SELECT FROM calls.user_calls
                       WHERE user_id = other_id AND listener_id = $1)",
    )
    .bind(user_id)
    .bind(other_user_ids)
    .fetch_all(connection)
    .await
}

/// Lists the totals of calls with at least one second that were not cancelled, once their figures are
/// certain, and the answer rates. Listeners with neither are left out.
pub async fn list_listener_totals(
    connection: &mut PgConnection,
    listener_ids: &[i64],
) -> sqlx::Result<Vec<ListenerTalkTotals>> {
    sqlx::query_as(
        "WITH talked AS (
             SELECT listener_id, count(*) AS call_count,
                    sum(duration_seconds)::bigint AS total_call_secs
             FROM calls.call_records
             WHERE listener_id = ANY($1) AND status IN ('completed', 'dropped')
               AND phase IN ('settling', 'settled') AND duration_seconds >= 1
             GROUP BY listener_id
         ), rated AS (
             SELECT listener_id, 100 * accepted / rung AS answer_percent
             FROM calls.answer_rates WHERE listener_id = ANY($1) AND rung >= $2
         )
         SELECT listener_id, COALESCE(call_count, 0) AS call_count,
                COALESCE(total_call_secs, 0) AS total_call_secs, answer_percent
         FROM talked FULL JOIN rated USING (listener_id)",
    )
    .bind(listener_ids)
    .bind(RATED_RINGS_MIN)
    .fetch_all(connection)
    .await
}
