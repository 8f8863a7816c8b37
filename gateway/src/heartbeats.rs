//! Heartbeats are forwarded to presence in batches: those that arrive while requests are under way share
//! the next request. `POST /users/me/heartbeat` waits for the answer; pings on sockets do not.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use talktime_kit::batch::{BatchHandler, BatchItem, BatchLimits, Batcher, QueueFullPolicy};
use talktime_kit::grpc::client::retry_idempotent;
use talktime_kit::{Clock, Error, ErrorKind};
use talktime_proto::presence::v1::HeartbeatManyRequest;
use tokio_util::sync::CancellationToken;

use crate::clients::PresenceClient;
use crate::token::CurrentUser;

const LIMITS: BatchLimits = BatchLimits {
    items_max: 512,
    // Presence joins the requests, and a slow one does not delay the others.
    concurrent_max: 4,
    overlap_items_max: usize::MAX,
    // Beyond it, requests are refused and pings are dropped.
    queued_max: 16_384,
    linger: Duration::ZERO,
    when_full: QueueFullPolicy::Reject,
};

/// Forwards heartbeats to presence; cheap to clone.
#[derive(Clone)]
pub struct HeartbeatForwarder {
    batcher: Batcher<HeartbeatBatchHandler>,
    clock: Clock,
}

/// A heartbeat with its session and time: presence ignores one that arrives after the end of its session,
/// or after its user went offline.
#[derive(Clone)]
struct ForwardedHeartbeat {
    user_id: i64,
    session_id: String,
    accepted_at_micros: i64,
}

impl HeartbeatForwarder {
    /// Returns the entry point for heartbeats and the background task that forwards them to `presence`
    /// until `stopping` is cancelled.
    pub fn new(
        presence: PresenceClient,
        clock: Clock,
        stopping: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (batcher, worker) = Batcher::new(LIMITS, HeartbeatBatchHandler { presence });
        let background = async move {
            tokio::select! {
                () = worker => {}
                () = stopping.cancelled() => {}
            }
        };
        (Self { batcher, clock }, background)
    }

    /// Forwards a heartbeat and returns when presence has stored it.
    pub async fn forward(&self, current_user: &CurrentUser) -> Result<(), Error> {
        if self.batcher.submit(self.heartbeat_of(current_user)).await? {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::NotFound,
            "user_not_found",
            "There is no such user.",
        ))
    }

    /// Forwards a heartbeat without waiting for the answer: the next one makes up for one that is lost.
    pub fn forward_detached(&self, current_user: &CurrentUser) {
        self.batcher
            .submit_detached(self.heartbeat_of(current_user));
    }

    fn heartbeat_of(&self, current_user: &CurrentUser) -> ForwardedHeartbeat {
        ForwardedHeartbeat {
            user_id: current_user.user_id,
            session_id: current_user.session_id.clone(),
            accepted_at_micros: self.clock.now().timestamp_micros(),
        }
    }
}

struct HeartbeatBatchHandler {
    presence: PresenceClient,
}

impl BatchHandler for HeartbeatBatchHandler {
    const NAME: &'static str = "heartbeats";
    type Task = ForwardedHeartbeat;
    /// Whether the user is known.
    type Answer = bool;
    type Error = Error;

    async fn handle(&self, batch: &[BatchItem<ForwardedHeartbeat>]) -> Result<Vec<bool>, Error> {
        let request = latest_of_sessions(batch);
        let response =
            retry_idempotent(&self.presence, PresenceClient::heartbeat_many, request).await?;
        let unknown = HashSet::<i64>::from_iter(response.unknown_user_ids);
        let known = batch
            .iter()
            .map(|item| !unknown.contains(&item.task.user_id));
        Ok(known.collect())
    }

    /// All heartbeats share one request, so an error concerns all of them.
    fn fails_whole_batch(_error: &Error) -> bool {
        true
    }

    fn worker_gone() -> Error {
        Self::queue_full()
    }
}

/// Builds a request with the latest heartbeat of each session.
fn latest_of_sessions(batch: &[BatchItem<ForwardedHeartbeat>]) -> HeartbeatManyRequest {
    let mut latest: HashMap<(i64, &str), i64> = HashMap::with_capacity(batch.len());
    for BatchItem { task, .. } in batch {
        let key = (task.user_id, task.session_id.as_str());
        let accepted_at = latest.entry(key).or_insert(task.accepted_at_micros);
        *accepted_at = task.accepted_at_micros.max(*accepted_at);
    }
    let mut request = HeartbeatManyRequest::default();
    for ((user_id, session_id), accepted_at_micros) in latest {
        request.user_ids.push(user_id);
        request.session_ids.push(session_id.to_owned());
        request.accepted_at_micros.push(accepted_at_micros);
    }
    request
}
