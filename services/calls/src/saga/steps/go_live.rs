//! The go-live step: turns reserved calls, whose first minute is paid, into live ones.

use chrono::{DateTime, Utc};
use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_kit::db::DatabasePool;
use talktime_kit::messaging::{Relay, outbox};
use talktime_kit::{Clock, failpoint, idempotency};

use crate::domain::CallError;
use crate::domain::call::Call;
use crate::domain::steps::PaidMinute;
use crate::events;
use crate::saga::batching::index_by_id;
use crate::saga::requests::{CallStartRequest, StartedCall};
use crate::store::calls::{self, LiveStart};

/// Turns a batch of calls live in one transaction.
pub(crate) struct GoLiveBatchHandler {
    pub(crate) db: DatabasePool,
    pub(crate) relay: Relay,
    pub(crate) clock: Clock,
}

/// A start whose first minute is paid.
#[derive(Clone)]
pub(crate) struct PaidCallStart {
    pub(crate) call_id: i64,
    pub(crate) start: CallStartRequest,
    pub(crate) minute: PaidMinute,
    /// When the platform's media began to flow, if it did before.
    pub(crate) flows_since: Option<DateTime<Utc>>,
}

impl PaidCallStart {
    /// The start of a call that has rung.
    pub(crate) fn of_ring(
        call: &Call,
        minute: PaidMinute,
        flows_since: Option<DateTime<Utc>>,
    ) -> Self {
        Self {
            call_id: call.call_id,
            start: CallStartRequest::of_ring(call),
            minute,
            flows_since,
        }
    }
}

impl BatchHandler for GoLiveBatchHandler {
    const NAME: &'static str = "go_live";
    type Task = PaidCallStart;
    /// `None` if the call was undone, or went live, meanwhile.
    type Answer = Option<(Call, StartedCall)>;
    type Error = CallError;

    async fn handle(
        &self,
        group: &[BatchItem<PaidCallStart>],
    ) -> Result<Vec<Self::Answer>, CallError> {
        let paid = group.iter().map(|BatchItem { task, .. }| LiveStart {
            call_id: task.call_id,
            minute: task.minute,
            flows_since: task.flows_since,
        });
        let paid: Vec<LiveStart> = paid.collect();
        let mut tx = self.db.begin().await?;
        let mut live = index_by_id(calls::go_live(&mut tx, &paid).await?);
        let answers = group.iter().map(|BatchItem { task, .. }| {
            // A call that is twice in the batch goes live once, and its start is published once.
            let call = live.remove(&task.call_id)?;
            let started = StartedCall::new(&call, &task.start, task.minute.balance_coins);
            Some((call, started))
        });
        let answers: Vec<Self::Answer> = answers.collect();
        idempotency::finish_all(&mut tx, &replayable_answers(group, &answers)).await?;
        outbox::append_traced(
            &mut tx,
            self.clock.now(),
            build_start_events(group, &answers),
        )
        .await?;
        failpoint::reach("calls.start.before_active");
        tx.commit().await?;
        failpoint::reach("calls.start.active");
        self.relay.wake();
        Ok(answers)
    }
}

type GoLiveAnswer = <GoLiveBatchHandler as BatchHandler>::Answer;

/// Idempotency keys of the started calls, each with the answer to repeat for it.
fn replayable_answers<'a>(
    group: &'a [BatchItem<PaidCallStart>],
    answers: &'a [GoLiveAnswer],
) -> Vec<(&'a idempotency::KeyedRequest, &'a StartedCall)> {
    let answered = group.iter().zip(answers);
    answered
        .filter_map(|(member, answer)| {
            let (_, started) = answer.as_ref()?;
            Some((member.task.start.idempotency.as_ref()?, started))
        })
        .collect()
}

fn build_start_events(
    group: &[BatchItem<PaidCallStart>],
    answers: &[GoLiveAnswer],
) -> Vec<outbox::TracedEvent> {
    let mut events = Vec::new();
    for (BatchItem { task, traceparent }, answer) in group.iter().zip(answers) {
        if let Some((call, started)) = answer {
            let call_events =
                events::call_started(call, task.minute, started.wait_minutes(&task.start));
            events.extend(
                call_events
                    .into_iter()
                    .map(|event| (event, traceparent.clone())),
            );
        }
    }
    events
}
