//! `calls.user_calls`: one row per call, which is also the state of its saga.
//!
//! Leases and minutes follow the clock of the database, which all replicas share, because the clocks of
//! replicas may differ.

use std::collections::HashMap;

use chrono::NaiveDate;
use talktime_kit::db::{PgConnection, column, is_unique_violation};

use crate::domain::call::{Call, CallType};
use crate::domain::steps::{CallEnding, PaidMinute};

/// The columns of [`Call`], for every query that reads or returns whole rows.
macro_rules! call_columns {
    () => {
        "call_id, user_id, listener_id, call_type, status, phase, start_time, duration_seconds,
         duration_minutes, coins_spent, (user_money_spend * 100)::bigint AS user_paise_spent,
         (listener_money_earned * 100)::bigint AS listener_paise_earned,
         coins_per_minute, listener_paise_per_minute, listener_badge, prices_version,
         minute_secs, minutes_billed, minutes_settled, figures_follow_settlement, low_balance_told, caller_username, listener_username, idempotency_key, version,
         clock_timestamp() AS read_at"
    };
}

/// A call to be reserved.
#[derive(Clone, Debug)]
pub struct NewCall {
    pub user_id: i64,
    pub listener_id: i64,
    pub call_type: CallType,
    pub coins_per_minute: i64,
    /// Earnings per minute of a listener without a badge, in paise.
    pub basic_paise_per_minute: i64,
    pub prices_version: i64,
    /// Present day in India, whose badge counts.
    pub date: NaiveDate,
    /// Length of a billed minute in seconds.
    pub minute_secs: i32,
    pub caller_username: String,
    pub listener_username: String,
    /// Idempotency key of the request.
    pub idempotency_key: Option<String>,
}

/// Inserts calls in `reserving` and marks both parties of each as busy. Returns them in the given order,
/// with `None` for a call of which a party is already busy or deleted. If a party becomes busy
/// concurrently, or two of these calls share a party, the result is a unique violation ([`is_party_taken`])
/// and nothing is written.
///
/// The earnings of the listener follow the badge of the day, or that of yesterday until the badges of today
/// are assigned, a minute after midnight. If nobody drives a call on within `lease_secs`, the sweeper
/// undoes it.
///
/// Lock order: parties are inserted in the order of their ids, so that two concurrent reservations of the
/// same people never wait for each other in a circle.
pub async fn reserve(
    connection: &mut PgConnection,
    new: &[&NewCall],
    lease_secs: f64,
) -> sqlx::Result<Vec<Option<Call>>> {
    if new.is_empty() {
        return Ok(vec![]);
    }
    let reserved: Vec<Call> = sqlx::query_as(RESERVE)
        .bind(column(new, |call| call.user_id))
        .bind(column(new, |call| call.listener_id))
        .bind(column(new, |call| call.call_type.name()))
        .bind(column(new, |call| call.coins_per_minute))
        .bind(column(new, |call| call.basic_paise_per_minute))
        .bind(column(new, |call| call.prices_version))
        .bind(column(new, |call| call.date))
        .bind(column(new, |call| call.minute_secs))
        .bind(column(new, |call| call.caller_username.as_str()))
        .bind(column(new, |call| call.listener_username.as_str()))
        .bind(column(new, |call| call.idempotency_key.as_deref()))
        .bind(lease_secs)
        .fetch_all(connection)
        .await?;
    let by_parties = reserved.into_iter().map(|call| (call.parties(), call));
    let mut by_parties: HashMap<[i64; 2], Call> = by_parties.collect();
    let answers = new
        .iter()
        .map(|call| by_parties.remove(&[call.user_id, call.listener_id]));
    Ok(answers.collect())
}

const RESERVE: &str = concat!(
    "WITH call AS (
         INSERT INTO calls.user_calls
            (user_id, listener_id, call_type, status, phase, coins_per_minute,
             listener_paise_per_minute, listener_badge, prices_version, minute_secs,
             caller_username, listener_username, idempotency_key, next_step_at, created_at,
             updated_at)
         SELECT new.user_id, new.listener_id, new.call_type, 'ongoing', 'reserving', new.coins,
                COALESCE(given.paise, new.basic_paise), COALESCE(given.badge, 'basic'),
                new.prices_version, new.minute_secs, new.caller_username, new.listener_username,
                new.idempotency_key, now() + make_interval(secs => $12), now(), now()
         FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[],
                     $6::bigint[], $7::date[], $8::integer[], $9::text[], $10::text[], $11::text[])
              AS new (user_id, listener_id, call_type, coins, basic_paise, prices_version, date,
                      minute_secs, caller_username, listener_username, idempotency_key)
         LEFT JOIN LATERAL (
             SELECT true AS is_there FROM calls.live_parties AS party
             WHERE party.user_id IN (new.user_id, new.listener_id)
             UNION ALL
             SELECT true FROM calls.deleted_users AS gone
             WHERE gone.user_id IN (new.user_id, new.listener_id) AND gone.barred_until > now()
             LIMIT 1) AS taken ON true
         LEFT JOIN LATERAL (
             SELECT badge.badge, (100 * CASE new.call_type WHEN 'audio' THEN audio_rate_per_minute
                                  ELSE video_rate_per_minute END)::bigint AS paise
             FROM calls.listener_badges AS badge
             WHERE badge.listener_id = new.listener_id
               AND badge.date BETWEEN new.date - 1 AND new.date
             ORDER BY badge.date DESC LIMIT 1) AS given ON true
         WHERE taken.is_there IS NULL
         RETURNING *
     ), taken AS (
         INSERT INTO calls.live_parties (user_id, call_id)
         SELECT party.user_id, call.call_id
         FROM call CROSS JOIN LATERAL unnest(ARRAY[call.user_id, call.listener_id])
              AS party (user_id)
         ORDER BY party.user_id
     )
     SELECT ",
    call_columns!(),
    " FROM call"
);

