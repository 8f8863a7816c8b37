//! `calls.minute_verdicts`: what the settlement decided about the sound of each minute.

use talktime_kit::db::{PgConnection, column};

use crate::domain::evidence::{MinuteVerdict, RefundReason};

/// Stores what was decided about the minutes of a call, and returns what was not decided before. The first decision
/// about a minute holds.
pub async fn insert(
    tx: &mut PgConnection,
    call_id: i64,
    verdicts: &[MinuteVerdict],
) -> sqlx::Result<Vec<MinuteVerdict>> {
    sqlx::query_as(
        "INSERT INTO calls.minute_verdicts (call_id, minute, to_caller, to_listener, refund)
         SELECT $1, * FROM unnest($2::integer[], $3::text[], $4::text[], $5::text[])
         ON CONFLICT (call_id, minute) DO NOTHING
         RETURNING minute, to_caller, to_listener, refund",
    )
    .bind(call_id)
    .bind(column(verdicts, |verdict| verdict.minute))
    .bind(column(verdicts, |verdict| verdict.to_caller.name()))
    .bind(column(verdicts, |verdict| verdict.to_listener.name()))
    .bind(column(verdicts, |verdict| {
        verdict.refund.map(RefundReason::name)
    }))
    .fetch_all(tx)
    .await
}

/// Loads what was decided about the minutes of a call, in their order; nothing before the settlement.
pub async fn list_of_call(
    connection: &mut PgConnection,
    call_id: i64,
) -> sqlx::Result<Vec<MinuteVerdict>> {
    sqlx::query_as(
        "SELECT minute, to_caller, to_listener, refund
         FROM calls.minute_verdicts WHERE call_id = $1 ORDER BY minute",
    )
    .bind(call_id)
    .fetch_all(connection)
    .await
}
