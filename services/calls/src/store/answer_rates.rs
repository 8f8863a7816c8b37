//! `calls.answer_rates`: how many of the rings of the last thirty days each listener accepted.

use talktime_kit::db::PgConnection;

/// Days of rings that count.
const DAYS: i32 = 30;

/// Counts the rings of these listeners again. Rings that the caller took back, or that failed on the platform's
/// side, count for nobody; listeners without any other have no row.
pub async fn update(tx: &mut PgConnection, listener_ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query(
        "WITH counted AS (
             SELECT listener.listener_id, rings.rung, rings.accepted
             FROM unnest($1::bigint[]) AS listener (listener_id)
             CROSS JOIN LATERAL (
                 SELECT count(*)::integer AS rung,
                        (count(*) FILTER (WHERE phase <> 'unanswered'))::integer AS accepted
                 FROM calls.user_calls AS call
                 WHERE call.listener_id = listener.listener_id AND ring_expires_at IS NOT NULL
                   AND created_at > now() - make_interval(days => $2)
                   AND (phase IN ('active', 'settling', 'settled')
                        OR phase = 'unanswered' AND outcome IN ('rejected', 'missed', 'unreachable'))
             ) AS rings
         ), gone AS (
             DELETE FROM calls.answer_rates USING counted
             WHERE answer_rates.listener_id = counted.listener_id AND counted.rung = 0
         )
         INSERT INTO calls.answer_rates (listener_id, rung, accepted, computed_at)
         SELECT listener_id, rung, accepted, now() FROM counted WHERE rung > 0
         ON CONFLICT (listener_id) DO UPDATE
             SET rung = excluded.rung, accepted = excluded.accepted, computed_at = excluded.computed_at",
    )
    .bind(listener_ids)
    .bind(DAYS)
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes the entry of a deleted listener.
pub async fn delete_of_user(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM calls.answer_rates WHERE listener_id = $1")
        .bind(user_id)
        .execute(tx)
        .await?;
    Ok(())
}
