//! `calls.user_calls`: one row per call, which is also the state of its saga.
//!
//! Leases and minutes follow the clock of the database, which all replicas share, because the clocks of
//! replicas may differ.

use chrono::{DateTime, Utc};
use talktime_kit::db::{PgConnection, column};
use talktime_kit::messaging::outbox::OutboxColumns;

use super::call_columns::call_columns;
use crate::domain::call::Call;
use crate::domain::ending::EndingParty;
use crate::domain::ringing::RingEnding;
use crate::domain::steps::{CallEnding, PaidMinute};

/// A call to turn live, whose first minute is paid.
#[derive(Clone, Copy, Debug)]
pub struct LiveStart {
    pub call_id: i64,
    pub minute: PaidMinute,
    /// When the platform's media began to flow, if it did before; the call then began with it.
    pub flows_since: Option<DateTime<Utc>>,
}

/// Turns reserved calls, whose first minute is paid, into live ones, and calls that the platform's media has
/// connected. Returns those that were not undone
/// meanwhile and whose parties may still talk: neither is deleted, and neither has blocked the other. Of `events`, those of
/// these calls are appended in the same statement.
///
/// No lock orders this statement with a deletion. The deletion inserts its row in `deleted_users`, commits,
/// and only then looks for a call of the user. If this statement does not see that row, the call was
/// reserved before the row was committed, and so the deletion finds the call. The same holds for a block
/// and `barred_pairs`.
pub async fn go_live(
    tx: &mut PgConnection,
    paid: &[LiveStart],
    events: OutboxColumns,
) -> sqlx::Result<Vec<Call>> {
    sqlx::query_as(concat!(
        "WITH started AS (
             UPDATE calls.user_calls AS reserved
             SET phase = 'active', start_time = begins_at, minutes_billed = 1,
                 coins_spent = coins_per_minute,
                 next_step_at = begins_at + make_interval(secs => minute_secs),
                 low_balance_told = is_low, has_bonus = has_bonus OR contains_bonus,
                 status = 'ongoing', updated_at = now(),
                 -- A ring that goes live at once is published as accepted, too.
                 version = version + 1 + is_newly_low
                           + (phase = 'reserving' AND ring_expires_at IS NOT NULL)::integer
             FROM unnest($1::bigint[], $2::boolean[], $3::integer[], $4::timestamptz[], $5::boolean[])
                  AS paid (paid_call_id, is_low, is_newly_low, flows_since, contains_bonus)
                  JOIN LATERAL (
                      SELECT LEAST(now(), GREATEST(COALESCE(flows_since, now()), accepted_at))
                             AS begins_at
                      FROM calls.user_calls AS accepted WHERE accepted.call_id = paid_call_id
                  ) AS live ON true
             WHERE call_id = paid_call_id
               AND (phase = 'connecting'
                    OR phase = 'reserving' AND (media = 'own' OR ring_expires_at IS NULL))
               AND NOT EXISTS (SELECT FROM calls.deleted_users AS gone
                               WHERE gone.user_id IN (reserved.user_id, reserved.listener_id)
                                 AND gone.barred_until > now())
               AND NOT EXISTS (SELECT FROM calls.barred_pairs AS pair
                               WHERE pair.lower_id = LEAST(reserved.user_id, reserved.listener_id)
                                 AND pair.upper_id = GREATEST(reserved.user_id, reserved.listener_id)
                                 AND pair.barred_until > now())
             RETURNING reserved.*
         ), reported AS (
             INSERT INTO calls.outbox (subject, aggregate_id, payload, traceparent)
             SELECT event.*
             FROM unnest($6::text[], $7::bigint[], $8::bytea[], $9::text[])
                  AS event (subject, call_id, payload, traceparent)
             WHERE event.call_id = ANY (ARRAY (SELECT call_id FROM started))
         )
         SELECT ",
        call_columns!(),
        " FROM started"
    ))
    .bind(column(paid, |start| start.call_id))
    .bind(column(paid, |start| start.minute.is_low))
    .bind(column(paid, |start| i32::from(start.minute.is_newly_low)))
    .bind(column(paid, |start| start.flows_since))
    .bind(column(paid, |start| start.minute.has_bonus))
    .bind(events.subjects)
    .bind(events.aggregate_ids)
    .bind(events.payloads)
    .bind(events.traceparents)
    .fetch_all(tx)
    .await
}

