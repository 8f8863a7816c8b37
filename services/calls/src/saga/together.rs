//! The steps of the saga that many calls take together, in one transaction or one request: each call
//! waits for its own, and the database and the peers see one for many.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use talktime_kit::group::{Groups, Limits, Member};
use talktime_kit::grpc;

use super::CallServiceParts;
use super::charge::ChargeBatchHandler;
use super::check::CheckBatchHandler;
use super::end_live::EndBatchHandler;
use super::go_live::GoLiveBatchHandler;
use super::reserve::ReserveBatchHandler;
use super::settle::SettleBatchHandler;
use super::show::PresenceNotifier;
use super::starting::StartBatchHandler;
use crate::domain::call::Call;

/// One group at a time: while it is under way the next one grows, and large ones cost the least. Where
/// one waits for a peer, the next would wait for it as well.
pub(super) const LIMITS: Limits = Limits {
    members_max: 64,
    at_once: 1,
    waiting_max: 4_096,
};

/// How long a group's peers may take: the deadlines of its members differ.
const PEERS_TIMEOUT: Duration = Duration::from_secs(2);

/// Where calls are handed in; cheap to clone.
#[derive(Clone)]
pub(super) struct StepBatchers {
    pub(super) starting: Groups<StartBatchHandler>,
    pub(super) ending_live: Groups<EndBatchHandler>,
    pub(super) charging: Groups<ChargeBatchHandler>,
    pub(super) settling: Groups<SettleBatchHandler>,
}

impl StepBatchers {
    /// Takes calls until the last clone is gone.
    pub(super) fn start(parts: &CallServiceParts, shown: &PresenceNotifier) -> Self {
        let CallServiceParts {
            db,
            relay,
            clock,
            peers,
            terms,
            ..
        } = parts;
        let charging = || ChargeBatchHandler {
            peers: peers.clone(),
        };
        let starting = StartBatchHandler {
            checking: CheckBatchHandler {
                peers: peers.clone(),
            },
            reserving: ReserveBatchHandler { db: db.clone() },
            charging: charging(),
            going_live: GoLiveBatchHandler {
                db: db.clone(),
                relay: relay.clone(),
                clock: clock.clone(),
            },
            shown: shown.clone(),
        };
        let ending_live = EndBatchHandler {
            db: db.clone(),
            relay: relay.clone(),
            clock: clock.clone(),
            limits: terms.limits,
            paise_per_coin: terms.paise_per_coin,
        };
        let settling = SettleBatchHandler {
            db: db.clone(),
            relay: relay.clone(),
            clock: clock.clone(),
            peers: peers.clone(),
            paise_per_coin: terms.paise_per_coin,
        };
        Self {
            starting: Groups::start(LIMITS, starting),
            ending_live: Groups::start(LIMITS, ending_live),
            charging: Groups::start(LIMITS, charging()),
            settling: Groups::start(LIMITS, settling),
        }
    }
}

/// Asks peers for a group.
pub(super) async fn in_time<F: Future>(asking: F) -> F::Output {
    grpc::with_deadline(Instant::now() + PEERS_TIMEOUT, asking).await
}

/// The tasks of a group as they are sent, each with the trace that asked for it.
pub(super) fn traced<T: Clone>(group: &[Member<T>], with_trace: impl Fn(T, String) -> T) -> Vec<T> {
    let tasks = group.iter().map(|member| {
        let traceparent = member.traceparent.clone().unwrap_or_default();
        with_trace(member.task.clone(), traceparent)
    });
    tasks.collect()
}

pub(super) fn by_id(calls: Vec<Call>) -> HashMap<i64, Call> {
    calls.into_iter().map(|call| (call.call_id, call)).collect()
}
