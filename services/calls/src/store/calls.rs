//! `calls.user_calls`: one row a call, which is its saga too.
//!
//! Leases and minutes go by the database's clock, which all replicas share: their own may differ.

use chrono::NaiveDate;
use sqlx::PgConnection;

use crate::domain::call::{Call, CallType};
use crate::domain::steps::{Ending, PaidMinute};

/// The columns of [`Call`], for every query that reads or returns whole rows.
macro_rules! call_columns {
    () => {
        "call_id, user_id, listener_id, call_type, status, phase, start_time, duration_seconds,
         duration_minutes, coins_spent, (user_money_spend * 100)::bigint AS user_paise_spent,
         (listener_money_earned * 100)::bigint AS listener_paise_earned,
         coins_per_minute, listener_paise_per_minute, listener_badge, prices_version,
         minute_secs, minutes_billed, minutes_settled, low_balance_told, caller_username, listener_username, idempotency_key, version,
         clock_timestamp() AS read_at"
    };
}

/// A call to be.
#[derive(Clone, Debug)]
pub struct NewCall<'a> {
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
    pub caller_username: &'a str,
    /// Name of the listener.
    pub listener_username: &'a str,
    /// The client's key for this request.
    pub idempotency_key: Option<&'a str>,
}

/// Writes a call in `reserving`, with the listener's share by the badge of the day, or by yesterday's
/// until today's is given, which takes a minute after midnight. If nobody drives it on for `lease_secs`, the sweeper undoes it.
pub async fn insert_reserving(
    tx: &mut PgConnection,
    call: &NewCall<'_>,
    lease_secs: f64,
) -> sqlx::Result<Call> {
    sqlx::query_as(concat!(
        "INSERT INTO calls.user_calls
            (user_id, listener_id, call_type, status, phase, coins_per_minute,
             listener_paise_per_minute, listener_badge, prices_version, minute_secs,
             caller_username, listener_username, idempotency_key, next_step_at, created_at,
             updated_at)
         SELECT $1, $2, $3, 'ongoing', 'reserving', $4, COALESCE(given.paise, $5),
                COALESCE(given.badge, 'basic'), $6, $7, $8, $9, $10,
                now() + make_interval(secs => $11), now(), now()
         FROM (SELECT) AS one LEFT JOIN LATERAL (
             SELECT badge, (100 * CASE $3 WHEN 'audio' THEN audio_rate_per_minute
                                          ELSE video_rate_per_minute END)::bigint AS paise
             FROM calls.listener_badges
             WHERE listener_id = $2 AND date BETWEEN $12::date - 1 AND $12
             ORDER BY date DESC LIMIT 1) AS given ON true
         RETURNING ",
        call_columns!()
    ))
    .bind(call.user_id)
    .bind(call.listener_id)
    .bind(call.call_type.word())
    .bind(call.coins_per_minute)
    .bind(call.basic_paise_per_minute)
    .bind(call.prices_version)
    .bind(call.minute_secs)
    .bind(call.caller_username)
    .bind(call.listener_username)
    .bind(call.idempotency_key)
    .bind(lease_secs)
    .bind(call.date)
    .fetch_one(tx)
    .await
}