/// Turns a call that is not live yet into one to be undone; `None` if it is in another phase. A ring gets its
/// ending, which is published now; of any other call nothing will be left.
pub async fn begin_undoing(
    tx: &mut PgConnection,
    call_id: i64,
    ending: RingEnding,
    lease_secs: f64,
) -> sqlx::Result<Option<Call>> {
    sqlx::query_as(concat!(
        "UPDATE calls.user_calls
         SET phase = 'undoing', next_step_at = now() + make_interval(secs => $2),
             outcome = CASE WHEN ring_expires_at IS NOT NULL THEN $3 END,
             outcome_reason = CASE WHEN ring_expires_at IS NOT NULL THEN $4 END,
             ended_by = CASE WHEN ring_expires_at IS NOT NULL THEN $5 END,
             end_time = CASE WHEN ring_expires_at IS NOT NULL THEN now() END,
             version = version + (ring_expires_at IS NOT NULL)::integer, updated_at = now()
         WHERE call_id = $1 AND phase IN ('reserving', 'connecting') RETURNING ",
        call_columns!()
    ))
    .bind(call_id)
    .bind(lease_secs)
    .bind(ending.outcome.name())
    .bind(ending.reason.name())
    .bind(ending.ended_by.name())
    .fetch_optional(tx)
    .await
}

/// Deletes a call whose charge is voided, or turns it `unanswered` if it was a ring; false if another replica
/// has done so.
pub async fn drop_undone(tx: &mut PgConnection, call: &Call) -> sqlx::Result<bool> {
    let statement = if call.is_ring() {
        "UPDATE calls.user_calls
         SET phase = 'unanswered', status = 'unanswered', next_step_at = NULL, updated_at = now()
         WHERE call_id = $1 AND phase = 'undoing'"
    } else {
        "DELETE FROM calls.user_calls WHERE call_id = $1 AND phase = 'undoing'"
    };
    let dropped = sqlx::query(statement)
        .bind(call.call_id)
        .execute(tx)
        .await?;
    Ok(dropped.rows_affected() == 1)
}

/// Finds a call by its id.
pub async fn find(connection: &mut PgConnection, call_id: i64) -> sqlx::Result<Option<Call>> {
    sqlx::query_as(concat!(
        "SELECT ",
        call_columns!(),
        " FROM calls.user_calls WHERE call_id = $1"
    ))
    .bind(call_id)
    .fetch_optional(connection)
    .await
}

/// Locks calls in the order of their ids, so that concurrent batches never wait for each other in a circle.
pub async fn lock_by_ids(tx: &mut PgConnection, call_ids: &[i64]) -> sqlx::Result<Vec<Call>> {
    sqlx::query_as(concat!(
        "SELECT ",
        call_columns!(),
        " FROM calls.user_calls WHERE call_id = ANY($1) ORDER BY call_id FOR UPDATE"
    ))
    .bind(call_ids)
    .fetch_all(tx)
    .await
}

/// Loads calls by their ids; those that do not exist are left out.
pub async fn list_by_ids(
    connection: &mut PgConnection,
    call_ids: &[i64],
) -> sqlx::Result<Vec<Call>> {
    sqlx::query_as(concat!(
        "SELECT ",
        call_columns!(),
        " FROM calls.user_calls WHERE call_id = ANY($1)"
    ))
    .bind(call_ids)
    .fetch_all(connection)
    .await
}

