//! The queue of refusals that are written to the audit log.
//!
//! An action is recorded in the transaction that performs it. A refusal has no transaction, and a client
//! could cause refusals without end. So refusals go through a queue and are written in batches at a bounded
//! rate; those that exceed it are counted and dropped.

use std::time::Duration;

use talktime_kit::db::DatabasePool;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::metrics::record_lost_refusals;
use crate::store::audit_log::{self, AuditLogEntry};

/// Capacity of the queue.
const QUEUE_MAX: usize = 1_024;
/// Maximum number of refusals that a replica writes in [`PAUSE`].
const BATCH_MAX: usize = 100;
const PAUSE: Duration = Duration::from_secs(1);

/// The sending end of the queue; cheap to clone.
#[derive(Clone, Debug)]
pub struct AuditRefusalRecorder(mpsc::Sender<AuditLogEntry>);

/// The receiving end of the queue, which writes refusals to the audit log.
pub struct AuditRefusalQueue(mpsc::Receiver<AuditLogEntry>);

/// Creates a bounded queue of refusals.
pub fn refusal_queue() -> (AuditRefusalRecorder, AuditRefusalQueue) {
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    (AuditRefusalRecorder(sender), AuditRefusalQueue(receiver))
}

impl AuditRefusalRecorder {
    /// Queues a refusal for the audit log. It is dropped and counted if the queue is full.
    pub fn record(&self, entry: AuditLogEntry) {
        if self.0.try_send(entry).is_err() {
            record_lost_refusals(1);
        }
    }
}

impl AuditRefusalQueue {
    /// Writes refusals until the service stops or every sender is dropped.
    pub async fn run(mut self, db: DatabasePool, stopping: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut is_last = false;
        while !is_last {
            is_last = tokio::select! {
                taken = self.0.recv_many(&mut batch, BATCH_MAX) => taken == 0,
                () = stopping.cancelled() => {
                    self.drain_rest(&mut batch);
                    true
                }
            };
            write_batch(&db, &mut batch).await;
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stopping.cancelled() => {}
            }
        }
    }

    fn drain_rest(&mut self, batch: &mut Vec<AuditLogEntry>) {
        while batch.len() < QUEUE_MAX
            && let Ok(entry) = self.0.try_recv()
        {
            batch.push(entry);
        }
    }
}

async fn write_batch(db: &DatabasePool, batch: &mut Vec<AuditLogEntry>) {
    if batch.is_empty() {
        return;
    }
    let written = async {
        let mut tx = db.begin().await?;
        audit_log::record_all(&mut tx, batch).await?;
        tx.commit().await
    };
    if let Err(error) = written.await {
        tracing::warn!(
            %error,
            refusals = batch.len(),
            "failed to write refusals to the audit log; dropping them"
        );
        record_lost_refusals(batch.len());
    }
    batch.clear();
}
