//! `calls.seats`: the sides of calls that the platform's media carries.

use std::collections::HashMap;

use talktime_kit::db::{PgConnection, column};

use super::call_columns::call_columns;
use crate::domain::call::Call;
use crate::domain::relay::SeatRole;
use crate::domain::seats::{Seat, SeatPair, SeatState};

macro_rules! seat_columns {
    () => {
        "call_id, role, epoch, session_id, state, state_since, connected_at, left_at, reported_at,
         tx_packets, rx_packets, rx_lost, rx_energy, rx_grew_at, relay_in_grew_at,
         relay_out_grew_at, relay_realm"
    };
}

/// A seat to be taken.
#[derive(Clone, Debug)]
pub struct NewSeat<'a> {
    pub call_id: i64,
    pub role: SeatRole,
    pub epoch: i32,
    pub session_id: &'a str,
    /// Relays for which the seat gets credentials.
    pub realms: Vec<String>,
    /// Whether the session goes on with the connection of the seat before.
    pub inherits: bool,
}

/// Inserts a seat. A session that joins again, for example through another gateway, goes on with the connection of
/// its seat before.
pub async fn insert(tx: &mut PgConnection, new: &NewSeat<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO calls.seats
            (call_id, role, epoch, session_id, state, state_since, joined_at, connected_at,
             reported_at, tx_packets, rx_packets, rx_lost, rx_energy, rx_grew_at,
             relay_in_grew_at, relay_out_grew_at, relay_realm, realms)
         SELECT $1, $2, $3, $4, COALESCE(before.state, 'joined'),
                COALESCE(before.state_since, now()), now(), before.connected_at,
                before.reported_at, COALESCE(before.tx_packets, 0),
                COALESCE(before.rx_packets, 0), COALESCE(before.rx_lost, 0),
                COALESCE(before.rx_energy, 0), before.rx_grew_at, before.relay_in_grew_at,
                before.relay_out_grew_at, before.relay_realm, $5
         FROM (SELECT) AS one LEFT JOIN calls.seats AS before
              ON $6 AND before.call_id = $1 AND before.role = $2 AND before.epoch = $3 - 1",
    )
    .bind(new.call_id)
    .bind(new.role.name())
    .bind(new.epoch)
    .bind(new.session_id)
    .bind(&new.realms)
    .bind(new.inherits)
    .execute(tx)
    .await?;
    Ok(())
}

/// Loads the present seats of a call.
pub async fn find_present(connection: &mut PgConnection, call_id: i64) -> sqlx::Result<SeatPair> {
    let mut present = list_present(connection, &[call_id]).await?;
    Ok(present.remove(&call_id).unwrap_or_default())
}

/// Loads the present seats of calls by their ids.
pub async fn list_present(
    connection: &mut PgConnection,
    call_ids: &[i64],
) -> sqlx::Result<HashMap<i64, SeatPair>> {
    let seats: Vec<Seat> = sqlx::query_as(concat!(
        "SELECT DISTINCT ON (call_id, role) ",
        seat_columns!(),
        " FROM calls.seats WHERE call_id = ANY($1) ORDER BY call_id, role, epoch DESC"
    ))
    .bind(call_ids)
    .fetch_all(connection)
    .await?;
    let mut pairs: HashMap<i64, SeatPair> = HashMap::new();
    for seat in seats {
        let pair = pairs.remove(&seat.call_id).unwrap_or_default();
        pairs.insert(seat.call_id, pair.with_seat(seat));
    }
    Ok(pairs)
}

/// A report of an app about its connection.
#[derive(Clone, Copy, Debug)]
pub struct SeatReport {
    pub state: SeatState,
    /// Totals since the app's connection began, if it reported them.
    pub totals: Option<ClientTotals>,
}

/// Totals of an app since its connection began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClientTotals {
    pub tx_packets: i64,
    pub rx_packets: i64,
    pub rx_lost: i64,
    pub rx_energy: f64,
    /// Present round-trip time in milliseconds.
    pub rtt_ms: i32,
}

/// Records the report of a seat; `None` if it is not the present one of its side, or was given up.
pub async fn record_report(
    tx: &mut PgConnection,
    seat: &Seat,
    report: SeatReport,
) -> sqlx::Result<Option<Seat>> {
    let totals = report.totals.unwrap_or_default();
    sqlx::query_as(concat!(
        "UPDATE calls.seats AS seat
         SET state = $4, state_since = CASE WHEN state = $4 THEN state_since ELSE now() END,
             connected_at = CASE WHEN $4 = 'connected' THEN COALESCE(connected_at, now())
                                 ELSE connected_at END,
             reported_at = CASE WHEN $5 THEN now() ELSE reported_at END,
             rx_grew_at = CASE WHEN $5 AND $7 <> rx_packets THEN now() ELSE rx_grew_at END,
             tx_packets = CASE WHEN $5 THEN $6 ELSE tx_packets END,
             rx_packets = CASE WHEN $5 THEN $7 ELSE rx_packets END,
             rx_lost = CASE WHEN $5 THEN $8 ELSE rx_lost END,
             rx_energy = CASE WHEN $5 THEN $9 ELSE rx_energy END
         WHERE call_id = $1 AND role = $2 AND epoch = $3 AND left_at IS NULL
           AND NOT EXISTS (SELECT FROM calls.seats AS later
                           WHERE later.call_id = $1 AND later.role = $2 AND later.epoch > $3)
         RETURNING ",
        seat_columns!()
    ))
    .bind(seat.call_id)
    .bind(seat.role.name())
    .bind(seat.epoch)
    .bind(report.state.name())
    .bind(report.totals.is_some())
    .bind(totals.tx_packets)
    .bind(totals.rx_packets)
    .bind(totals.rx_lost)
    .bind(totals.rx_energy)
    .fetch_optional(tx)
    .await
}

