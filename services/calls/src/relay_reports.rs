//! Reports of the relays: the traffic of each allocation, and which allocations outlive their calls.

use std::collections::HashMap;

use crate::domain::CallError;
use crate::domain::relay::AllocationReport;
use crate::media::relay_growth::record_relay_growth;
use crate::metrics;
use crate::service::CallService;
use crate::store::calls;
use crate::store::relay_allocations::{self, AllocationKey, StoredTotals};
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
        let calls = calls::list_by_ids(&mut tx, &call_ids).await?;
        record_relay_growth(&mut tx, &node.realm, allocations, &stored, &calls).await?;
        let ended_calls = relay_allocations::list_ended_calls(&mut tx, &call_ids).await?;
        tx.commit().await?;
        self.connect_calls_with_flow(&calls).await;
        Ok(list_uncut(&node.realm, allocations, &stored, &ended_calls))
    }
}

/// Returns the user names of live allocations whose calls have ended, each once, and counts allocations that
/// still grow.
fn list_uncut(
    realm: &str,
    allocations: &[AllocationReport],
    stored: &HashMap<AllocationKey, StoredTotals>,
    ended_calls: &HashMap<i64, f64>,
) -> Vec<String> {
    let mut uncut = Vec::new();
    for report in allocations
        .iter()
        .filter(|report| report.ended_at.is_none())
    {
        let Some(ended_secs_ago) = ended_calls.get(&report.username.seat.call_id) else {
            continue;
        };
        let username = report.username.to_string();
        let key = (report.allocation.clone(), username.clone());
        if *ended_secs_ago > CUT_GRACE_SECS && has_grown(stored.get(&key), report) {
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