/// Turns a reserved call, whose first minute is paid, into a live one; none when it was undone
/// meanwhile.
pub async fn activate(
    tx: &mut PgConnection,
    call_id: i64,
    minute: PaidMinute,
) -> sqlx::Result<Option<Call>> {
    sqlx::query_as(concat!(
        "UPDATE calls.user_calls
         SET phase = 'active', start_time = now(), minutes_billed = 1,
             coins_spent = coins_per_minute,
             next_step_at = now() + make_interval(secs => minute_secs),
             low_balance_told = $2, version = version + 1 + $3::integer, updated_at = now()
         WHERE call_id = $1 AND phase = 'reserving' RETURNING ",
        call_columns!()
    ))
    .bind(call_id)
    .bind(minute.is_low)
    .bind(i32::from(minute.tell_low))
    .fetch_optional(tx)
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

/// Drops a call whose charge is undone.
pub async fn delete_undone(tx: &mut PgConnection, call_id: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM calls.user_calls WHERE call_id = $1 AND phase = 'undoing'")
        .bind(call_id)
        .execute(tx)
        .await?;
    Ok(())
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

/// Locks a call.
pub async fn lock(tx: &mut PgConnection, call_id: i64) -> sqlx::Result<Option<Call>> {
    sqlx::query_as(concat!(
        "SELECT ",
        call_columns!(),
        " FROM calls.user_calls WHERE call_id = $1 FOR UPDATE"
    ))
    .bind(call_id)
    .fetch_optional(tx)
    .await
}

/// The next `limit` calls that people are on, after an id.
pub async fn live_after(
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
    connection: &mut PgConnection,
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
    .fetch_all(connection)
    .await
}

/// Records that the next minute of each call was paid, where that was not recorded before and the
/// call has not ended; answers those calls as they are now. Each event has a version of its own.
pub async fn record_minutes(
    tx: &mut PgConnection,
    paid: &[(i64, PaidMinute)],
) -> sqlx::Result<Vec<Call>> {
    let call_ids: Vec<i64> = paid.iter().map(|(call_id, _)| *call_id).collect();
    let minutes: Vec<i32> = paid.iter().map(|(_, paid)| paid.minute).collect();
    let are_low: Vec<bool> = paid.iter().map(|(_, paid)| paid.is_low).collect();
    let tell_low: Vec<i32> = paid.iter().map(|(_, paid)| paid.tell_low.into()).collect();
    sqlx::query_as(concat!(
        "UPDATE calls.user_calls
         SET minutes_billed = minute, coins_spent = coins_spent + coins_per_minute,
             next_step_at = start_time + make_interval(secs => minute * minute_secs),
             low_balance_told = is_low, version = version + 1 + tell_low, updated_at = now()
         FROM unnest($1::bigint[], $2::integer[], $3::boolean[], $4::integer[])
              AS paid (paid_call_id, minute, is_low, tell_low)
         WHERE call_id = paid_call_id AND phase = 'active' AND minutes_billed = minute - 1
         RETURNING ",
        call_columns!()
    ))
    .bind(call_ids)
    .bind(minutes)
    .bind(are_low)
    .bind(tell_low)
    .fetch_all(tx)
    .await
}

/// Turns a live call, under lock, into one to be settled, and frees its people.
pub async fn begin_settling(
    tx: &mut PgConnection,
    call_id: i64,
    ending: Ending,
    lease_secs: f64,
) -> sqlx::Result<Call> {
    sqlx::query_as(concat!(
        "WITH freed AS (DELETE FROM calls.live_parties WHERE call_id = $1)
         UPDATE calls.user_calls
         SET phase = 'settling', status = $2, end_time = $3, duration_seconds = $4,
             duration_minutes = $5, next_step_at = now() + make_interval(secs => $6),
             minutes_settled = $7,
             version = version + 1, updated_at = now()
         WHERE call_id = $1 AND phase = 'active' RETURNING ",
        call_columns!()
    ))
    .bind(call_id)
    .bind(ending.status.word())
    .bind(ending.end_time)
    .bind(ending.duration.seconds)
    .bind(ending.duration.minutes)
    .bind(lease_secs)
    .bind(ending.minutes_settled)
    .fetch_one(tx)
    .await
}

/// Decides how many minutes the settlement counts. The first decision holds: whoever comes second
/// gets the first one's answer.
pub async fn decide_minutes(
    connection: &mut PgConnection,
    call_id: i64,
    minutes: i32,
) -> sqlx::Result<i32> {
    sqlx::query_scalar(
        "UPDATE calls.user_calls SET minutes_settled = COALESCE(minutes_settled, $2)
         WHERE call_id = $1 RETURNING minutes_settled",
    )
    .bind(call_id)
    .bind(minutes)
    .fetch_one(connection)
    .await
}

/// What a call came to.
#[derive(Clone, Copy, Debug)]
pub struct Receipt {
    /// Minutes paid.
    pub minutes: i32,
    /// What they cost the caller.
    pub coins_spent: i64,
    /// What the caller had paid for those coins, in paise.
    pub user_paise_spent: i64,
    /// What the listener earned, in paise.
    pub listener_paise_earned: i64,
}

/// Closes a call with its receipt; none when somebody was faster. Where fewer minutes were paid than
/// had begun, it ended at the end of the last paid one, dropped.
pub async fn settle(
    connection: &mut PgConnection,
    call_id: i64,
    receipt: Receipt,
) -> sqlx::Result<Option<Call>> {
    sqlx::query_as(concat!(
        "UPDATE calls.user_calls
         SET phase = 'settled', next_step_at = NULL, updated_at = now(),
             minutes_billed = $2, coins_spent = $3, user_money_spend = $4::numeric / 100,
             listener_money_earned = $5::numeric / 100,
             status = CASE WHEN duration_minutes > $2 THEN 'dropped' ELSE status END,
             end_time = CASE WHEN duration_minutes > $2
                             THEN start_time + make_interval(secs => $2 * minute_secs)
                             ELSE end_time END,
             duration_seconds = CASE WHEN duration_minutes > $2
                                     THEN $2 * minute_secs ELSE duration_seconds END,
             duration_minutes = $2
         WHERE call_id = $1 AND phase = 'settling' RETURNING ",
        call_columns!()
    ))
    .bind(call_id)
    .bind(receipt.minutes)
    .bind(receipt.coins_spent)
    .bind(receipt.user_paise_spent)
    .bind(receipt.listener_paise_earned)
    .fetch_optional(connection)
    .await
}

/// Takes a deleted person's name out of the calls they had; the other party keeps the history.
pub async fn forget_name(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
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
