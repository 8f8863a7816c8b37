//! Updates presence with the people who are busy with a call and who are free again.

use std::time::Duration;

use futures::future::join_all;
use talktime_kit::Error;
use talktime_kit::batch::{BatchHandler, BatchItem, BatchLimits, Batcher};
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_proto::presence::v1::call_change::Change;
use talktime_proto::presence::v1::{CallBegan, CallChange, CallEnded};
use tracing::Instrument;

use super::batching::attach_traceparents;
use super::requests::{CallStartRequest, StartedCall};
use crate::domain::call::Call;
use crate::domain::steps::PaidMinute;
use crate::peers::PeerClients;
use crate::service_parts::CallServiceParts;
use crate::tracking::LiveCallTracker;

/// Time limit for presence. A call never waits longer, because the event of the same change corrects
/// presence later.
const TIMEOUT: Duration = Duration::from_millis(300);

/// Limits of requests. Only the undoing of a call waits for ends, so all of a moment share a request and a commit, which
/// would otherwise compete with the settlements of the same calls for the disk. The answers to starts wait for presence, so
/// a start is sent at once, with the ends that have gathered, and beside a request under way.
const LIMITS: BatchLimits = BatchLimits {
    overlap_items_max: usize::MAX,
    linger: Duration::from_millis(20),
    ..BatchLimits::REQUESTS
};

/// Sends the starts and ends of calls to presence in one request.
struct PresenceUpdateBatchHandler {
    peers: PeerClients,
}

impl BatchHandler for PresenceUpdateBatchHandler {
    const NAME: &'static str = "presence";
    type Task = CallChange;
    type Answer = ();
    type Error = Error;

    async fn handle(&self, group: &[BatchItem<CallChange>]) -> Result<Vec<()>, Error> {
        let changes = attach_traceparents(group, |change, traceparent| CallChange {
            traceparent,
            ..change
        });
        let sent = tokio::time::timeout(TIMEOUT, self.peers.send_call_changes(changes));
        sent.await
            .map_err(|_elapsed| Error::internal("presence did not answer in time"))??;
        Ok(vec![(); group.len()])
    }

    fn fails_whole_batch(error: &Error) -> bool {
        error.is_outcome_unknown()
    }

    fn lingers(change: &CallChange) -> bool {
        matches!(change.change, Some(Change::Ended(_)))
    }
}

/// Publishes the state of calls to presence and Redis, as far as both answer in time; cheap to clone.
#[derive(Clone)]
pub(crate) struct CallPresenceNotifier {
    changes: Batcher<PresenceUpdateBatchHandler>,
    tracking: LiveCallTracker,
    lifecycle: ProcessLifecycle,
}

/// A call whose parties presence shows as busy.
pub(crate) struct BusyCall {
    pub(crate) call: Call,
    /// Expected duration in minutes; none while the call rings.
    pub(crate) wait_minutes: Option<i32>,
}

impl BusyCall {
    /// A call whose first minute is still to be paid, with its expected duration by the coins before that.
    pub(crate) fn of_unpaid(call: &Call, start: &CallStartRequest, coins: i64) -> Self {
        let unpaid = StartedCall::unpaid(call, start, coins);
        Self {
            call: call.clone(),
            wait_minutes: Some(unpaid.wait_minutes(start)),
        }
    }

    /// A call whose first minute is paid, with its expected duration as others see it.
    pub(crate) fn of_paid(call: &Call, start: &CallStartRequest, minute: PaidMinute) -> Self {
        let started = StartedCall::new(call, start, minute.balance_coins);
        Self {
            call: call.clone(),
            wait_minutes: Some(started.wait_minutes(start)),
        }
    }
}

impl CallPresenceNotifier {
    pub(crate) fn start(parts: &CallServiceParts) -> Self {
        let peers = parts.peers.clone();
        let handler = PresenceUpdateBatchHandler { peers };
        Self {
            changes: Batcher::start(&parts.lifecycle, LIMITS, handler),
            tracking: parts.tracking.clone(),
            lifecycle: parts.lifecycle.clone(),
        }
    }

    /// Marks the parties of calls as busy.
    pub(crate) async fn mark_busy(&self, calls: &[BusyCall]) {
        let updates = calls.iter().map(|busy| {
            let began = CallBegan {
                wait_time: busy.wait_minutes,
            };
            send_change(&self.changes, &busy.call, Change::Began(began))
        });
        join_all(updates).await;
    }

    /// Adds a live call to the tracker in Redis, in the background: no decision depends on the entry.
    pub(crate) fn track(&self, call: &Call) {
        let (tracking, call) = (self.tracking.clone(), call.clone());
        let add = async move { tracking.track(&call).await };
        self.lifecycle.spawn(add.in_current_span());
    }

    /// Marks the parties of a call as free, and waits for presence as long as a call ever does.
    pub(crate) async fn free_parties(&self, call: &Call) {
        let free = send_change(&self.changes, call, Change::Ended(CallEnded {}));
        tokio::join!(free, self.tracking.untrack(call.call_id));
    }

    /// Marks the parties of a call as free, in the background: neither the settlement nor the next call
    /// waits for presence.
    pub(crate) fn mark_free(&self, call: &Call) {
        let (presence, call) = (self.clone(), call.clone());
        let update = async move { presence.free_parties(&call).await };
        self.lifecycle.spawn(update.in_current_span());
    }
}

/// Submits a change to the batch that is sent next, and logs a failure.
async fn send_change(batcher: &Batcher<PresenceUpdateBatchHandler>, call: &Call, change: Change) {
    let call_id = call.call_id;
    let change = CallChange {
        call_id,
        user_ids: call.parties().to_vec(),
        change: Some(change),
        ..CallChange::default()
    };
    match tokio::time::timeout(TIMEOUT, batcher.submit(change)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(
            %error,
            call_id,
            "failed to update presence; the event of the call, or the sweep of presence, will correct it"
        ),
        Err(_elapsed) => {
            tracing::warn!(
                call_id,
                "presence did not answer in time; the event of the call, or the sweep of presence, will correct it"
            );
        }
    }
}
