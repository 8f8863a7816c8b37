//! Reports of the relays: the traffic of each allocation, and which allocations outlive their calls.

use std::collections::HashMap;

use crate::domain::CallError;
use crate::domain::relay::AllocationReport;
use crate::media::relay_growth::record_relay_growth;
use crate::metrics;
use crate::service::CallService;
use crate::store::relay_allocations::{self, AllocationKey, ReportedCall, StoredTotals};
use crate::store::relay_nodes::{self, RelayNode};

/// Seconds after the end of a call from which on new traffic means that its relay was not cut. Relays report
/// the traffic of audio every seventeen seconds, so earlier reports may concern the call itself.
const CUT_GRACE_SECS: f64 = 30.0;

/// A sign of life of a relay with totals of some of its allocations.
#[derive(Clone, Debug)]
pub(crate) struct RelayReport {
    pub(crate) node: RelayNode,
    /// Each allocation at most once.
    pub(crate) allocations: Vec<AllocationReport>,
}

impl CallService {
    /// Stores a report and returns the user names of live allocations whose calls have ended.
    pub(crate) async fn report_relay(
        &self,
        report: &RelayReport,
    ) -> Result<Vec<String>, CallError> {
        let RelayReport { node, allocations } = report;
        let mut tx = self.db.begin().await?;
        relay_nodes::upsert(&mut tx, node).await?;
        if allocations.is_empty() {
            tx.commit().await?;
            return Ok(vec![]);
        }
        let stored = relay_allocations::lock_totals(&mut tx, &node.realm, allocations).await?;
        relay_allocations::upsert_totals(&mut tx, &node.realm, allocations).await?;
        let call_ids: Vec<i64> = allocations
            .iter()
            .map(|allocation| allocation.username.seat.call_id)
            .collect();
        let calls = relay_allocations::list_reported_calls(&mut tx, &call_ids).await?;
        record_relay_growth(&mut tx, &node.realm, allocations, &stored, &calls).await?;
        tx.commit().await?;
        self.connect_calls_with_flow(&calls).await;
        Ok(list_uncut(&node.realm, allocations, &stored, &calls))
    }
}

/// Returns the user names of live allocations whose calls have ended or do not exist, each once, and counts allocations
/// that still grow.
fn list_uncut(
    realm: &str,
    allocations: &[AllocationReport],
    stored: &HashMap<AllocationKey, StoredTotals>,
    calls: &[ReportedCall],
) -> Vec<String> {
    let ages = calls.iter();
    let ages = ages.map(|reported| (reported.call.call_id, reported.ended_secs_ago));
    let ages: HashMap<i64, Option<f64>> = ages.collect();
    let mut uncut = Vec::new();
    for report in allocations
        .iter()
        .filter(|report| report.ended_at.is_none())
    {
        // A call without a row was undone, or has never been.
        let age = ages.get(&report.username.seat.call_id).copied();
        let Some(ended_secs_ago) = age.unwrap_or(Some(0.0)) else {
            continue;
        };
        let username = report.username.to_string();
        let key = (report.allocation.clone(), username.clone());
        if ended_secs_ago > CUT_GRACE_SECS && has_grown(stored.get(&key), report) {
            metrics::record_relay_after_end();
            tracing::error!(
                realm,
                call_id = report.username.seat.call_id,
                "a relay carries a call that has ended; its agent will cut it again"
            );
        }
        uncut.push(username);
    }
    uncut.sort_unstable();
    uncut.dedup();
    uncut
}

/// Whether packets have passed since the stored report.
fn has_grown(stored: Option<&StoredTotals>, report: &AllocationReport) -> bool {
    stored.is_some_and(|stored| {
        stored.last_seq < report.seq
            && (stored.traffic.in_packets < report.traffic.in_packets
                || stored.traffic.out_packets < report.traffic.out_packets)
    })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::relay::{RelayTraffic, RelayUsername, SeatName, SeatRole};

    fn report(allocation: &str) -> AllocationReport {
        AllocationReport {
            allocation: allocation.to_owned(),
            username: RelayUsername {
                expires_at_secs: 1_900_000_000,
                seat: SeatName {
                    call_id: 42,
                    role: SeatRole::Caller,
                    epoch: 1,
                },
            },
            seq: 1,
            began_at: DateTime::UNIX_EPOCH,
            ended_at: None,
            traffic: RelayTraffic::default(),
        }
    }

    #[test]
    fn live_allocations_of_an_unknown_call_are_to_be_cut_once() {
        let live = [report("1"), report("2")];
        let uncut = list_uncut("relay-1", &live, &HashMap::new(), &[]);
        assert_eq!(uncut, [live[0].username.to_string()]);
        let ended = AllocationReport {
            ended_at: Some(DateTime::UNIX_EPOCH),
            ..report("1")
        };
        assert!(list_uncut("relay-1", &[ended], &HashMap::new(), &[]).is_empty());
    }
}
