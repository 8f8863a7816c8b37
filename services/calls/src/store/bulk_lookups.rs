//! What other services reconcile their own tables with.

use sqlx::{FromRow, PgConnection};

/// How much a listener has talked.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
pub struct ListenerTotals {
    /// Whose calls.
    pub listener_id: i64,
    /// Calls that were talked.
    pub call_count: i64,
    /// Seconds of all of them.
    pub total_call_secs: i64,
}

/// Which of these calls are live. Of the others, none ever will be again, whoever asks about a call
/// that it has heard of.
pub async fn list_live(connection: &mut PgConnection, call_ids: &[i64]) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT call_id FROM calls.user_calls
         WHERE call_id = ANY($1) AND phase IN ('reserving', 'active')",
    )
    .bind(call_ids)
    .fetch_all(connection)
    .await
}

/// Totals of the calls that were talked for a second at least and not cancelled, once their figures are
/// certain; listeners without any are left out.
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
