//! The go-live step: turns reserved calls, whose first minute is paid, into live ones.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_kit::db::DatabasePool;
use talktime_kit::messaging::Relay;
use talktime_kit::messaging::outbox::{self, OutboxColumns};
use talktime_kit::{Clock, Error, failpoint, idempotency};

use crate::domain::CallError;
use crate::domain::call::Call;
use crate::domain::steps::PaidMinute;
use crate::domain::transitions;
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
    /// The row as it was read last.
    pub(crate) call: Box<Call>,
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
            call: Box::new(call.clone()),
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
        let expected = expect_answers(group);
        let mut tx = self.db.begin().await?;
        let events = build_start_events(group, &expected);
        let events = OutboxColumns::encode(self.clock.now(), events);
        let live = calls::go_live(&mut tx, &list_payable(group, &expected), events).await?;
        let answers = take_answers(expected, index_by_id(live))?;
        idempotency::finish_all(&mut tx, &replayable_answers(group, &answers)).await?;
        failpoint::reach("calls.start.before_active");
        tx.commit().await?;
        failpoint::reach("calls.start.active");
        self.relay.wake();
        Ok(answers)
    }
}

type GoLiveAnswer = <GoLiveBatchHandler as BatchHandler>::Answer;

/// Returns the answers of the calls as they will be once they are live, so that the statement that turns them live appends
/// their events. A call that is twice in the batch goes live once, and its start is published once.
fn expect_answers(group: &[BatchItem<PaidCallStart>]) -> Vec<GoLiveAnswer> {
    let mut seen = HashSet::new();
    let expected = group.iter().map(|BatchItem { task, .. }| {
        let live = transitions::expect_live(&task.call, task.minute)?;
        let is_first = seen.insert(live.call_id);
        let started = StartedCall::new(&live, &task.start, task.minute.balance_coins);
        is_first.then_some((live, started))
    });
    expected.collect()
}

fn list_payable(group: &[BatchItem<PaidCallStart>], expected: &[GoLiveAnswer]) -> Vec<LiveStart> {
    let payable = group.iter().zip(expected);
    let payable = payable.filter(|(_, expected)| expected.is_some());
    let payable = payable.map(|(BatchItem { task, .. }, _)| LiveStart {
        call_id: task.call.call_id,
        minute: task.minute,
        flows_since: task.flows_since,
    });
    payable.collect()
}

/// Returns the answers with the rows of those calls that are live now.
///
/// # Errors
/// An internal error if the row of a call has another version than its events.
fn take_answers(
    expected: Vec<GoLiveAnswer>,
    mut live: HashMap<i64, Call>,
) -> Result<Vec<GoLiveAnswer>, Error> {
    let answers = expected.into_iter().map(|expected| {
        let Some((expected, started)) = expected else {
            return Ok(None);
        };
        match live.remove(&expected.call_id) {
            Some(call) if call.version == expected.version => Ok(Some((call, started))),
            Some(_) => Err(Error::internal(
                "a call that went live has another version in calls.user_calls than expected",
            )),
            None => Ok(None),
        }
    });
    answers.collect()
}

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
