//! Limits for rings that lead to no call, counted in `calls.user_calls`.

use talktime_kit::db::{PgConnection, column};

use crate::domain::call::PlannedParties;

/// Numbers of unanswered rings within a window after which a caller has to wait.
#[derive(Clone, Copy, Debug)]
pub struct UnansweredRingLimits {
    /// Rings of a caller for the same listener.
    pub per_pair: i64,
    /// Rings of a caller for anybody.
    pub per_caller: i64,
    pub window_mins: i32,
}

/// Returns for each planned ring the seconds after which its caller may ring again; `None` if they may now. A ring
/// that failed on the platform's side does not count.
///
/// No lock is needed: a person has one ring at a time, so no two of a caller are counted at once.
pub async fn load_waiting_secs(
    tx: &mut PgConnection,
    planned: &[PlannedParties],
    limits: UnansweredRingLimits,
) -> sqlx::Result<Vec<Option<i64>>> {
    sqlx::query_scalar(
        "SELECT ceil(extract(epoch FROM GREATEST(of_caller.created_at, of_pair.created_at)
                                        + make_interval(mins => $5) - now()))::bigint
         FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY
              AS planned (caller_id, called_id, position)
         LEFT JOIN LATERAL (
             SELECT created_at FROM calls.user_calls
             WHERE user_id = caller_id AND phase = 'unanswered' AND outcome <> 'failed'
               AND created_at > now() - make_interval(mins => $5)
             ORDER BY created_at DESC OFFSET $3 - 1 LIMIT 1) AS of_caller ON true
         LEFT JOIN LATERAL (
             SELECT created_at FROM calls.user_calls
             WHERE user_id = caller_id AND listener_id = called_id AND phase = 'unanswered'
               AND outcome <> 'failed' AND created_at > now() - make_interval(mins => $5)
             ORDER BY created_at DESC OFFSET $4 - 1 LIMIT 1) AS of_pair ON true
         ORDER BY position",
    )
    .bind(column(planned, |parties| parties.caller_id))
    .bind(column(planned, |parties| parties.listener_id))
    .bind(limits.per_caller)
    .bind(limits.per_pair)
    .bind(limits.window_mins)
    .fetch_all(tx)
    .await
}
