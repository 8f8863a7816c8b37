//! `calls.relay_allocations`: what apps have sent and received through the relays.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use talktime_kit::db::{PgConnection, column};

use super::call_columns::call_columns;
use crate::domain::call::Call;
use crate::domain::relay::{AllocationReport, RelayTraffic, SeatRole};

/// Totals of an allocation as stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StoredTotals {
    pub last_seq: i64,
    pub traffic: RelayTraffic,
    /// Until when they account for the traffic.
    pub counted_at: DateTime<Utc>,
}

/// Session id and user name of an allocation within its realm.
pub type AllocationKey = (String, String);

/// Loads the stored totals of these allocations and locks them until the end of the transaction. Each row is found by
/// its key: a join reads all rows of the relay while the planner knows little of a table that grows fast.
pub async fn lock_totals(
    tx: &mut PgConnection,
    realm: &str,
    reports: &[AllocationReport],
) -> sqlx::Result<HashMap<AllocationKey, StoredTotals>> {
    let rows = sqlx::query(
        "SELECT stored.*
         FROM (SELECT * FROM unnest($2::text[], $3::text[]) AS report (allocation, username)
               ORDER BY allocation, username) AS reported
         CROSS JOIN LATERAL
              (SELECT * FROM calls.relay_allocations AS kept
               WHERE kept.realm = $1 AND kept.allocation = reported.allocation
                 AND kept.username = reported.username FOR UPDATE) AS stored",
    )
    .bind(realm)
    .bind(column(reports, |report| report.allocation.clone()))
    .bind(column(reports, |report| report.username.to_string()))
    .fetch_all(tx)
    .await?;
    rows.iter().map(stored_totals).collect()
}

fn stored_totals(row: &PgRow) -> sqlx::Result<(AllocationKey, StoredTotals)> {
    let traffic = RelayTraffic {
        in_packets: row.try_get("in_packets")?,
        in_bytes: row.try_get("in_bytes")?,
        out_packets: row.try_get("out_packets")?,
        out_bytes: row.try_get("out_bytes")?,
    };
    let totals = StoredTotals {
        last_seq: row.try_get("last_seq")?,
        counted_at: row.try_get("counted_at")?,
        traffic,
    };
    let key = (row.try_get("allocation")?, row.try_get("username")?);
    Ok((key, totals))
}

/// Stores totals, each allocation at most once. Totals only grow, and reports that are not newer than the stored
/// one change nothing. A report without growth leaves the time as it is until which the traffic is accounted for.
pub async fn upsert_totals(
    tx: &mut PgConnection,
    realm: &str,
    reports: &[AllocationReport],
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO calls.relay_allocations AS stored
             (realm, allocation, username, call_id, role, epoch, last_seq, began_at, ended_at,
              in_packets, in_bytes, out_packets, out_bytes, reported_at, counted_at)
         SELECT $1, reported.*, now(),
                CASE WHEN in_packets + out_packets > 0 OR ended_at IS NOT NULL THEN now() ELSE began_at END
         FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::integer[], $7::bigint[],
                     $8::timestamptz[], $9::timestamptz[], $10::bigint[], $11::bigint[], $12::bigint[],
                     $13::bigint[])
              AS reported (allocation, username, call_id, role, epoch, last_seq, began_at, ended_at,
                           in_packets, in_bytes, out_packets, out_bytes)
         ORDER BY allocation, username
         ON CONFLICT (realm, allocation, username) DO UPDATE
         SET last_seq = excluded.last_seq,
             began_at = LEAST(stored.began_at, excluded.began_at),
             ended_at = COALESCE(stored.ended_at, excluded.ended_at),
             in_packets = GREATEST(stored.in_packets, excluded.in_packets),
             in_bytes = GREATEST(stored.in_bytes, excluded.in_bytes),
             out_packets = GREATEST(stored.out_packets, excluded.out_packets),
             out_bytes = GREATEST(stored.out_bytes, excluded.out_bytes),
             reported_at = excluded.reported_at,
             counted_at = CASE WHEN excluded.in_packets > stored.in_packets
                                 OR excluded.out_packets > stored.out_packets
                                 OR excluded.ended_at IS NOT NULL
                               THEN excluded.reported_at ELSE stored.counted_at END
         WHERE stored.last_seq < excluded.last_seq",
    )
    .bind(realm)
    .bind(column(reports, |report| report.allocation.clone()))
    .bind(column(reports, |report| report.username.to_string()))
    .bind(column(reports, |report| report.username.seat.call_id))
    .bind(column(reports, |report| report.username.seat.role.name()))
    .bind(column(reports, |report| report.username.seat.epoch))
    .bind(column(reports, |report| report.seq))
    .bind(column(reports, |report| report.began_at))
    .bind(column(reports, |report| report.ended_at))
    .bind(column(reports, |report| report.traffic.in_packets))
    .bind(column(reports, |report| report.traffic.in_bytes))
    .bind(column(reports, |report| report.traffic.out_packets))
    .bind(column(reports, |report| report.traffic.out_bytes))
    .execute(tx)
    .await?;
    Ok(())
}

/// A call that a relay reports about.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ReportedCall {
    #[sqlx(flatten)]
    pub call: Call,
    /// Seconds since its end; none while its parties may send media.
    pub ended_secs_ago: Option<f64>,
}

/// Loads calls by their ids, with the time since their end; those that do not exist are left out.
pub async fn list_reported_calls(
    connection: &mut PgConnection,
    call_ids: &[i64],
) -> sqlx::Result<Vec<ReportedCall>> {
    sqlx::query_as(concat!(
        "SELECT ",
        call_columns!(),
        ", CASE WHEN phase NOT IN ('ringing', 'reserving', 'connecting', 'active')
                THEN extract(epoch FROM now() - COALESCE(end_time, updated_at))::float8
           END AS ended_secs_ago
         FROM calls.user_calls WHERE call_id = ANY($1)"
    ))
    .bind(call_ids)
    .fetch_all(connection)
    .await
}

/// Whether a relay has not reported the end of some allocation of a call yet.
pub async fn has_live(connection: &mut PgConnection, call_id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM calls.relay_allocations WHERE call_id = $1 AND ended_at IS NULL)",
    )
    .bind(call_id)
    .fetch_one(connection)
    .await
}

/// Totals of an allocation of a call.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct CallAllocation {
    pub call_id: i64,
    pub role: SeatRole,
    pub began_at: DateTime<Utc>,
    /// Until when the totals account for the traffic.
    pub counted_at: DateTime<Utc>,
    pub in_packets: i64,
    pub out_packets: i64,
}

/// Lists the allocations of calls.
pub async fn list_of_calls(
    connection: &mut PgConnection,
    call_ids: &[i64],
) -> sqlx::Result<Vec<CallAllocation>> {
    sqlx::query_as(
        "SELECT call_id, role, began_at, counted_at, in_packets, out_packets
         FROM calls.relay_allocations WHERE call_id = ANY($1)",
    )
    .bind(call_ids)
    .fetch_all(connection)
    .await
}

/// Deletes up to `limit` allocations whose last report is older than some days; returns how many.
pub async fn delete_old(tx: &mut PgConnection, days: i32, limit: i64) -> sqlx::Result<u64> {
    let deleted = sqlx::query(
        "DELETE FROM calls.relay_allocations
         WHERE (realm, allocation, username) IN (
             SELECT realm, allocation, username FROM calls.relay_allocations
             WHERE reported_at < now() - make_interval(days => $1)
             ORDER BY reported_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(days)
    .bind(limit)
    .execute(tx)
    .await?;
    Ok(deleted.rows_affected())
}
