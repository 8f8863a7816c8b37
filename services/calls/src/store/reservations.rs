//! New rows of `calls.user_calls`, which take both parties in `calls.live_parties`.

use std::collections::HashMap;

use chrono::NaiveDate;
use talktime_kit::db::{PgConnection, column, is_unique_violation};

use super::call_columns::call_columns;
use crate::domain::call::{Call, CallMedia, CallType};

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
    /// How the call rings; `None` if it begins at once.
    pub ring: Option<NewRing>,
}

/// The ring of a call to be reserved.
#[derive(Clone, Copy, Debug)]
pub struct NewRing {
    pub media: CallMedia,
    /// Time in seconds after which the ring ends by itself.
    pub ring_secs: i32,
    /// Time in seconds within which a device of the listener must ring.
    pub reach_secs: i32,
    /// Duration in minutes that the caller intends.
    pub estimated_minutes: Option<i32>,
}

/// Inserts calls in `reserving`, or `ringing`, and marks both parties of each as busy. Returns them in the
/// given order, with `None` for a call of which a party is already busy or deleted, and for a ring of two of
/// whom one has just blocked the other. If a party becomes busy
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
        .bind(ring_column(new, |ring| ring.ring_secs))
        .bind(ring_column(new, |ring| ring.reach_secs))
        .bind(ring_column(new, |ring| ring.media.name()))
        .bind(column(new, |call| call.ring?.estimated_minutes))
        .fetch_all(connection)
        .await?;
    let by_parties = reserved.into_iter().map(|call| (call.parties(), call));
    let mut by_parties: HashMap<[i64; 2], Call> = by_parties.collect();
    let answers = new
        .iter()
        .map(|call| by_parties.remove(&[call.user_id, call.listener_id]));
    Ok(answers.collect())
}

/// A column of what only rings have.
fn ring_column<T>(new: &[&NewCall], of: impl Fn(NewRing) -> T) -> Vec<Option<T>> {
    column(new, |call| call.ring.map(&of))
}

const RESERVE: &str = concat!(
    "WITH call AS (
         INSERT INTO calls.user_calls
            (user_id, listener_id, call_type, status, phase, coins_per_minute,
             listener_paise_per_minute, listener_badge, prices_version, minute_secs,
             caller_username, listener_username, idempotency_key, next_step_at, created_at,
             updated_at, version, media, ring_expires_at, estimated_minutes)
         SELECT new.user_id, new.listener_id, new.call_type,
                CASE WHEN new.ring_secs IS NULL THEN 'ongoing' ELSE 'ringing' END,
                CASE WHEN new.ring_secs IS NULL THEN 'reserving' ELSE 'ringing' END, new.coins,
                COALESCE(given.paise, new.basic_paise), COALESCE(given.badge, 'basic'),
                new.prices_version, new.minute_secs, new.caller_username, new.listener_username,
                new.idempotency_key,
                now() + make_interval(secs => COALESCE(LEAST(new.ring_secs, new.reach_secs), $12)),
                now(), now(), CASE WHEN new.ring_secs IS NULL THEN 0 ELSE 1 END,
                COALESCE(new.media, 'own'), now() + make_interval(secs => new.ring_secs),
                new.estimated_minutes
         FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[],
                     $6::bigint[], $7::date[], $8::integer[], $9::text[], $10::text[], $11::text[],
                     $13::integer[], $14::integer[], $15::text[], $16::integer[])
              AS new (user_id, listener_id, call_type, coins, basic_paise, prices_version, date,
                      minute_secs, caller_username, listener_username, idempotency_key, ring_secs,
                      reach_secs, media, estimated_minutes)
         LEFT JOIN LATERAL (
             SELECT true AS is_there FROM calls.live_parties AS party
             WHERE party.user_id IN (new.user_id, new.listener_id)
             UNION ALL
             SELECT true FROM calls.deleted_users AS gone
             WHERE gone.user_id IN (new.user_id, new.listener_id) AND gone.barred_until > now()
             UNION ALL
             SELECT true FROM calls.barred_pairs AS pair
             WHERE new.ring_secs IS NOT NULL AND pair.barred_until > now()
               AND pair.lower_id = LEAST(new.user_id, new.listener_id)
               AND pair.upper_id = GREATEST(new.user_id, new.listener_id)
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
