//! Publishes the outbox.
//!
//! Unpublished rows are claimed by lock, never by a "last id seen": a transaction that commits
//! late would be passed over. A batch is marked, sent whole, and committed when all of it is
//! acknowledged; a crash in between publishes again under the same `Nats-Msg-Id`.
//!
//! The relay is woken by the process that wrote the event, through [`Relay::wake`], and polls as a
//! backstop for rows whose writer died. NOTIFY would wake other replicas too, but it serialises
//! all commits of the database on one lock.

use std::sync::Arc;
use std::time::Duration;

use crate::db::Database;
use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::{self, context::PublishAckFuture};
use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::{FromRow, PgConnection};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    HEADER_DATA_CONTENT_TYPE, HEADER_ID, HEADER_SOURCE, HEADER_SPECVERSION, HEADER_SUBJECT,
    HEADER_TIME, HEADER_TYPE, ensure_stream, pace,
};
use crate::trace::TRACEPARENT;

const BATCH_ROWS: u16 = 256;
const POLL: Duration = Duration::from_millis(500);
/// From one batch to the next, so that a busy service publishes many events at once; the first event
/// after a silence does not wait.
const PACE: Duration = Duration::from_millis(25);
const ACK_TIMEOUT: Duration = Duration::from_secs(3);
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Handle of a service's relay.
#[derive(Clone, Debug, Default)]
pub struct Relay {
    wake: Arc<Notify>,
}

#[derive(FromRow)]
struct Row {
    outbox_id: i64,
    subject: String,
    aggregate_id: i64,
    payload: Vec<u8>,
    traceparent: Option<String>,
    created_at: DateTime<Utc>,
}

impl Relay {
    /// Says that a transaction with events was committed.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Publishes until told to stop, and then what is still there.
    pub async fn run(
        self,
        service: &'static str,
        pool: Database,
        nats: async_nats::Client,
        stopping: CancellationToken,
    ) {
        let jetstream = jetstream::new(nats);
        // From zero on, so that the first is seen to be one more.
        metrics::counter!("outbox_published_total").increment(0);
        metrics::counter!("outbox_publish_failures_total").increment(0);
        let mut pace = pace(PACE);
        while !stopping.is_cancelled() {
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(POLL) => {}
                () = stopping.cancelled() => {}
            }
            pace.tick().await;
            if let Err(error) = publish_all(service, &pool, &jetstream).await {
                tracing::warn!(error = format!("{error:#}"), "events wait in the outbox");
                metrics::counter!("outbox_publish_failures_total").increment(1);
                // The stream may be what is missing: after a wipe nobody else makes it.
                let _ = ensure_stream(&jetstream).await;
                tokio::select! {
                    () = tokio::time::sleep(RETRY_DELAY) => {}
                    () = stopping.cancelled() => {}
                }
            }
        }
    }
}

async fn publish_all(
    service: &'static str,
    pool: &Database,
    jetstream: &jetstream::Context,
) -> anyhow::Result<()> {
    while publish_batch(service, pool, jetstream).await? == usize::from(BATCH_ROWS) {}
    Ok(())
}

/// Publishes up to [`BATCH_ROWS`] rows; answers how many.
async fn publish_batch(
    service: &'static str,
    pool: &Database,
    jetstream: &jetstream::Context,
) -> anyhow::Result<usize> {
    let mut tx = pool.begin().await?;
    let rows = claim(&mut tx).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let mut acks = Vec::with_capacity(rows.len());
    for row in &rows {
        acks.push(send(service, jetstream, row).await?);
    }
    for ack in acks {
        tokio::time::timeout(ACK_TIMEOUT, ack.into_future()).await??;
    }
    tx.commit().await?;
    metrics::counter!("outbox_published_total").increment(rows.len() as u64);
    Ok(rows.len())
}

/// Marks rows as published, which holds once they are, and locks them until then; in their order. The
/// commit does not wait for the disk: a mark that a crash loses is made again, when the event is
/// published once more under its id.
async fn claim(tx: &mut PgConnection) -> sqlx::Result<Vec<Row>> {
    let mut rows: Vec<Row> = sqlx::query_as(
        "UPDATE outbox SET published_at = now()
         WHERE outbox_id IN (SELECT outbox_id FROM outbox WHERE published_at IS NULL
                             ORDER BY outbox_id LIMIT $1 FOR UPDATE SKIP LOCKED)
           AND (SELECT set_config('synchronous_commit', 'off', true)) = 'off'
         RETURNING outbox_id, subject, aggregate_id, payload, traceparent, created_at",
    )
    .bind(i64::from(BATCH_ROWS))
    .fetch_all(tx)
    .await?;
    rows.sort_unstable_by_key(|row| row.outbox_id);
    Ok(rows)
}

async fn send(
    service: &str,
    jetstream: &jetstream::Context,
    row: &Row,
) -> anyhow::Result<PublishAckFuture> {
    let id = format!("{service}-{}", row.outbox_id);
    let event_type = row.subject.trim_start_matches("events.");
    let time = row.created_at.to_rfc3339_opts(SecondsFormat::Micros, true);
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, id.as_str());
    headers.insert(HEADER_ID, id.as_str());
    headers.insert(HEADER_SPECVERSION, "1.0");
    headers.insert(HEADER_TYPE, format!("talktime.{event_type}.v1").as_str());
    headers.insert(HEADER_SOURCE, format!("/talktime/{service}").as_str());
    headers.insert(HEADER_SUBJECT, row.aggregate_id.to_string().as_str());
    headers.insert(HEADER_TIME, time.as_str());
    headers.insert(HEADER_DATA_CONTENT_TYPE, "application/protobuf");
    if let Some(traceparent) = &row.traceparent {
        headers.insert(TRACEPARENT, traceparent.as_str());
    }
    let payload = row.payload.clone().into();
    Ok(jetstream
        .publish_with_headers(row.subject.clone(), headers, payload)
        .await?)
}
