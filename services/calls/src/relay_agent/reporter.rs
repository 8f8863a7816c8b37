//! Reports the totals of sessions, and that the relay is alive, to the calls service.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use talktime_kit::Clock;
use talktime_kit::deadlines::RPC_CALL;
use talktime_kit::grpc::client::PeerChannel;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};
use talktime_proto::calls::v1::relay_service_client::RelayServiceClient;
use talktime_proto::calls::v1::{RelayAllocation, ReportRelayRequest};
use talktime_proto::timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cutter::CutQueue;
use super::metrics;
use super::relay_access::RelayAccess;
use super::shared_state::SharedState;
use crate::domain::relay::AllocationReport;

/// Reports in one request.
const BATCH_MAX: usize = 500;
/// The pause while the relay has sessions.
const EVERY: Duration = Duration::from_millis(500);
/// The pause while it has none. The first session wakes the loop.
const EVERY_UNUSED: Duration = Duration::from_secs(2);
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A relay without news shows that it is alive this often, and more often until calls has heard of it. Calls gives no
/// more calls to one that has been silent for fifteen seconds.
const ALIVE_EVERY: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct RelayReporter {
    access: Arc<RelayAccess>,
    calls: RelayServiceClient<PeerChannel>,
    state: SharedState,
    cuts: CutQueue,
    draining: CancellationToken,
}

/// Reports until the agent stops.
pub(super) fn start(
    lifecycle: &ProcessLifecycle,
    access: Arc<RelayAccess>,
    calls: RelayServiceClient<PeerChannel>,
    state: SharedState,
    cuts: CutQueue,
) {
    let reporter = RelayReporter {
        access,
        calls,
        state,
        cuts,
        draining: lifecycle.draining(),
    };
    let work = PeriodicWork {
        name: Cow::Borrowed("relay.reports"),
        interval: EVERY_UNUSED,
        retry_after: RETRY_AFTER,
        deadline: 2 * RPC_CALL,
        first_turn: FirstTurnStart::AtOnce,
    };
    let mut reported_at: Option<Instant> = None;
    let mut was_draining = false;
    // Whether the last report that calls was to have in any case has not arrived.
    let is_owed = Arc::new(AtomicBool::new(false));
    let waker = reporter.state.lock().reports.clone();
    periodic::start_wakeable(lifecycle, work, waker, move || {
        let reporter = reporter.clone();
        let is_relay_up = reporter.state.lock().is_relay_up;
        let is_draining = reporter.draining.is_cancelled();
        let is_alive_due = reported_at.is_none_or(|at| at.elapsed() >= ALIVE_EVERY);
        let is_owed = is_owed.clone();
        let is_forced =
            is_alive_due || is_draining != was_draining || is_owed.load(Ordering::Relaxed);
        if is_relay_up && is_forced {
            reported_at = Some(Instant::now());
            was_draining = is_draining;
        }
        async move {
            if !is_relay_up {
                return Ok(NextTurnStart::AfterInterval);
            }
            // A turn that is dropped at its deadline leaves this as it is.
            is_owed.store(is_forced, Ordering::Relaxed);
            let next_turn = reporter.report_once(is_forced).await?;
            is_owed.store(false, Ordering::Relaxed);
            Ok(next_turn)
        }
    });
}

impl RelayReporter {
    /// Sends what calls does not know yet. Without news it sends an empty report if `is_forced`: as a sign of life, or
    /// to say that the relay drains.
    async fn report_once(&self, is_forced: bool) -> anyhow::Result<NextTurnStart> {
        let reports = {
            let mut state = self.state.lock();
            metrics::update_sessions(state.sessions.count_live());
            state.sessions.take_reports(BATCH_MAX, Clock::System.now())
        };
        if reports.is_empty() && !is_forced {
            return Ok(self.next_turn());
        }
        let is_full = reports.len() >= BATCH_MAX;
        match self.send(&reports).await {
            Ok(ended_usernames) => {
                metrics::record_reported(reports.len());
                let uncut = {
                    let mut state = self.state.lock();
                    state.sessions.confirm_reports(&reports);
                    state.end_seats(&ended_usernames, Instant::now())
                };
                self.cuts.extend(uncut);
                Ok(if is_full {
                    NextTurnStart::AtOnce
                } else {
                    self.next_turn()
                })
            }
            Err(error) => {
                self.state.lock().sessions.return_reports(&reports);
                Err(error)
            }
        }
    }

    fn next_turn(&self) -> NextTurnStart {
        if self.state.lock().sessions.is_empty() {
            NextTurnStart::AfterInterval
        } else {
            NextTurnStart::After(EVERY)
        }
    }

    async fn send(&self, reports: &[AllocationReport]) -> anyhow::Result<Vec<String>> {
        let request = ReportRelayRequest {
            realm: self.access.relay.realm.clone(),
            urls: self.access.relay.urls.clone(),
            is_draining: self.draining.is_cancelled(),
            allocations: reports.iter().map(wire_report).collect(),
        };
        let answer = self.calls.clone().report_relay(request).await;
        let answer = answer.context("failed to report to calls")?;
        Ok(answer.into_inner().ended_usernames)
    }
}

fn wire_report(report: &AllocationReport) -> RelayAllocation {
    RelayAllocation {
        allocation: report.allocation.clone(),
        username: report.username.to_string(),
        seq: report.seq,
        began_at: Some(timestamp(report.began_at)),
        ended_at: report.ended_at.map(timestamp),
        in_packets: report.traffic.in_packets,
        in_bytes: report.traffic.in_bytes,
        out_packets: report.traffic.out_packets,
        out_bytes: report.traffic.out_bytes,
    }
}
