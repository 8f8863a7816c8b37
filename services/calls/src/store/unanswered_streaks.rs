//! `calls.unanswered_streaks`: rings that listeners let go by one after another.

use talktime_kit::db::PgConnection;

/// Counts one more ring for each of these listeners. Listeners who reach `rings_max` are returned, and their
/// count restarts.
///
/// Lock order: rows are written in the order of the listeners, so that concurrent batches never wait for each
/// other in a circle.
pub async fn add_rings(
    tx: &mut PgConnection,
    listener_ids: &[i64],
    rings_max: i32,
) -> sqlx::Result<Vec<i64>> {
    if listener_ids.is_empty() || rings_max == 0 {
        return Ok(vec![]);
    }
    sqlx::query(
        "INSERT INTO calls.unanswered_streaks AS streak (listener_id, rings)
         SELECT listener_id, 1 FROM unnest($1::bigint[]) AS listener (listener_id) ORDER BY 1
         ON CONFLICT (listener_id) DO UPDATE SET rings = streak.rings + 1",
    )
    .bind(listener_ids)
    .execute(&mut *tx)
    .await?;
    sqlx::query_scalar(
        "DELETE FROM calls.unanswered_streaks
         WHERE listener_id = ANY($1) AND rings >= $2 RETURNING listener_id",
    )
    .bind(listener_ids)
    .bind(rings_max)
    .fetch_all(tx)
    .await
}

/// Resets the count of listeners who have answered.
pub async fn reset(tx: &mut PgConnection, listener_ids: &[i64]) -> sqlx::Result<()> {
    if listener_ids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "DELETE FROM calls.unanswered_streaks
         WHERE listener_id IN (SELECT listener_id FROM calls.unanswered_streaks
                               WHERE listener_id = ANY($1) ORDER BY listener_id FOR UPDATE)",
    )
    .bind(listener_ids)
    .execute(tx)
    .await?;
    Ok(())
}