/// Records that a session has given its seat up; `None` if the seat is not the present one, or was given up before.
pub async fn record_left(tx: &mut PgConnection, seat: &Seat) -> sqlx::Result<Option<Seat>> {
    sqlx::query_as(concat!(
        "UPDATE calls.seats SET left_at = now()
         WHERE call_id = $1 AND role = $2 AND epoch = $3 AND left_at IS NULL RETURNING ",
        seat_columns!()
    ))
    .bind(seat.call_id)
    .bind(seat.role.name())
    .bind(seat.epoch)
    .fetch_optional(tx)
    .await
}

/// Adds relays for which a seat has got credentials.
pub async fn add_realms(tx: &mut PgConnection, seat: &Seat, realms: &[String]) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE calls.seats
         SET realms = ARRAY (SELECT DISTINCT realm FROM unnest(realms || $4::text[]) AS realm)
         WHERE call_id = $1 AND role = $2 AND epoch = $3 AND NOT realms @> $4::text[]",
    )
    .bind(seat.call_id)
    .bind(seat.role.name())
    .bind(seat.epoch)
    .bind(realms)
    .execute(tx)
    .await?;
    Ok(())
}

/// Growth of the packets of one side at a relay.
#[derive(Clone, Debug)]
pub struct RelayGrowth {
    pub call_id: i64,
    pub role: SeatRole,
    pub in_packets: i64,
    pub out_packets: i64,
}

/// Records that a relay has counted more packets, for the present seat of each side: an app that has joined again goes
/// on with the allocations of its seat before. Until a relay has counted any, the first one that reports is that of the
/// seat.
pub async fn record_relay_growth(
    tx: &mut PgConnection,
    realm: &str,
    growth: &[RelayGrowth],
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE calls.seats AS seat
         SET relay_in_grew_at = CASE WHEN grew.ins > 0 THEN now() ELSE relay_in_grew_at END,
             relay_out_grew_at = CASE WHEN grew.outs > 0 THEN now() ELSE relay_out_grew_at END,
             relay_realm = CASE WHEN grew.ins + grew.outs > 0 THEN $2 ELSE COALESCE(relay_realm, $2) END
         FROM (SELECT call_id, role, sum(ins) AS ins, sum(outs) AS outs
               FROM unnest($1::bigint[], $3::text[], $4::bigint[], $5::bigint[])
                    AS counted (call_id, role, ins, outs)
               GROUP BY call_id, role) AS grew
         WHERE seat.call_id = grew.call_id AND seat.role = grew.role
           AND (grew.ins + grew.outs > 0 OR seat.relay_realm IS NULL)
           AND seat.epoch = (SELECT max(epoch) FROM calls.seats AS other
                             WHERE other.call_id = grew.call_id AND other.role = grew.role)",
    )
    .bind(column(growth, |growth| growth.call_id))
    .bind(realm)
    .bind(column(growth, |growth| growth.role.name()))
    .bind(column(growth, |growth| growth.in_packets))
    .bind(column(growth, |growth| growth.out_packets))
    .execute(tx)
    .await?;
    Ok(())
}

/// Lists the next `limit` calls after an id whose seats have not been cut yet: live ones, and ended ones whose relays
/// must be notified.
pub async fn list_uncut_calls_after(
    connection: &mut PgConnection,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<Call>> {
    sqlx::query_as(concat!(
        "SELECT ",
        call_columns!(),
        " FROM calls.user_calls
         WHERE call_id IN (SELECT DISTINCT call_id FROM calls.seats
                           WHERE cut_at IS NULL AND call_id > $1 ORDER BY call_id LIMIT $2)
         ORDER BY call_id"
    ))
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// A seat whose relays have not been notified of its end yet.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct UncutSeat {
    pub call_id: i64,
    pub role: SeatRole,
    pub epoch: i32,
    pub realms: Vec<String>,
}

/// Lists the seats of ended calls whose relays have not been notified.
pub async fn list_uncut(
    connection: &mut PgConnection,
    call_ids: &[i64],
) -> sqlx::Result<Vec<UncutSeat>> {
    sqlx::query_as(
        "SELECT call_id, role, epoch, realms FROM calls.seats
         WHERE call_id = ANY($1) AND cut_at IS NULL",
    )
    .bind(call_ids)
    .fetch_all(connection)
    .await
}

/// Records that the relays of all seats of these calls were notified.
pub async fn record_cut(tx: &mut PgConnection, call_ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query("UPDATE calls.seats SET cut_at = now() WHERE call_id = ANY($1) AND cut_at IS NULL")
        .bind(call_ids)
        .execute(tx)
        .await?;
    Ok(())
}

/// Deletes up to `limit` seats that are older than some days; returns how many.
pub async fn delete_old(tx: &mut PgConnection, days: i32, limit: i64) -> sqlx::Result<u64> {
    let deleted = sqlx::query(
        "WITH old AS (SELECT call_id, role, epoch FROM calls.seats
                      WHERE joined_at < now() - make_interval(days => $1)
                      ORDER BY joined_at LIMIT $2 FOR UPDATE SKIP LOCKED),
              minutes AS (DELETE FROM calls.media_minutes
                          WHERE call_id IN (SELECT call_id FROM old))
         DELETE FROM calls.seats AS seat USING old
         WHERE seat.call_id = old.call_id AND seat.role = old.role AND seat.epoch = old.epoch",
    )
    .bind(days)
    .bind(limit)
    .execute(tx)
    .await?;
    Ok(deleted.rows_affected())
}
