//! Shared settings of the batched steps: their limits, their deadline for peers, and their traces.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use talktime_kit::batch::{self, BatchHandler, BatchItem, BatchLimits};
use talktime_kit::grpc;

use crate::domain::call::Call;

/// Limits of batches that take several steps, and therefore longest. Two run side by side if the first one has one call, so
/// that a call in a quiet service does not wait for all steps of the one before it. With more of them, few calls would take
/// all processors without sharing a step.
pub(crate) const SAGA_LIMITS: BatchLimits = BatchLimits {
    overlap_items_max: 2,
    ..BatchLimits::REQUESTS
};

/// Time limit for the peers of a batch. The batch needs one of its own because the deadlines of its items
/// differ.
const PEERS_TIMEOUT: Duration = Duration::from_secs(2);

/// Applies the deadline of a batch to requests to peers.
pub(crate) async fn with_peer_deadline<F: Future>(asking: F) -> F::Output {
    grpc::with_deadline(Instant::now() + PEERS_TIMEOUT, asking).await
}

/// Returns the tasks of a batch for sending, each with the trace of the request that submitted it.
pub(crate) fn attach_traceparents<T: Clone>(
    group: &[BatchItem<T>],
    with_trace: impl Fn(T, String) -> T,
) -> Vec<T> {
    let tasks = group.iter().map(|member| {
        let traceparent = member.traceparent.clone().unwrap_or_default();
        with_trace(member.task.clone(), traceparent)
    });
    tasks.collect()
}

/// Takes all members of a batch that have not halted one step further, in one batch. `task` builds the task of a
/// member, and `next` decides by its answer whether the member proceeds or halts. Halted members keep their place.
pub(crate) async fn run_step<W: BatchHandler, S, T, Halt>(
    work: &W,
    states: Vec<Result<S, Halt>>,
    task: impl Fn(&S) -> BatchItem<W::Task>,
    next: impl Fn(S, Result<W::Answer, W::Error>) -> Result<T, Halt>,
) -> Vec<Result<T, Halt>> {
    let members: Vec<BatchItem<W::Task>> = states.iter().flatten().map(task).collect();
    let mut answers = batch::execute_items(work, &members).await.into_iter();
    let mut next_states = Vec::with_capacity(states.len());
    for state in states {
        next_states.push(match state {
            Ok(state) => next(state, answers.next().expect("each member has an answer")),
            Err(halt) => Err(halt),
        });
    }
    next_states
}

pub(crate) fn index_by_id(calls: Vec<Call>) -> HashMap<i64, Call> {
    calls.into_iter().map(|call| (call.call_id, call)).collect()
}
