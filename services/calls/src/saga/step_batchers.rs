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
use super::presence_updates::PresenceNotifier;
use super::reserve::ReserveBatchHandler;
use super::settle::SettleBatchHandler;
use super::start_batch::StartBatchHandler;
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
    pub(super) start: Groups<StartBatchHandler>,
    pub(super) end: Groups<EndBatchHandler>,
    pub(super) charge: Groups<ChargeBatchHandler>,
    pub(super) settle: Groups<SettleBatchHandler>,
}

impl StepBatchers {
    /// Takes calls until the last clone is gone.
    pub(super) fn start(parts: &CallServiceParts, presence: &PresenceNotifier) -> Self {
        let CallServiceParts {
            db,
            relay,
            clock,
            peers,
            terms,
            ..
        } = parts;
        let charge = || ChargeBatchHandler {
            peers: peers.clone(),
        };
        let start = StartBatchHandler {
            check: CheckBatchHandler {
                peers: peers.clone(),
            },
            reserve: ReserveBatchHandler { db: db.clone() },
            charge: charge(),
            go_live: GoLiveBatchHandler {
                db: db.clone(),
                relay: relay.clone(),
                clock: clock.clone(),
            },
            presence: presence.clone(),
        };
        let end = EndBatchHandler {
            db: db.clone(),
            relay: relay.clone(),
            clock: clock.clone(),
            limits: terms.limits,
            paise_per_coin: terms.paise_per_coin,
        };
        let settle = SettleBatchHandler {
            db: db.clone(),
            relay: relay.clone(),
            clock: clock.clone(),
            peers: peers.clone(),
            paise_per_coin: terms.paise_per_coin,
        };
        Self {
            start: Groups::start(LIMITS, start),
            end: Groups::start(LIMITS, end),
            charge: Groups::start(LIMITS, charge()),
            settle: Groups::start(LIMITS, settle),
        }
    }
}

/// Asks peers for a group.
pub(super) async fn with_peer_deadline<F: Future>(asking: F) -> F::Output {
    grpc::with_deadline(Instant::now() + PEERS_TIMEOUT, asking).await
}

/// The tasks of a group as they are sent, each with the trace that asked for it.
pub(super) fn attach_traceparents<T: Clone>(
    group: &[Member<T>],
    with_trace: impl Fn(T, String) -> T,
) -> Vec<T> {
    let tasks = group.iter().map(|member| {
        let traceparent = member.traceparent.clone().unwrap_or_default();
        with_trace(member.task.clone(), traceparent)
    });
    tasks.collect()
}

pub(super) fn index_by_id(calls: Vec<Call>) -> HashMap<i64, Call> {
    calls.into_iter().map(|call| (call.call_id, call)).collect()
}
