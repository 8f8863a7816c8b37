//! Uses the counters of the relays: as evidence for each minute, and for the start of calls whose apps report
//! nothing.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use talktime_kit::Error;
use talktime_kit::db::PgConnection;

use crate::domain::CallError;
use crate::domain::call::{Call, CallPhase};
use crate::domain::minute_shares::split_by_minute;
use crate::domain::relay::AllocationReport;
use crate::domain::relay_flow::{CallTraffic, SideTraffic};
use crate::service::CallService;
use crate::store::media_minutes::RelayMinutes;
use crate::store::relay_allocations::{
    self, AllocationKey, CallAllocation, ReportedCall, StoredTotals,
};
use crate::store::seats::RelayGrowth;
use crate::store::{media_minutes, seats};

/// Records by how much the allocations of a report have grown: for the seats, and for the minutes of these calls.
pub(crate) async fn record_relay_growth(
    tx: &mut PgConnection,
    realm: &str,
    reports: &[AllocationReport],
    stored: &HashMap<AllocationKey, StoredTotals>,
    calls: &[ReportedCall],
) -> Result<(), CallError> {
    let grown = reports.iter();
    let grown = grown.filter_map(|report| grown_allocation(report, stored));
    let grown: Vec<GrownAllocation<'_>> = grown.collect();
    let growth: Vec<RelayGrowth> = grown.iter().map(|grown| grown.growth.clone()).collect();
    seats::record_relay_growth(tx, realm, &growth).await?;
    let calls = calls.iter().map(|reported| &reported.call);
    let calls: HashMap<i64, &Call> = calls.map(|call| (call.call_id, call)).collect();
    let minutes = grown.iter();
    let minutes = minutes.flat_map(|grown| relay_minutes(grown, &calls));
    media_minutes::add_relay_report(tx, &minutes.collect::<Vec<_>>()).await?;
    Ok(())
}

impl CallService {
    /// Turns those of these calls live that still connect although media flows. A call for which that fails is tried
    /// again with the next report, and for the last time when its time to connect is over.
    pub(crate) async fn connect_calls_with_flow(&self, calls: &[ReportedCall]) {
        for ReportedCall { call, .. } in calls {
            if call.phase == CallPhase::Connecting {
                self.connect_by_flow_best_effort(call).await;
            }
        }
    }

    /// Turns a connecting call live if the relays say that media flows, or both apps say so; returns the live call.
    pub(crate) async fn connect_by_flow_best_effort(&self, call: &Call) -> Option<Call> {
        match self.connect_by_flow(call).await.map_err(Error::from) {
            Ok(live) => live,
            Err(error) => {
                let call_id = call.call_id;
                tracing::warn!(%error, call_id, "failed to begin a call whose media flows; the sweeper will retry");
                None
            }
        }
    }

    async fn connect_by_flow(&self, call: &Call) -> Result<Option<Call>, CallError> {
        let call_ids = [call.call_id];
        let mut connection = self.db.acquire().await?;
        let allocations = relay_allocations::list_of_calls(&mut connection, &call_ids).await?;
        let pair = seats::find_present(&mut connection, call.call_id).await?;
        drop(connection);
        let traffic = allocations.iter().fold(CallTraffic::default(), |sum, one| {
            let side = SideTraffic {
                began_at: one.began_at,
                in_packets: one.in_packets,
                out_packets: one.out_packets,
            };
            sum.with_allocation(one.role, side)
        });
        let flows_since = traffic.flows_since();
        if flows_since.is_none() && !pair.are_connected() {
            return Ok(None);
        }
        let flow = flows_since.map(|since| EarlierFlow { since, allocations });
        let live = self.connect_call(call.call_id, flow.as_ref()).await?;
        Ok(Some(live).filter(|call| call.phase == CallPhase::Active))
    }

    /// Records for each minute what the relays counted before the call went live: until then it had no minutes. Without
    /// this, the end of a session that carried nothing would be the only evidence, and the minutes would pass for silent.
    pub(crate) async fn record_earlier_flow(&self, live: &Call, flow: &EarlierFlow) {
        let minutes = flow.allocations.iter();
        let minutes = minutes.flat_map(|one| {
            let growth = RelayGrowth {
                call_id: one.call_id,
                role: one.role,
                in_packets: one.in_packets,
                out_packets: one.out_packets,
            };
            split_growth(&growth, (one.began_at, one.counted_at), live)
        });
        let minutes: Vec<RelayMinutes> = minutes.collect();
        let record = async {
            let mut tx = self.db.begin().await?;
            media_minutes::add_relay_report(&mut tx, &minutes).await?;
            tx.commit().await
        };
        if let Err(error) = record.await.map_err(Error::from) {
            let call_id = live.call_id;
            tracing::warn!(
                %error,
                call_id,
                "failed to record the media from before a call went live; later reports alone decide about its minutes"
            );
        }
    }
}

/// Media that flowed before its call went live, because its apps did not report it.
pub(crate) struct EarlierFlow {
    pub(crate) since: DateTime<Utc>,
    allocations: Vec<CallAllocation>,
}

/// An allocation whose totals are newer than the stored ones.
struct GrownAllocation<'a> {
    report: &'a AllocationReport,
    stored: Option<&'a StoredTotals>,
    growth: RelayGrowth,
}

fn grown_allocation<'a>(
    report: &'a AllocationReport,
    stored: &'a HashMap<AllocationKey, StoredTotals>,
) -> Option<GrownAllocation<'a>> {
    let key = (report.allocation.clone(), report.username.to_string());
    let stored = stored.get(&key);
    if stored.is_some_and(|stored| stored.last_seq >= report.seq) {
        return None;
    }
    let before = stored.map(|stored| stored.traffic).unwrap_or_default();
    let seat = report.username.seat;
    let growth = RelayGrowth {
        call_id: seat.call_id,
        role: seat.role,
        in_packets: (report.traffic.in_packets - before.in_packets).max(0),
        out_packets: (report.traffic.out_packets - before.out_packets).max(0),
    };
    Some(GrownAllocation {
        report,
        stored,
        growth,
    })
}

/// Splits what an allocation has grown over the minutes of its call. A relay publishes the traffic of a session from
/// time to time only, so totals that are repeated meanwhile are no evidence of silence.
fn relay_minutes(grown: &GrownAllocation<'_>, calls: &HashMap<i64, &Call>) -> Vec<RelayMinutes> {
    let growth = &grown.growth;
    let has_grown = growth.in_packets > 0 || growth.out_packets > 0;
    if !has_grown && grown.report.ended_at.is_none() {
        return vec![];
    }
    let Some(call) = calls.get(&growth.call_id) else {
        return vec![];
    };
    let began_at = grown.report.began_at;
    let since = grown.stored.map_or(began_at, |stored| stored.counted_at);
    let until = grown.report.ended_at.unwrap_or(call.read_at);
    split_growth(growth, (since, until), call)
}

fn split_growth(
    growth: &RelayGrowth,
    interval: (DateTime<Utc>, DateTime<Utc>),
    call: &Call,
) -> Vec<RelayMinutes> {
    let Some(start) = call.start_time else {
        return vec![];
    };
    let shares = split_by_minute(interval, start, call.minute_secs);
    let minutes = shares.iter().map(|share| RelayMinutes {
        call_id: growth.call_id,
        role: growth.role,
        minute: share.minute,
        secs: share.secs,
        in_packets: share.part_of(growth.in_packets),
        out_packets: share.part_of(growth.out_packets),
    });
    minutes.collect()
}
