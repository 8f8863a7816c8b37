//! Publishes the outbox, the events of each aggregate in the order in which they were committed.
//!
//! One relay of a service publishes at a time: it holds an advisory lock for one batch, in the transaction
//! that reads and marks the batch. Relays that have something to publish queue for the lock, so no replica
//! depends on the poll of another. A batch reads unpublished rows, never those after a "last id": a
//! transaction that commits late would be passed over.
//!
//! Within a batch, aggregates are published side by side, but an event is sent only after the one before it
//! of the same aggregate was acknowledged. An event that fails therefore holds back its own aggregate alone.
//! An event whose acknowledgement was lost is sent again under the same `Nats-Msg-Id`.
//!
//! A relay that freezes with the lock loses it, because Postgres ends its session after [`IDLE_MAX`]. When it
//! wakes up, [`PUBLISH_MAX`] has passed and it sends nothing more.
//!
//! The order of `outbox_id` is the order of commits only if transactions that write events of one aggregate
//! wait for each other, so each of them locks a row of the aggregate before it appends.
//!
//! The relay is woken by the process that wrote the event, through [`Relay::wake`], and polls as a
//! backstop for rows whose writer died, less often while it finds none. NOTIFY would wake other replicas too, but it serialises
//! all commits of the database on one lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::db::{DatabasePool, PgConnection};
use anyhow::ensure;
use async_nats::HeaderMap;
use async_nats::connection::State;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream;
use chrono::{DateTime, SecondsFormat, Utc};
use futures::FutureExt;
use futures::future::join_all;
use sqlx::FromRow;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    HEADER_DATA_CONTENT_TYPE, HEADER_ID, HEADER_SOURCE, HEADER_SPECVERSION, HEADER_SUBJECT,
    HEADER_TIME, HEADER_TYPE, open_jetstream,
};
use crate::deadlines::{PeerKind, record_missed};
use crate::pace::{RoundPace, RoundSpacing};
use crate::progress::LoopProgress;
use crate::trace::TRACEPARENT;

const BATCH_ROWS: u16 = 256;
/// The pause before the first poll after a batch. It doubles with each poll that finds nothing.
const POLL_AFTER_MIN: Duration = Duration::from_millis(500);
/// The longest pause before a poll, and so the delay of events of a replica that died while this one was idle.
const POLL_AFTER_MAX: Duration = Duration::from_secs(5);
/// The distance of batches. The first event after a pause does not wait; many events of a busy service share the six round
/// trips of a batch. A start and an end of a call, which three relays work for, take thirty.
const SPACING: RoundSpacing = RoundSpacing {
    busy_percent_max: 33,
    interval_min: Duration::from_millis(20),
    interval_max: Duration::from_millis(20),
};
/// The service whose events change what people have on their screens.
const SERVICE_OF_STATUSES: &str = "presence";
/// The distance of its batches. On a machine that has time for it a batch takes a few milliseconds, and changes hardly wait
/// for the next one. Most of a batch is a wait for Postgres or NATS, so a third of the time is less work than it seems.
const SPACING_OF_STATUSES: RoundSpacing = RoundSpacing {
    interval_min: Duration::from_millis(5),
    ..SPACING
};
/// Time limit of a batch. Events that are not acknowledged by then are left to the next batch.
const PUBLISH_MAX: Duration = Duration::from_secs(2);
/// Postgres ends the session of a relay that is silent for so long within a batch. It is longer than
/// [`PUBLISH_MAX`], so that the lock is never lost while the relay still publishes.
const IDLE_MAX: Duration = Duration::from_secs(4);
/// A relay waits for so long behind others. It is longer than [`IDLE_MAX`], so that it outlasts one that froze.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);
/// Every wait of a batch ends by its own deadline, and their sum is less than this.
pub(crate) const TURN_MAX: Duration = Duration::from_secs(90);
/// The first half of the lock's key; the schema's name is the second.
const LOCK_CLASS: i32 = 0x6f75_7462;
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// The names that the events of an outbox are published under.
#[derive(Clone, Copy, Debug)]
pub struct EventSource {
    /// The service, which consumers compare with the subject.
    pub service: &'static str,
    /// Begins the id of each event. Two outboxes of one service would need different ones.
    pub id_prefix: &'static str,
}

