//! `calls.user_calls` while calls ring, and those that led to no call.
//!
//! Deadlines follow the clock of the database, which all replicas share.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use talktime_kit::db::{PgConnection, column};

use super::call_columns::call_columns;
use crate::domain::call::{Call, CallType};
use crate::domain::ending::{RingOutcome, RingOutcomeReason};
use crate::domain::ringing::RingEnding;

/// Records that a device of the listener rings; `None` if one did before or the call does not ring any more.
pub async fn record_reached(tx: &mut PgConnection, call_id: i64) -> sqlx::Result<Option<Call>> {
    sqlx::query_as(concat!(
        "UPDATE calls.user_calls
         SET reached_at = now(), next_step_at = ring_expires_at, version = version + 1,
             updated_at = now()
         WHERE call_id = $1 AND phase = 'ringing' AND reached_at IS NULL AND ring_expires_at > now()
         RETURNING ",
        call_columns!()
    ))
    .bind(call_id)
    .fetch_optional(tx)
    .await
}

/// Turns locked ringing calls into reserved ones, each accepted by a session of its listener. If nobody drives them
/// on within `lease_secs`, the sweeper undoes them.
pub async fn begin_accepts(
    tx: &mut PgConnection,
    accepts: &[(i64, &str)],
    lease_secs: f64,
) -> sqlx::Result<Vec<Call>> {
    if accepts.is_empty() {
        return Ok(vec![]);
    }
    sqlx::query_as(concat!(
        "UPDATE calls.user_calls
         SET phase = 'reserving', status = 'connecting', accepted_at = now(),
             accepted_session = session_id, reached_at = COALESCE(reached_at, now()),
             next_step_at = now() + make_interval(secs => $3), updated_at = now()
         FROM unnest($1::bigint[], $2::text[]) AS accept (accepted_call_id, session_id)
         WHERE call_id = accepted_call_id AND phase = 'ringing' RETURNING ",
        call_columns!()
    ))
    .bind(column(accepts, |(call_id, _)| *call_id))
    .bind(column(accepts, |(_, session_id)| *session_id))
    .bind(lease_secs)
    .fetch_all(tx)
    .await
}

/// Turns an accepted call, whose first minute is paid, into one that waits for the platform's media; `None` if
/// it was undone meanwhile, or uses media of its own.
pub async fn begin_connecting(
    tx: &mut PgConnection,
    call_id: i64,
    connect_secs: f64,
) -> sqlx::Result<Option<Call>> {
    sqlx::query_as(concat!(
        "UPDATE calls.user_calls
         SET phase = 'connecting', next_step_at = accepted_at + make_interval(secs => $2),
             version = version + 1, updated_at = now()
         WHERE call_id = $1 AND phase = 'reserving' AND media = 'platform'
           AND ring_expires_at IS NOT NULL
         RETURNING ",
        call_columns!()
    ))
    .bind(call_id)
    .bind(connect_secs)
    .fetch_optional(tx)
    .await
}

/// Ends locked rings and frees their parties.
pub async fn end_rings(
    tx: &mut PgConnection,
    endings: &[(i64, RingEnding)],
) -> sqlx::Result<Vec<Call>> {
    if endings.is_empty() {
        return Ok(vec![]);
    }
    sqlx::query_as(concat!(
        "WITH freed AS (DELETE FROM calls.live_parties WHERE call_id = ANY($1))
         UPDATE calls.user_calls
         SET phase = 'unanswered', status = 'unanswered', outcome = ended_as,
             outcome_reason = reason, ended_by = party, end_time = now(), next_step_at = NULL,
             version = version + 1, updated_at = now()
         FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[])
              AS ending (ended_call_id, ended_as, reason, party)
         WHERE call_id = ended_call_id AND phase = 'ringing' RETURNING ",
        call_columns!()
    ))
    .bind(column(endings, |(call_id, _)| *call_id))
    .bind(column(endings, |(_, ending)| ending.outcome.name()))
    .bind(column(endings, |(_, ending)| ending.reason.name()))
    .bind(column(endings, |(_, ending)| ending.ended_by.name()))
    .fetch_all(tx)
    .await
}

/// The side on which a user is in a list of unanswered calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RingDirection {
    Incoming,
    Outgoing,
}

/// A ring that led to no call, as one of its parties sees it.
#[derive(Clone, Debug, FromRow)]
pub struct UnansweredCall {
    pub call_id: i64,
    pub peer_id: i64,
    /// Name of the other party when it rang.
    pub peer_username: String,
    #[sqlx(try_from = "String")]
    pub call_type: CallType,
    pub is_incoming: bool,
    pub outcome: RingOutcome,
    pub outcome_reason: RingOutcomeReason,
    pub rung_at: DateTime<Utc>,
    pub rung_seconds: i64,
}

/// Lists a page of a user's rings that led to no call, newest first. Each side is read by its own index and no
/// further than the page reaches.
pub async fn list_unanswered(
    connection: &mut PgConnection,
    user_id: i64,
    direction: Option<RingDirection>,
    limit: i64,
    offset: i64,
) -> sqlx::Result<Vec<UnansweredCall>> {
    sqlx::query_as(
        "SELECT call_id, peer_id, peer_username, call_type, is_incoming, outcome, outcome_reason,
                created_at AS rung_at,
                GREATEST(0, extract(epoch FROM COALESCE(accepted_at, end_time) - created_at))::bigint
                    AS rung_seconds
         FROM (
             (SELECT *, listener_id AS peer_id, listener_username AS peer_username,
                     false AS is_incoming
              FROM calls.user_calls WHERE user_id = $1 AND phase = 'unanswered' AND $2
              ORDER BY created_at DESC, call_id DESC LIMIT $4 + $5)
             UNION ALL
             (SELECT *, user_id, caller_username, true
              FROM calls.user_calls WHERE listener_id = $1 AND phase = 'unanswered' AND $3
              ORDER BY created_at DESC, call_id DESC LIMIT $4 + $5)
         ) AS side ORDER BY created_at DESC, call_id DESC LIMIT $4 OFFSET $5",
    )
    .bind(user_id)
    .bind(direction != Some(RingDirection::Incoming))
    .bind(direction != Some(RingDirection::Outgoing))
    .bind(limit)
    .bind(offset)
    .fetch_all(connection)
    .await
}

/// Counts a user's rings that led to no call.
pub async fn count_unanswered(
    connection: &mut PgConnection,
    user_id: i64,
    direction: Option<RingDirection>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM calls.user_calls
                 WHERE user_id = $1 AND phase = 'unanswered' AND $2)
              + (SELECT count(*) FROM calls.user_calls
                 WHERE listener_id = $1 AND phase = 'unanswered' AND $3)",
    )
    .bind(user_id)
    .bind(direction != Some(RingDirection::Incoming))
    .bind(direction != Some(RingDirection::Outgoing))
    .fetch_one(connection)
    .await
}

/// Deletes up to `limit` rings that led to no call and are older than some days; returns how many.
pub async fn delete_old_unanswered(
    tx: &mut PgConnection,
    days: i32,
    limit: i64,
) -> sqlx::Result<u64> {
    let deleted = sqlx::query(
        // The array is read once; a subquery might be read again for each row, beyond the limit.
        "DELETE FROM calls.user_calls
         WHERE call_id = ANY (ARRAY (
             SELECT call_id FROM calls.user_calls
             WHERE phase = 'unanswered' AND created_at < now() - make_interval(days => $1)
             ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
    )
    .bind(days)
    .bind(limit)
    .execute(tx)
    .await?;
    Ok(deleted.rows_affected())
}
