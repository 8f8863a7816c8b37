//! People are presence as busy with their call, and as free after it.

use std::time::Duration;

use futures::future::join_all;
use talktime_kit::Error;
use talktime_kit::group::{Groups, Member, Work};
use talktime_proto::presence::v1::call_change::Change;
use talktime_proto::presence::v1::{CallBegan, CallChange, CallEnded};
use tracing::Instrument;

use super::batching::{LIMITS, attach_traceparents};
use crate::domain::call::Call;
use crate::peers::PeerClients;
use crate::tracking::LiveCallTracker;

/// Nobody waits longer for presence: the event that follows makes it good.
const TIMEOUT: Duration = Duration::from_millis(300);

/// Beginnings and ends of calls that presence is told together.
struct PresenceUpdateBatchHandler {
    peers: PeerClients,
}

impl Work for PresenceUpdateBatchHandler {
    type Task = CallChange;
    type Answer = ();
    type Error = Error;

    async fn work(&self, group: &[Member<CallChange>]) -> Result<Vec<()>, Error> {
        let changes = attach_traceparents(group, |change, traceparent| CallChange {
            traceparent,
            ..change
        });
        let told = tokio::time::timeout(TIMEOUT, self.peers.send_call_changes(changes));
        told.await
            .map_err(|_elapsed| Error::internal("presence did not answer in time"))??;
        Ok(vec![(); group.len()])
    }

    fn is_everyones(error: &Error) -> bool {
        error.is_outcome_unknown()
    }
}

/// What others see of calls, as far as presence and Redis answer soon; cheap to clone.
#[derive(Clone)]
pub(crate) struct PresenceNotifier {
    updates: Groups<PresenceUpdateBatchHandler>,
    tracking: LiveCallTracker,
}

impl PresenceNotifier {
    pub(crate) fn start(peers: &PeerClients, tracking: LiveCallTracker) -> Self {
        let peers = peers.clone();
        Self {
            updates: Groups::start(LIMITS, PresenceUpdateBatchHandler { peers }),
            tracking,
        }
    }

    /// Shows the parties of calls as busy, for so many minutes each.
    pub(crate) async fn mark_busy(&self, calls: &[(Call, i32)]) {
        let busy = calls.iter().map(|(call, wait_time)| {
            let wait_time = *wait_time;
            self.send_change(call, Change::Began(CallBegan { wait_time }))
        });
        join_all(busy).await;
    }

    /// Shows a live call in Redis.
    pub(crate) async fn track(&self, call: &Call) {
        self.tracking.track(call).await;
    }

    /// Shows a call's parties as free, in the background: neither the books nor the next call wait for
    /// it.
    pub(crate) fn mark_free(&self, call: &Call) {
        let (presence, call) = (self.clone(), call.clone());
        let show = async move {
            let free = presence.send_change(&call, Change::Ended(CallEnded {}));
            tokio::join!(free, presence.tracking.untrack(call.call_id));
        };
        tokio::spawn(show.in_current_span());
    }

    async fn send_change(&self, call: &Call, change: Change) {
        let change = CallChange {
            call_id: call.call_id,
            user_ids: call.parties().to_vec(),
            change: Some(change),
            ..CallChange::default()
        };
        match tokio::time::timeout(TIMEOUT, self.updates.ask(change)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "presence will learn it from the event"),
            Err(_elapsed) => {
                tracing::warn!("presence will learn it from the event: no answer in time");
            }
        }
    }
}
