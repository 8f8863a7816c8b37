//! The outbox: events are inserted as rows in the transaction of the business operation.

use crate::db::{self, DatabasePool, PgConnection};
use chrono::{DateTime, Utc};
use futures::FutureExt;
use prost::Message as _;
use talktime_proto::events::subject;
use talktime_proto::events::v1::Event;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::timestamp;

use super::STREAM_AGE_MAX;
use crate::operator::record_action;
use crate::trace;

/// Counting stops here; an exact larger number would not be worth its cost.
const COUNTED_MAX: i64 = 100_000;
/// A week, in seconds.
const REPUBLISHED_SECS_MAX: u32 = 7 * 24 * 3_600;

/// An event, `(aggregate_id, version, kind)`, and the `traceparent` of the trace that it belongs to.
pub type TracedEvent = ((i64, i64, Kind), Option<String>);

/// Appends an event in the transaction that changes the rows it reports, so that both happen or neither.
///
/// `version` grows with every event of the aggregate `aggregate_id`, so that a read model can
/// ignore an event that is older than its own state. The event carries the current trace.
///
/// # Errors
/// The statement failed; the transaction must be rolled back.
pub async fn append(
    tx: &mut PgConnection,
    aggregate_id: i64,
    version: i64,
    happened_at: DateTime<Utc>,
    kind: Kind,
) -> sqlx::Result<()> {
    append_all(tx, happened_at, vec![(aggregate_id, version, kind)]).await
}

/// Appends several events, each `(aggregate_id, version, kind)`, in one statement.
///
/// # Errors
/// The statement failed; the transaction must be rolled back.
pub async fn append_all(
    tx: &mut PgConnection,
    happened_at: DateTime<Utc>,
    events: Vec<(i64, i64, Kind)>,
) -> sqlx::Result<()> {
    let trace = trace::current();
    let events = events.into_iter().map(|event| (event, trace.clone()));
    append_traced(tx, happened_at, events.collect()).await
}

/// Appends events that belong to different traces. Does nothing if there are none.
///
/// # Errors
/// The statement failed; the transaction must be rolled back.
pub async fn append_traced(
    tx: &mut PgConnection,
    happened_at: DateTime<Utc>,
    events: Vec<TracedEvent>,
) -> sqlx::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let columns = OutboxColumns::encode(happened_at, events);
    sqlx::query(
        "INSERT INTO outbox (subject, aggregate_id, payload, traceparent)
         SELECT event.* FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::text[]) AS event",
    )
    .bind(columns.subjects)
    .bind(columns.aggregate_ids)
    .bind(columns.payloads)
    .bind(columns.traceparents)
    .execute(tx)
    .await?;
    Ok(())
}

/// Events as columns of `outbox`, for a statement that inserts them together with the rows that they report.
#[derive(Clone, Debug, Default)]
pub struct OutboxColumns {
    /// `subject`.
    pub subjects: Vec<&'static str>,
    /// `aggregate_id`.
    pub aggregate_ids: Vec<i64>,
    /// `payload`.
    pub payloads: Vec<Vec<u8>>,
    /// `traceparent`.
    pub traceparents: Vec<Option<String>>,
}

impl OutboxColumns {
    /// Encodes events in their order.
    pub fn encode(happened_at: DateTime<Utc>, events: Vec<TracedEvent>) -> Self {
        let mut columns = Self::default();
        for ((aggregate_id, version, kind), traceparent) in events {
            columns.subjects.push(subject(&kind));
            columns.aggregate_ids.push(aggregate_id);
            columns.traceparents.push(traceparent);
            let event = Event {
                version,
                happened_at: Some(timestamp(happened_at)),
                kind: Some(kind),
            };
            columns.payloads.push(event.encode_to_vec());
        }
        columns
    }
}

/// The events that the relay has not published yet.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct OutboxBacklog {
    /// Number of events, counted up to 100,000.
    pub events: i32,
    /// Age of the oldest event in seconds; 0 if there is none.
    pub oldest_age_secs: f64,
}

/// Measures the backlog with the index of unpublished events.
///
/// # Errors
/// The database does not answer.
pub async fn measure_backlog(db: &DatabasePool) -> sqlx::Result<OutboxBacklog> {
    db.poll(|connection| count_unpublished(connection).boxed())
        .await
}

async fn count_unpublished(connection: &mut PgConnection) -> sqlx::Result<OutboxBacklog> {
    sqlx::query_as(
        "WITH waiting AS (
             SELECT created_at FROM outbox WHERE published_at IS NULL ORDER BY outbox_id LIMIT $1
         )
         SELECT count(*)::integer AS events,
                COALESCE(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
                    AS oldest_age_secs
         FROM waiting",
    )
    .bind(COUNTED_MAX)
    .fetch_one(connection)
    .await
}

/// Marks the events of the last `since_secs` seconds as unpublished, so that the relay publishes them again.
/// Consumers recognise by their inbox what they have handled. The inbox remembers little more than a week, so
/// older events are not published again.
///
/// # Errors
/// The database does not answer.
pub async fn mark_unpublished(
    db: &DatabasePool,
    since_secs: u32,
    operator: &str,
) -> sqlx::Result<u64> {
    let since_secs = since_secs.min(REPUBLISHED_SECS_MAX);
    let mut tx = db.begin().await?;
    let marked = sqlx::query(
        "UPDATE outbox SET published_at = NULL
         WHERE created_at > now() - make_interval(secs => $1) AND published_at IS NOT NULL",
    )
    .bind(f64::from(since_secs))
    .execute(&mut *tx)
    .await?;
    let command = format!("republish --since-secs {since_secs}");
    record_action(&mut tx, operator, &command).await?;
    tx.commit().await?;
    Ok(marked.rows_affected())
}

/// Marks the events of a restored outbox as unpublished that a consumer may not have handled at the restored
/// moment: those that the stream still kept then. The newest row tells when that was, since the moment may be
/// weeks ago. Returns how many events were marked.
///
/// # Errors
/// The database does not answer.
pub async fn mark_recent_unpublished(db: &DatabasePool) -> sqlx::Result<u64> {
    let mut tx = db.begin().await?;
    db::allow_full_scans(&mut tx).await?;
    let marked = sqlx::query(
        "UPDATE outbox SET published_at = NULL
         WHERE published_at IS NOT NULL
           AND created_at > (SELECT max(created_at) FROM outbox) - make_interval(secs => $1)",
    )
    .bind(STREAM_AGE_MAX.as_secs_f64())
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(marked.rows_affected())
}
