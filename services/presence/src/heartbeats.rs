//! Heartbeats are stored in batches: each one waits a few milliseconds at most for others, hundreds share
//! one statement and one commit, and each is answered after the commit.

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use async_nats::connection::State;
use prost::Message as _;
use talktime_kit::batch::{BatchHandler, BatchItem, BatchLimits, Batcher, QueueFullPolicy};
use talktime_proto::events::LIVE_PRESENCE_SUBJECT;
use talktime_proto::events::v1::{Event, SignsOfLife};
use talktime_proto::timestamp;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::config::HeartbeatBatchConfig;
use crate::domain::{PresenceError, UserHeartbeat};
use crate::events::heartbeat_event;
use crate::statuses::{RecordedHeartbeats, StatusService};
use crate::store::user_status::HeartbeatStatusRow;

/// How long NATS may take to accept a broadcast. The next heartbeat makes up for a lost one.
const BROADCAST_TIMEOUT: Duration = Duration::from_millis(50);
/// Batches whose broadcast waits for NATS. The broadcasts of further ones are dropped.
const BROADCASTS_QUEUED_MAX: usize = 16;
/// One batch is written while another one commits.
const CONCURRENT_MAX: usize = 2;

/// Records heartbeats; cheap to clone.
#[derive(Clone)]
pub struct HeartbeatRecorder {
    batcher: Batcher<HeartbeatBatchHandler>,
}

impl HeartbeatRecorder {
    /// Returns the entry point for heartbeats and its background work, which ends when the last clone of
    /// the entry point is dropped. With `nats`, the status of every user is broadcast after each heartbeat.
    pub fn new(
        config: HeartbeatBatchConfig,
        statuses: StatusService,
        nats: Option<async_nats::Client>,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let limits = BatchLimits {
            items_max: config.group_max,
            concurrent_max: CONCURRENT_MAX,
            overlap_items_max: usize::MAX,
            queued_max: config.queued_max,
            linger: Duration::from_millis(config.wait_ms),
            when_full: QueueFullPolicy::Reject,
        };
        let (broadcasts, queued) = mpsc::channel(BROADCASTS_QUEUED_MAX);
        let handler = HeartbeatBatchHandler {
            statuses,
            broadcasts,
        };
        let (batcher, worker) = Batcher::new(limits, handler);
        let background = async move {
            // The broadcasts end when the worker drops the handler.
            tokio::join!(worker, run_broadcasts(nats, queued));
        };
        (Self { batcher }, background)
    }

    /// Records heartbeats and returns, after their commit, the ids of unknown users.
    pub async fn record(&self, heartbeats: Vec<UserHeartbeat>) -> Result<Vec<i64>, PresenceError> {
        self.batcher.submit(heartbeats).await
    }
}

struct HeartbeatBatchHandler {
    statuses: StatusService,
    broadcasts: mpsc::Sender<Vec<HeartbeatStatusRow>>,
}

impl BatchHandler for HeartbeatBatchHandler {
    const NAME: &'static str = "heartbeats";
    /// The heartbeats of one request.
    type Task = Vec<UserHeartbeat>;
    /// The ids of unknown users among them.
    type Answer = Vec<i64>;
    type Error = PresenceError;

    async fn handle(
        &self,
        batch: &[BatchItem<Vec<UserHeartbeat>>],
    ) -> Result<Vec<Vec<i64>>, PresenceError> {
        let heartbeats = batch.iter().flat_map(|item| item.task.iter().cloned());
        let recorded = self
            .statuses
            .record_heartbeats(heartbeats.collect())
            .await?;
        let answers = find_unknown_users(batch, &recorded);
        // Broadcasts are queued, so that no caller waits for NATS.
        if self.broadcasts.try_send(recorded.rows).is_err() {
            tracing::debug!(
                "broadcast queue is full; statuses are broadcast with the next heartbeats"
            );
        }
        Ok(answers)
    }

    /// All heartbeats share one statement, so an error concerns all of them.
    fn fails_whole_batch(_error: &PresenceError) -> bool {
        true
    }

    fn count_items(heartbeats: &Vec<UserHeartbeat>) -> usize {
        heartbeats.len()
    }

    fn queue_full() -> PresenceError {
        PresenceError::Overloaded
    }

    fn worker_gone() -> PresenceError {
        PresenceError::Overloaded
    }
}

fn find_unknown_users(
    batch: &[BatchItem<Vec<UserHeartbeat>>],
    recorded: &RecordedHeartbeats,
) -> Vec<Vec<i64>> {
    let user_ids = recorded.rows.iter().map(|row| row.user_id);
    let known: HashSet<i64> = user_ids
        .chain(recorded.outdated_user_ids.iter().copied())
        .collect();
    let answers = batch.iter().map(|item| {
        let user_ids = item.task.iter().map(|heartbeat| heartbeat.user_id);
        user_ids
            .filter(|user_id| !known.contains(user_id))
            .collect()
    });
    answers.collect()
}

/// Broadcasts the statuses of each batch until the handler is dropped.
async fn run_broadcasts(
    nats: Option<async_nats::Client>,
    mut queued: mpsc::Receiver<Vec<HeartbeatStatusRow>>,
) {
    while let Some(rows) = queued.recv().await {
        if let Some(nats) = &nats {
            broadcast(nats, &rows).await;
        }
    }
}

/// Broadcasts statuses to the open sockets. A lost broadcast does no harm, since the next heartbeat
/// repeats the status.
async fn broadcast(nats: &async_nats::Client, rows: &[HeartbeatStatusRow]) {
    // A client without a connection would buffer the message and send a stale status later.
    if nats.connection_state() != State::Connected {
        return;
    }
    let statuses = rows.iter().map(live_event).collect();
    let payload = SignsOfLife { statuses }.encode_to_vec().into();
    let published = nats.publish(LIVE_PRESENCE_SUBJECT, payload);
    if !matches!(timeout(BROADCAST_TIMEOUT, published).await, Ok(Ok(()))) {
        tracing::debug!("failed to broadcast statuses; the next heartbeats repeat them");
    }
}

fn live_event(row: &HeartbeatStatusRow) -> Event {
    let came_online = false;
    Event {
        version: row.version,
        happened_at: Some(timestamp(row.last_seen)),
        kind: Some(heartbeat_event(row, came_online)),
    }
}