/// Orders the reports of both apps of a call until the end of the transaction, so that the later one sees both. The row
/// of the call stays free for its billing, which skips locked calls.
pub async fn lock_media_reports(tx: &mut PgConnection, call_id: i64) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('calls.media', $1))")
        .bind(call_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// Lists the next `limit` calls with busy parties after an id.
pub async fn list_live_after(
    connection: &mut PgConnection,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<Call>> {
    sqlx::query_as(concat!(
        "SELECT ",
        call_columns!(),
        " FROM calls.user_calls
         WHERE call_id IN (SELECT call_id FROM calls.live_parties WHERE call_id > $1
                           GROUP BY call_id ORDER BY call_id LIMIT $2)
         ORDER BY call_id"
    ))
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// Returns the seconds until the next step of some call is due, which are negative if it is late; `None` if no call has a
/// next step.
pub async fn find_next_due_secs(connection: &mut PgConnection) -> sqlx::Result<Option<f64>> {
    sqlx::query_scalar(
        "SELECT extract(epoch FROM min(next_step_at) - now())::float8
         FROM calls.user_calls WHERE next_step_at IS NOT NULL",
    )
    .fetch_one(connection)
    .await
}

/// Claims calls whose next step is due; no other replica claims them for `lease_secs`.
pub async fn claim_due(
    tx: &mut PgConnection,
    lease_secs: f64,
    limit: i64,
) -> sqlx::Result<Vec<Call>> {
    sqlx::query_as(concat!(
        "UPDATE calls.user_calls SET next_step_at = now() + make_interval(secs => $1)
         WHERE call_id IN (SELECT call_id FROM calls.user_calls WHERE next_step_at <= now()
                           ORDER BY next_step_at LIMIT $2 FOR UPDATE SKIP LOCKED)
         RETURNING ",
        call_columns!()
    ))
    .bind(lease_secs)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// Records the next paid minute of each call, unless it was recorded before or the call has ended. Returns
/// the updated calls. Each event has its own version, so the version grows by two if a low balance is
/// announced as well.
pub async fn record_minutes(
    tx: &mut PgConnection,
    paid: &[(i64, PaidMinute)],
) -> sqlx::Result<Vec<Call>> {
    sqlx::query_as(concat!(
        "UPDATE calls.user_calls
         SET minutes_billed = minute, coins_spent = coins_spent + coins_per_minute,
             next_step_at = start_time + make_interval(secs => minute * minute_secs),
             low_balance_told = is_low, has_bonus = has_bonus OR contains_bonus,
             version = version + 1 + is_newly_low, updated_at = now()
         FROM unnest($1::bigint[], $2::integer[], $3::boolean[], $4::integer[], $5::boolean[])
              AS paid (paid_call_id, minute, is_low, is_newly_low, contains_bonus)
         WHERE call_id = paid_call_id AND phase = 'active' AND minutes_billed = minute - 1
         RETURNING ",
        call_columns!()
    ))
    .bind(column(paid, |(call_id, _)| *call_id))
    .bind(column(paid, |(_, minute)| minute.minute))
    .bind(column(paid, |(_, minute)| minute.is_low))
    .bind(column(paid, |(_, minute)| i32::from(minute.is_newly_low)))
    .bind(column(paid, |(_, minute)| minute.has_bonus))
    .fetch_all(tx)
    .await
}

/// Records the party of a live call that has blocked the other, or that neither has any more.
pub async fn record_block(
    tx: &mut PgConnection,
    call_id: i64,
    by: Option<EndingParty>,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE calls.user_calls SET blocked_by = $2, updated_at = now()
         WHERE call_id = $1 AND phase = 'active'",
    )
    .bind(call_id)
    .bind(by.map(EndingParty::name))
    .execute(tx)
    .await?;
    Ok(())
}

/// Turns locked live calls into calls to be settled and frees their parties. If the number of minutes is certain
/// (`minutes_settled`), the row has its final figures from now on. `paise_per_coin` is the price that the caller
/// paid for a coin. The events of these endings are appended in the same statement.
pub async fn begin_settling(
    tx: &mut PgConnection,
    endings: &[(i64, CallEnding)],
    events: OutboxColumns,
    paise_per_coin: i64,
    lease_secs: f64,
) -> sqlx::Result<Vec<Call>> {
    if endings.is_empty() {
        return Ok(vec![]);
    }
    sqlx::query_as(concat!(
        "WITH freed AS (DELETE FROM calls.live_parties WHERE call_id = ANY($1)),
              reported AS (
                  INSERT INTO calls.outbox (subject, aggregate_id, payload, traceparent)
                  SELECT event.*
                  FROM unnest($11::text[], $12::bigint[], $13::bytea[], $14::text[]) AS event
              )
         UPDATE calls.user_calls
         SET phase = 'settling', status = ended_as, end_time = ended_at,
             duration_seconds = seconds, duration_minutes = minutes,
             end_reason = reason, ended_by = end_party,
             next_step_at = now() + make_interval(secs => $7),
             minutes_settled = settled, figures_follow_settlement = settled IS NULL,
             minutes_billed = COALESCE(settled, minutes_billed),
             coins_spent = COALESCE(settled * coins_per_minute, coins_spent),
             user_money_spend =
                 COALESCE(settled * coins_per_minute * $8::numeric / 100, user_money_spend),
             listener_money_earned =
                 COALESCE(settled * listener_paise_per_minute::numeric / 100, listener_money_earned),
             version = version + 1, updated_at = now()
         FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::bigint[], $5::integer[],
                     $6::integer[], $9::text[], $10::text[])
              AS ending (ended_call_id, ended_as, ended_at, seconds, minutes, settled, reason,
                         end_party)
         WHERE call_id = ended_call_id AND phase = 'active' RETURNING ",
        call_columns!()
    ))
    .bind(column(endings, |(call_id, _)| *call_id))
    .bind(column(endings, |(_, ending)| ending.status.name()))
    .bind(column(endings, |(_, ending)| ending.end_time))
    .bind(column(endings, |(_, ending)| ending.duration.seconds))
    .bind(column(endings, |(_, ending)| ending.duration.minutes))
    .bind(column(endings, |(_, ending)| ending.minutes_settled))
    .bind(lease_secs)
    .bind(paise_per_coin)
    .bind(column(endings, |(_, ending)| ending.reason.name()))
    .bind(column(endings, |(_, ending)| ending.ended_by.name()))
    .bind(events.subjects)
    .bind(events.aggregate_ids)
    .bind(events.payloads)
    .bind(events.traceparents)
    .fetch_all(tx)
    .await
}

/// Decides how many minutes the settlement counts. The first decision holds: later ones get its result.
/// `None` if there is no such call.
pub async fn decide_minutes(
    tx: &mut PgConnection,
    call_id: i64,
    minutes: i32,
) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar(
        "UPDATE calls.user_calls SET minutes_settled = COALESCE(minutes_settled, $2)
         WHERE call_id = $1 RETURNING minutes_settled",
    )
    .bind(call_id)
    .bind(minutes)
    .fetch_optional(tx)
    .await
}

/// Final figures of a call.
#[derive(Clone, Copy, Debug)]
pub struct CallReceipt {
    pub minutes: i32,
    /// Coins charged for these minutes.
    pub coins_spent: i64,
    /// Price that the caller paid for these coins, in paise.
    pub user_paise_spent: i64,
    /// Earnings of the listener, in paise.
    pub listener_paise_earned: i64,
}

/// Closes calls with their receipts; returns those that were not closed before. If fewer minutes were paid
/// than had begun, the call ended at the end of the last paid one, dropped. The version of a call grows if
/// its figures follow its settlement, since they are published now.
///
/// If no figures are published, the commit does not wait for the disk. Should a crash lose it, the calls
/// are settled again, and the wallet answers the same.
pub async fn close_settled(
    tx: &mut PgConnection,
    receipts: &[(i64, CallReceipt)],
) -> sqlx::Result<Vec<Call>> {
    sqlx::query_as(concat!(
        "UPDATE calls.user_calls
         SET phase = 'settled', next_step_at = NULL, updated_at = now(),
             version = version + figures_follow_settlement::integer,
             minutes_billed = paid, coins_spent = spent, user_money_spend = spent_paise::numeric / 100,
             listener_money_earned = earned_paise::numeric / 100,
             status = CASE WHEN duration_minutes > paid THEN 'dropped' ELSE status END,
             end_reason = CASE WHEN duration_minutes > paid THEN 'coins_empty' ELSE end_reason END,
             ended_by = CASE WHEN duration_minutes > paid THEN 'server' ELSE ended_by END,
             end_time = CASE WHEN duration_minutes > paid
                             THEN start_time + make_interval(secs => paid * minute_secs)
                             ELSE end_time END,
             duration_seconds = CASE WHEN duration_minutes > paid
                                     THEN paid * minute_secs ELSE duration_seconds END,
             duration_minutes = paid
         FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[])
              AS receipt (closed_call_id, paid, spent, spent_paise, earned_paise)
         WHERE call_id = closed_call_id AND phase = 'settling'
           AND (SELECT set_config('synchronous_commit', 'off', true)
                WHERE NOT EXISTS (SELECT FROM calls.user_calls
                                  WHERE call_id = ANY($1) AND figures_follow_settlement))
               IS DISTINCT FROM 'on'
         RETURNING ",
        call_columns!()
    ))
    .bind(column(receipts, |(call_id, _)| *call_id))
    .bind(column(receipts, |(_, receipt)| receipt.minutes))
    .bind(column(receipts, |(_, receipt)| receipt.coins_spent))
    .bind(column(receipts, |(_, receipt)| receipt.user_paise_spent))
    .bind(column(receipts, |(_, receipt)| receipt.listener_paise_earned))
    .fetch_all(tx)
    .await
}

/// Clears the name of a deleted user in their calls; the other party keeps the history.
pub async fn clear_username(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE calls.user_calls
         SET caller_username = CASE WHEN user_id = $1 THEN '' ELSE caller_username END,
             listener_username = CASE WHEN listener_id = $1 THEN '' ELSE listener_username END
         WHERE user_id = $1 OR listener_id = $1",
    )
    .bind(user_id)
    .execute(tx)
    .await?;
    Ok(())
}

/// Counts the live calls by the index of due calls.
pub async fn count_live(connection: &mut PgConnection) -> sqlx::Result<i32> {
    sqlx::query_scalar(
        "SELECT count(*)::integer FROM calls.user_calls
         WHERE phase = 'active' AND next_step_at IS NOT NULL",
    )
    .fetch_one(connection)
    .await
}
