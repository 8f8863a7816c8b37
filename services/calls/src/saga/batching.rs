//! How calls are batched: the bounds of a batch, its deadline with peers, and its traces.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use talktime_kit::group::{Limits, Member};
use talktime_kit::grpc;

use crate::domain::call::Call;

/// One group at a time: while it is under way the next one grows, and large ones cost the least. Where
/// one waits for a peer, the next would wait for it as well.
pub(crate) const LIMITS: Limits = Limits {
    members_max: 64,
    at_once: 1,
    waiting_max: 4_096,
};

/// How long a group's peers may take: the deadlines of its members differ.
const PEERS_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks peers for a group.
pub(crate) async fn with_peer_deadline<F: Future>(asking: F) -> F::Output {
    grpc::with_deadline(Instant::now() + PEERS_TIMEOUT, asking).await
}

/// The tasks of a group as they are sent, each with the trace that asked for it.
pub(crate) fn attach_traceparents<T: Clone>(
    group: &[Member<T>],
    with_trace: impl Fn(T, String) -> T,
) -> Vec<T> {
    let tasks = group.iter().map(|member| {
        let traceparent = member.traceparent.clone().unwrap_or_default();
        with_trace(member.task.clone(), traceparent)
    });
    tasks.collect()
}

pub(crate) fn index_by_id(calls: Vec<Call>) -> HashMap<i64, Call> {
    calls.into_iter().map(|call| (call.call_id, call)).collect()
}
