//! `calls.media_minutes`: what is known of the sound of each minute of a call, for each side.

use sqlx::FromRow;
use talktime_kit::db::{PgConnection, column};

use super::seats::ClientTotals;
use crate::domain::evidence::SideMinute;
use crate::domain::minute_shares::MinuteShare;
use crate::domain::relay::SeatRole;
use crate::domain::seats::Seat;

/// Adds what an app has reported since its last report.
pub async fn add_client_report(
    tx: &mut PgConnection,
    seat: &Seat,
    growth: ClientTotals,
    shares: &[MinuteShare],
) -> sqlx::Result<()> {
    if shares.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO calls.media_minutes AS known
            (call_id, minute, role, client_secs, client_tx_packets, client_rx_packets, rx_lost,
             rx_energy, rtt_ms_max)
         SELECT $1, minute, $2, secs, tx, rx, lost, $8 * fraction, $9
         FROM unnest($3::integer[], $4::float8[], $5::bigint[], $6::bigint[], $7::bigint[],
                     $10::float8[]) AS share (minute, secs, tx, rx, lost, fraction)
         ON CONFLICT (call_id, minute, role) DO UPDATE
         SET client_secs = known.client_secs + excluded.client_secs,
             client_tx_packets = known.client_tx_packets + excluded.client_tx_packets,
             client_rx_packets = known.client_rx_packets + excluded.client_rx_packets,
             rx_lost = known.rx_lost + excluded.rx_lost,
             rx_energy = known.rx_energy + excluded.rx_energy,
             rtt_ms_max = GREATEST(known.rtt_ms_max, excluded.rtt_ms_max)",
    )
    .bind(seat.call_id)
    .bind(seat.role.name())
    .bind(column(shares, |share| share.minute))
    .bind(column(shares, |share| share.secs))
    .bind(column(shares, |share| share.part_of(growth.tx_packets)))
    .bind(column(shares, |share| share.part_of(growth.rx_packets)))
    .bind(column(shares, |share| share.part_of(growth.rx_lost)))
    .bind(growth.rx_energy)
    .bind(growth.rtt_ms)
    .bind(column(shares, |share| share.fraction))
    .execute(tx)
    .await?;
    Ok(())
}

/// The packets of one side that a relay has counted in one minute.
#[derive(Clone, Copy, Debug)]
pub struct RelayMinutes {
    pub call_id: i64,
    pub role: SeatRole,
    /// From 1.
    pub minute: i32,
    /// Seconds of the minute that the report covers.
    pub secs: f64,
    /// From the app to the relay.
    pub in_packets: i64,
    /// From the relay to the app.
    pub out_packets: i64,
}

/// Adds what a relay has counted since its last report. Of several allocations of a side that report about the same
/// time, the longest counts.
pub async fn add_relay_report(tx: &mut PgConnection, minutes: &[RelayMinutes]) -> sqlx::Result<()> {
    if minutes.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO calls.media_minutes AS known
            (call_id, minute, role, relay_secs, relay_in_packets, relay_out_packets)
         SELECT call_id, minute, role, max(secs), sum(ins), sum(outs)
         FROM unnest($1::bigint[], $2::text[], $3::integer[], $4::float8[], $5::bigint[],
                     $6::bigint[]) AS counted (call_id, role, minute, secs, ins, outs)
         GROUP BY call_id, minute, role ORDER BY call_id, minute, role
         ON CONFLICT (call_id, minute, role) DO UPDATE
         SET relay_secs = known.relay_secs + excluded.relay_secs,
             relay_in_packets = COALESCE(known.relay_in_packets, 0) + excluded.relay_in_packets,
             relay_out_packets = COALESCE(known.relay_out_packets, 0) + excluded.relay_out_packets",
    )
    .bind(column(minutes, |minute| minute.call_id))
    .bind(column(minutes, |minute| minute.role.name()))
    .bind(column(minutes, |minute| minute.minute))
    .bind(column(minutes, |minute| minute.secs))
    .bind(column(minutes, |minute| minute.in_packets))
    .bind(column(minutes, |minute| minute.out_packets))
    .execute(tx)
    .await?;
    Ok(())
}

/// A minute of a call with the reports about one side.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct KnownMinute {
    pub minute: i32,
    pub role: SeatRole,
    #[sqlx(flatten)]
    pub side: SideMinute,
}

/// Loads what is known of the minutes of a call.
pub async fn list_of_call(
    connection: &mut PgConnection,
    call_id: i64,
) -> sqlx::Result<Vec<KnownMinute>> {
    sqlx::query_as(
        "SELECT minute, role, relay_in_packets, relay_out_packets, relay_secs::float8 AS relay_secs,
                client_tx_packets, client_rx_packets, client_secs::float8 AS client_secs
         FROM calls.media_minutes WHERE call_id = $1",
    )
    .bind(call_id)
    .fetch_all(connection)
    .await
}