impl EventSource {
    /// Returns the names of the events of a service.
    pub const fn of_service(service: &'static str) -> Self {
        Self {
            service,
            id_prefix: service,
        }
    }

    fn spacing(self) -> RoundSpacing {
        if self.service == SERVICE_OF_STATUSES {
            SPACING_OF_STATUSES
        } else {
            SPACING
        }
    }
}

/// Handle of a service's relay.
#[derive(Clone, Debug, Default)]
pub struct Relay {
    wake: Arc<Notify>,
}

#[derive(FromRow)]
struct OutboxRow {
    outbox_id: i64,
    subject: String,
    aggregate_id: i64,
    payload: Vec<u8>,
    traceparent: Option<String>,
    created_at: DateTime<Utc>,
}

impl Relay {
    /// Wakes the relay after the commit of a transaction with events.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Publishes until `stopping` is cancelled, and then the rest of the outbox once more.
    pub async fn run(
        self,
        source: EventSource,
        pool: DatabasePool,
        nats: async_nats::Client,
        progress: LoopProgress,
        stopping: CancellationToken,
    ) {
        let publisher = OutboxPublisher {
            source,
            wake: self.wake.clone(),
            progress,
            pool,
            jetstream: open_jetstream(nats.clone()),
            nats,
        };
        // The counters start at zero, so that the first increment is visible as one.
        metrics::counter!("outbox_published_total").increment(0);
        metrics::counter!("outbox_publish_failures_total").increment(0);
        let mut pace = RoundPace::new(source.spacing());
        let mut poll_after = POLL_AFTER_MIN;
        while !stopping.is_cancelled() {
            publisher.progress.record_turn();
            let is_poll = tokio::select! {
                () = self.wake.notified() => false,
                () = tokio::time::sleep(poll_after) => true,
                () = stopping.cancelled() => false,
            };
            pace.wait().await;
            let began_at = Instant::now();
            let published = publisher.publish_all(is_poll).await;
            pace.record_round(began_at);
            poll_after = match published {
                Ok(false) if is_poll => POLL_AFTER_MAX.min(2 * poll_after),
                _ => POLL_AFTER_MIN,
            };
            if let Err(error) = published {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "failed to publish events; they stay in the outbox and the relay retries"
                );
                metrics::counter!("outbox_publish_failures_total").increment(1);
                tokio::select! {
                    () = tokio::time::sleep(RETRY_DELAY) => {}
                    () = stopping.cancelled() => {}
                }
            }
        }
    }
}

/// Publishes the events of one service to JetStream.
struct OutboxPublisher {
    source: EventSource,
    wake: Arc<Notify>,
    progress: LoopProgress,
    pool: DatabasePool,
    nats: async_nats::Client,
    jetstream: jetstream::Context,
}

/// The rows of an aggregate, or of a batch, that were published.
#[derive(Default)]
struct PublishProgress {
    published: Vec<i64>,
    /// The reason why the others were not published.
    failure: Option<anyhow::Error>,
}

impl OutboxPublisher {
    /// Publishes what is in the outbox; returns whether there may have been something. A poll looks first, because it
    /// mostly finds nothing, and a batch takes four round trips.
    async fn publish_all(&self, is_poll: bool) -> anyhow::Result<bool> {
        if is_poll && !self.pool.poll(|db| has_unpublished(db).boxed()).await? {
            return Ok(false);
        }
        while self.publish_batch().await? == usize::from(BATCH_ROWS) {
            self.progress.record_turn();
        }
        Ok(true)
    }

    /// Publishes up to [`BATCH_ROWS`] rows and returns their number. Rows that were published before another
    /// one failed are marked as published, too.
    async fn publish_batch(&self) -> anyhow::Result<usize> {
        let mut tx = self.pool.begin().await?;
        take_lock(&mut tx).await?;
        // The deadline starts before the rows are read: if the process freezes in between, its session has
        // ended.
        let deadline = Instant::now() + PUBLISH_MAX;
        // Whoever has woken the relay by now had committed before, so this batch has their events.
        let _ = self.wake.notified().now_or_never();
        let rows = find_unpublished(&mut tx).await?;
        if rows.is_empty() {
            tx.rollback().await?;
            return Ok(0);
        }
        let progress = self.publish_rows(rows, deadline).await;
        mark_published(&mut tx, &progress.published).await?;
        tx.commit().await?;
        let published = progress.published.len();
        metrics::counter!("outbox_published_total").increment(published as u64);
        progress.failure.map_or(Ok(published), Err)
    }

