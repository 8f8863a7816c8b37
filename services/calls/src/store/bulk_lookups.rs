//! Lookups in bulk with which other services reconcile their own tables.

use sqlx::FromRow;
use talktime_kit::db::PgConnection;

/// Talk time of a listener.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
pub struct ListenerTotals {
    pub listener_id: i64,
    /// Number of calls.
    pub call_count: i64,
    /// Seconds of all of them.
    pub total_call_secs: i64,
}

/// Lists the calls among these that are live or being started. An existing call that is missing in the
/// result will never be live again.
pub async fn list_live(connection: &mut PgConnection, call_ids: &[i64]) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT call_id FROM calls.user_calls
         WHERE call_id = ANY($1) AND phase IN ('reserving', 'active')",
    )
    .bind(call_ids)
    .fetch_all(connection)
    .await
}

/// Lists the totals of calls with at least one second that were not cancelled, once their figures are
/// certain. Listeners without such calls are left out.
pub async fn list_listener_totals(
    connection: &mut PgConnection,
    listener_ids: &[i64],
) -> sqlx::Result<Vec<ListenerTotals>> {
    sqlx::query_as(
        "SELECT listener_id, count(*) AS call_count,
                sum(duration_seconds)::bigint AS total_call_secs
         FROM calls.call_records
         WHERE listener_id = ANY($1) AND status IN ('completed', 'dropped')
           AND phase IN ('settling', 'settled') AND duration_seconds >= 1
         GROUP BY listener_id",
    )
    .bind(listener_ids)
    .fetch_all(connection)
    .await
}
