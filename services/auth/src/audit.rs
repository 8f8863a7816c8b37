//! Refusals on their way into the audit log.
//!
//! What was done is written in the transaction that does it. A refusal has none, and whoever is refused
//! could have us write without end: so refusals go through a queue, in batches, so many a second. What
//! comes faster is counted and not written.

use std::time::Duration;

use talktime_kit::db::Database;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::store::audit_log::{self, AuditEntry};

/// Refusals that wait at most.
const QUEUE_MAX: usize = 1_024;
/// Refusals that a replica writes in [`PAUSE`].
const BATCH_MAX: usize = 100;
const PAUSE: Duration = Duration::from_secs(1);

/// Takes refusals; cheap to clone.
#[derive(Clone, Debug)]
pub struct RefusalRecorder(mpsc::Sender<AuditEntry>);

/// Where they come out.
pub struct RefusalQueue(mpsc::Receiver<AuditEntry>);

/// A queue with both ends.
pub fn refusal_queue() -> (RefusalRecorder, RefusalQueue) {
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    (RefusalRecorder(sender), RefusalQueue(receiver))
}

impl RefusalRecorder {
    /// Has a refusal written soon.
    pub fn record(&self, entry: AuditEntry) {
        if self.0.try_send(entry).is_err() {
            count_dropped(1);
        }
    }
}

impl RefusalQueue {
    /// Writes refusals until told to stop, or until nobody can refuse anything any more.
    pub async fn run(mut self, db: Database, stopping: CancellationToken) {
        // From zero on, so that the first is seen to be one more.
        count_dropped(0);
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

    fn drain_rest(&mut self, batch: &mut Vec<AuditEntry>) {
        while batch.len() < QUEUE_MAX
            && let Ok(entry) = self.0.try_recv()
        {
            batch.push(entry);
        }
    }
}

async fn write_batch(db: &Database, batch: &mut Vec<AuditEntry>) {
    if batch.is_empty() {
        return;
    }
    let written = async {
        let mut tx = db.begin().await?;
        audit_log::record_all(&mut tx, batch).await?;
        tx.commit().await
    };
    if let Err(error) = written.await {
        tracing::warn!(%error, refusals = batch.len(), "refusals are missing in the audit log");
        count_dropped(batch.len());
    }
    batch.clear();
}

fn count_dropped(refusals: usize) {
    let refusals = u64::try_from(refusals).unwrap_or(u64::MAX);
    metrics::counter!("auth_audit_refusals_lost_total").increment(refusals);
}
