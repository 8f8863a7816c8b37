//! `calls.user_calls`: one row a call, which is its saga too.
//!
//! Leases and minutes go by the database's clock, which all replicas share: their own may differ.

use std::collections::HashMap;

use chrono::NaiveDate;
use sqlx::PgConnection;
use talktime_kit::db::{column, is_unique_violation};

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

/// A call to be.
#[derive(Clone, Debug)]
pub struct NewCall {
    /// Who calls.
    pub user_id: i64,
    /// Who is called.
    pub listener_id: i64,
    /// Audio or video.
    pub call_type: CallType,
    /// Price of a minute.
    pub coins_per_minute: i64,
    /// The share of a minute of a listener without a badge, in paise.
    pub basic_paise_per_minute: i64,
    /// The version of these prices.
    pub prices_version: i64,
    /// Today in India, whose badge counts.
    pub date: NaiveDate,
    /// Length of a billed minute in seconds.
    pub minute_secs: i32,
    /// Name of the caller.
    pub caller_username: String,
    /// Name of the listener.
    pub listener_username: String,
    /// The client's key for this request.
    pub idempotency_key: Option<String>,
}

/// Writes calls in `reserving` and takes both people of each; answers in their order, none for a call
/// of which somebody is taken already, or deleted. Where that happens at the same moment, or two of these calls are
/// of the same people, it is a unique violation ([`is_party_taken`]) and nothing is written. The listener's
/// share goes by the badge of the day, or by yesterday's until today's is given, which takes a minute
/// after midnight. If nobody drives a call on for `lease_secs`, the sweeper undoes it.
///
/// People are taken in the order of their ids, so that two who reserve calls of the same people never
/// wait for each other in a circle.
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
        .bind(column(new, |call| call.call_type.word()))
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

/// Whether [`reserve`] met somebody who is taken.
pub fn is_party_taken(error: &sqlx::Error) -> bool {
    is_unique_violation(error, "live_parties_pkey")
}

/// Turns reserved calls, whose first minute is paid, into live ones; answers those that were not undone
/// meanwhile, of which nobody was deleted, and nobody has blocked the other.
///
/// No lock orders this with a deletion, which writes its row in `deleted_users`, commits, and only then
/// looks for a call of the user: where this statement does not see the row, the call was reserved before
/// it was committed, and so the look finds the call. The same holds for a block and `barred_pairs`.
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

/// Turns a reserved call into one to be undone; none when it is not reserved any more.
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

/// Drops a call whose charge is undone; false when somebody else has dropped it.
pub async fn delete_undone(tx: &mut PgConnection, call_id: i64) -> sqlx::Result<bool> {
    let deleted =
        sqlx::query("DELETE FROM calls.user_calls WHERE call_id = $1 AND phase = 'undoing'")
            .bind(call_id)
            .execute(tx)
            .await?;
    Ok(deleted.rows_affected() == 1)
}

/// A call by its id.
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

/// Locks calls, in the order of their ids.
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

/// The next `limit` calls that people are on, after an id.
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

/// Takes calls whose time has come; for `lease_secs` no other replica takes them.
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

/// Records that the next minute of each call was paid, where that was not recorded before and the
/// call has not ended; answers those calls as they are now. Each event has a version of its own.
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

/// Turns live calls, under lock, into such that are to be settled, and frees their people. Where every
/// minute that counts is paid, the row holds from now on what the receipt will say; `paise_per_coin` is
/// what a coin cost the caller.
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
    .bind(column(endings, |(_, ending)| ending.status.word()))
    .bind(column(endings, |(_, ending)| ending.end_time))
    .bind(column(endings, |(_, ending)| ending.duration.seconds))
    .bind(column(endings, |(_, ending)| ending.duration.minutes))
    .bind(column(endings, |(_, ending)| ending.minutes_settled))
    .bind(lease_secs)
    .bind(paise_per_coin)
    .fetch_all(tx)
    .await
}

/// Decides how many minutes the settlement counts. The first decision holds: whoever comes second
/// gets the first one's answer. None when there is no such call.
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

/// What a call came to.
#[derive(Clone, Copy, Debug)]
pub struct CallReceipt {
    /// Minutes paid.
    pub minutes: i32,
    /// What they cost the caller.
    pub coins_spent: i64,
    /// What the caller had paid for those coins, in paise.
    pub user_paise_spent: i64,
    /// What the listener earned, in paise.
    pub listener_paise_earned: i64,
}

/// Closes calls with their receipts; answers those that nobody closed before. Where fewer minutes were
/// paid than had begun, a call ended at the end of the last paid one, dropped. The version of a call whose
/// figures follow its settlement grows, since they are published now. Where there is none such, the commit
/// does not wait for the disk: if a crash loses it, the calls are settled again, with the same answer of
/// the wallet.
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

/// Takes a deleted person's name out of the calls they had; the other party keeps the history.
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

/// How many calls are live, up to the numbers of an integer; by the index of what is due.
pub async fn count_live(connection: &mut PgConnection) -> sqlx::Result<i32> {
    sqlx::query_scalar(
        "SELECT count(*)::integer FROM calls.user_calls
         WHERE phase = 'active' AND next_step_at IS NOT NULL",
    )
    .fetch_one(connection)
    .await
}