    /// Publishes aggregates side by side, and the rows of each one after the other.
    async fn publish_rows(&self, rows: Vec<OutboxRow>, deadline: Instant) -> PublishProgress {
        let mut aggregates: BTreeMap<i64, Vec<OutboxRow>> = BTreeMap::new();
        for row in rows {
            aggregates.entry(row.aggregate_id).or_default().push(row);
        }
        let publishing = aggregates
            .into_values()
            .map(|rows| self.publish_aggregate(rows, deadline));
        let mut all = PublishProgress::default();
        for progress in join_all(publishing).await {
            all.published.extend(progress.published);
            all.failure = all.failure.or(progress.failure);
        }
        all
    }

    async fn publish_aggregate(&self, rows: Vec<OutboxRow>, deadline: Instant) -> PublishProgress {
        let mut progress = PublishProgress::default();
        for row in rows {
            let outbox_id = row.outbox_id;
            match self.publish(row, deadline).await {
                Ok(()) => progress.published.push(outbox_id),
                Err(error) => {
                    progress.failure = Some(error.context(format!("publishing row {outbox_id}")));
                    break;
                }
            }
        }
        progress
    }

    /// Sends an event and waits until the stream has it.
    async fn publish(&self, row: OutboxRow, deadline: Instant) -> anyhow::Result<()> {
        ensure!(Instant::now() < deadline, "the batch took too long");
        // Without a connection the client would buffer the event and send it later, after newer ones.
        let is_connected = self.nats.connection_state() == State::Connected;
        ensure!(is_connected, "NATS is not connected");
        let headers = self.headers(&row);
        let publishing = async {
            let sent =
                self.jetstream
                    .publish_with_headers(row.subject, headers, row.payload.into());
            anyhow::Ok(sent.await?.await?)
        };
        timeout_at(deadline, publishing)
            .await
            .map_err(|_elapsed| record_missed(PeerKind::Nats, PUBLISH_MAX))??;
        Ok(())
    }

    fn headers(&self, row: &OutboxRow) -> HeaderMap {
        let EventSource { service, id_prefix } = self.source;
        let id = format!("{id_prefix}-{}", row.outbox_id);
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
        headers
    }
}

/// Waits for the right to publish, which ends with the transaction. Its commit does not wait for the disk: a
/// mark that a crash loses is made again, when the event is published once more under its id.
async fn take_lock(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(
        "SELECT set_config('synchronous_commit', 'off', true),
                set_config('idle_in_transaction_session_timeout', $1, true),
                set_config('lock_timeout', $2, true),
                pg_advisory_xact_lock($3, hashtext(current_schema()))",
    )
    .bind(IDLE_MAX.as_millis().to_string())
    .bind(LOCK_WAIT_MAX.as_millis().to_string())
    .bind(LOCK_CLASS)
    .execute(tx)
    .await?;
    Ok(())
}

async fn has_unpublished(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM outbox WHERE published_at IS NULL)")
        .fetch_one(connection)
        .await
}

/// Finds the oldest unpublished rows. This is a statement of its own, because the snapshot of the statement
/// that waited for the lock does not contain the rows that were marked meanwhile.
async fn find_unpublished(tx: &mut PgConnection) -> sqlx::Result<Vec<OutboxRow>> {
    sqlx::query_as(
        "SELECT outbox_id, subject, aggregate_id, payload, traceparent, created_at
         FROM outbox WHERE published_at IS NULL ORDER BY outbox_id LIMIT $1",
    )
    .bind(i64::from(BATCH_ROWS))
    .fetch_all(tx)
    .await
}

async fn mark_published(tx: &mut PgConnection, outbox_ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query("UPDATE outbox SET published_at = now() WHERE outbox_id = ANY($1)")
        .bind(outbox_ids)
        .execute(tx)
        .await?;
    Ok(())
}
