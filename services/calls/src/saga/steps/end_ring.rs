//! The end-ring step: ends calls that ring and frees their parties, whatever the reason.

use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_kit::db::{self, DatabasePool};
use talktime_kit::messaging::{Relay, outbox};
use talktime_kit::{Clock, failpoint};

use talktime_kit::db::PgConnection;

use crate::domain::CallError;
use crate::domain::call::{Call, CallPhase};
use crate::domain::ending::RingOutcome;
use crate::domain::limits::SagaTimeLimits;
use crate::domain::ringing::{self, RingEndCause, RingEnding};
use crate::ring_events;
use crate::saga::batching::index_by_id;
use crate::store::{calls, rings, unanswered_streaks};

/// Ends a batch of rings in one transaction.
pub(crate) struct EndRingBatchHandler {
    pub(crate) db: DatabasePool,
    pub(crate) relay: Relay,
    pub(crate) clock: Clock,
    pub(crate) limits: SagaTimeLimits,
    /// Rings that a listener may let go by, one after another, before they take no more calls; zero: any
    /// number.
    pub(crate) auto_pause_after: i32,
}

/// A request to end a ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndRingRequest {
    pub(crate) call_id: i64,
    pub(crate) cause: RingEndCause,
}

/// The call as it stands after the request.
#[derive(Clone, Debug)]
pub(crate) struct EndRingOutcome {
    pub(crate) call: Call,
    /// Whether this request ended the ring.
    pub(crate) is_new: bool,
}

impl BatchHandler for EndRingBatchHandler {
    const NAME: &'static str = "end_ring";
    type Task = EndRingRequest;
    /// `None` if there is no such call.
    type Answer = Option<EndRingOutcome>;
    type Error = CallError;

    async fn handle(
        &self,
        group: &[BatchItem<EndRingRequest>],
    ) -> Result<Vec<Self::Answer>, CallError> {
        let call_ids: Vec<i64> = group.iter().map(|member| member.task.call_id).collect();
        let mut tx = self.db.begin().await?;
        // Rows are locked in the order of their ids, so that two batches never wait for each other in a
        // circle. Whatever is decided below holds until the commit.
        let mut calls = index_by_id(calls::lock_by_ids(&mut tx, &call_ids).await?);
        let mut endings: Vec<(i64, RingEnding)> = Vec::new();
        let mut are_new = Vec::with_capacity(group.len());
        for BatchItem { task, .. } in group {
            let ended_earlier_in_batch = endings.iter().any(|(id, _)| *id == task.call_id);
            let call = calls.get(&task.call_id);
            let ending = call
                .filter(|call| call.phase == CallPhase::Ringing && !ended_earlier_in_batch)
                .and_then(|call| ringing::resolve_ring_end(call, task.cause, &self.limits));
            endings.extend(ending.map(|ending| (task.call_id, ending)));
            are_new.push(ending.is_some());
        }
        let ended = rings::end_rings(&mut tx, &endings).await?;
        db::expect_row_count(
            ended.len() as u64,
            endings.len() as u64,
            "calls.user_calls",
            "rings of a batch",
        )?;
        self.append_events(&mut tx, group, &ended).await?;
        failpoint::reach("calls.ring.before_ended");
        calls.extend(index_by_id(ended));
        tx.commit().await?;
        self.relay.wake();
        let decided = call_ids.iter().zip(are_new);
        Ok(decided
            .map(|(call_id, is_new)| {
                let call = calls.get(call_id)?.clone();
                Some(EndRingOutcome { call, is_new })
            })
            .collect())
    }
}

impl EndRingBatchHandler {
    async fn append_events(
        &self,
        tx: &mut PgConnection,
        group: &[BatchItem<EndRingRequest>],
        ended: &[Call],
    ) -> Result<(), CallError> {
        let paused = self.count_streaks(tx, ended).await?;
        let mut events = Vec::new();
        for call in ended {
            let member = group
                .iter()
                .find(|member| member.task.call_id == call.call_id);
            let traceparent = member.and_then(|member| member.traceparent.clone());
            events.push((ring_events::call_unanswered(call), traceparent.clone()));
            if paused.contains(&call.listener_id) {
                let event = ring_events::calls_paused(call, self.auto_pause_after);
                events.push((event, traceparent));
            }
        }
        outbox::append_traced(tx, self.clock.now(), events).await?;
        Ok(())
    }

    /// Counts the rings that listeners let go by one after another; returns those who take no more calls.
    async fn count_streaks(
        &self,
        tx: &mut PgConnection,
        ended: &[Call],
    ) -> Result<Vec<i64>, CallError> {
        let listeners = |is_counted: fn(RingOutcome) -> bool| -> Vec<i64> {
            let counted = ended.iter();
            let counted = counted.filter(|call| call.outcome.is_some_and(is_counted));
            counted.map(|call| call.listener_id).collect()
        };
        let answered = listeners(|outcome| outcome == RingOutcome::Rejected);
        let unanswered = listeners(RingOutcome::is_no_answer);
        unanswered_streaks::reset(tx, &answered).await?;
        Ok(unanswered_streaks::add_rings(tx, &unanswered, self.auto_pause_after).await?)
    }
}