/// Whether [`reserve`] failed because a party was busy.
pub fn is_party_taken(error: &sqlx::Error) -> bool {
    is_unique_violation(error, "live_parties_pkey")
}

/// Turns reserved calls, whose first minute is paid, into live ones. Returns those that were not undone
/// meanwhile and whose parties may still talk: neither is deleted, and neither has blocked the other.
///
/// No lock orders this statement with a deletion. The deletion inserts its row in `deleted_users`, commits,
/// and only then looks for a call of the user. If this statement does not see that row, the call was
/// reserved before the row was committed, and so the deletion finds the call. The same holds for a block
/// and `barred_pairs`.
pub async fn go_live(tx: &mut PgConnection, paid: &[(i64, PaidMinute)]) -> sqlx::Result<Vec<Call>> {
    sqlx::query_as(concat!(
        "UPDATE calls.user_calls AS reserved
         SET phase = 'active', start_time = now(), minutes_billed = 1,
             coins_spent = coins_per_minute,
             next_step_at = now() + make_interval(secs => minute_secs),
             low_balance_told = is_low, version = version + 1 + is_newly_low, updated_at = now()
         FROM unnest($1::bigint[], $2::boolean[], $3::integer[])
              AS paid (paid_call_id, is_low, is_newly_low)
         WHERE call_id = paid_call_id AND phase = 'reserving'
           AND NOT EXISTS (SELECT FROM calls.deleted_users AS gone
                           WHERE gone.user_id IN (reserved.user_id, reserved.listener_id)
                             AND gone.barred_until > now())
           AND NOT EXISTS (SELECT FROM calls.barred_pairs AS pair
                           WHERE pair.lower_id = LEAST(reserved.user_id, reserved.listener_id)
                             AND pair.upper_id = GREATEST(reserved.user_id, reserved.listener_id)
                             AND pair.barred_until > now())
         RETURNING ",
        call_columns!()
    ))
    .bind(column(paid, |(call_id, _)| *call_id))
    .bind(column(paid, |(_, minute)| minute.is_low))
    .bind(column(paid, |(_, minute)| i32::from(minute.is_newly_low)))
    .fetch_all(tx)
    .await
}

/// Turns a reserved call into one to be undone; `None` if it is no longer reserved.
pub async fn begin_undoing(
    tx: &mut PgConnection,
    call_id: i64,
    lease_secs: f64,
) -> sqlx::Result<Option<Call>> {
    sqlx::query_as(concat!(
        "UPDATE calls.user_calls
         SET phase = 'undoing', next_step_at = now() + make_interval(secs => $2),
             updated_at = now()
         WHERE call_id = $1 AND phase = 'reserving' RETURNING ",
        call_columns!()
    ))
    .bind(call_id)
    .bind(lease_secs)
    .fetch_optional(tx)
    .await
}

/// Deletes a call whose charge is voided; false if another replica has deleted it.
pub async fn delete_undone(tx: &mut PgConnection, call_id: i64) -> sqlx::Result<bool> {
    let deleted =
        sqlx::query("DELETE FROM calls.user_calls WHERE call_id = $1 AND phase = 'undoing'")
            .bind(call_id)
            .execute(tx)
            .await?;
    Ok(deleted.rows_affected() == 1)
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
             low_balance_told = is_low, version = version + 1 + is_newly_low, updated_at = now()
         FROM unnest($1::bigint[], $2::integer[], $3::boolean[], $4::integer[])
              AS paid (paid_call_id, minute, is_low, is_newly_low)
         WHERE call_id = paid_call_id AND phase = 'active' AND minutes_billed = minute - 1
         RETURNING ",
        call_columns!()
    ))
    .bind(column(paid, |(call_id, _)| *call_id))
    .bind(column(paid, |(_, minute)| minute.minute))
    .bind(column(paid, |(_, minute)| minute.is_low))
    .bind(column(paid, |(_, minute)| i32::from(minute.is_newly_low)))
    .fetch_all(tx)
    .await
}

/// Turns locked live calls into calls to be settled and frees their parties. If every minute that counts is
/// paid, the row has its final figures from now on. `paise_per_coin` is the price that the caller paid for
/// a coin.
pub async fn begin_settling(
    tx: &mut PgConnection,
    endings: &[(i64, CallEnding)],
    paise_per_coin: i64,
    lease_secs: f64,
) -> sqlx::Result<Vec<Call>> {
    if endings.is_empty() {
        return Ok(vec![]);
    }
    sqlx::query_as(concat!(
        "WITH freed AS (DELETE FROM calls.live_parties WHERE call_id = ANY($1))
         UPDATE calls.user_calls
         SET phase = 'settling', status = ended_as, end_time = ended_at,
             duration_seconds = seconds, duration_minutes = minutes,
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
                     $6::integer[])
              AS ending (ended_call_id, ended_as, ended_at, seconds, minutes, settled)
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
