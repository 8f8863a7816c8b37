//! Lists the events in the stream whose transactions the restored database does not have.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use async_nats::datetime::parse_rfc3339;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::Stream;
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;

use crate::db::{self, DatabasePool};
use crate::deadlines::{PeerKind, await_answer};
use crate::messaging::{HEADER_ID, HEADER_SUBJECT, HEADER_TIME, header};

/// Clocks of Postgres and NATS may differ by this much.
const CLOCKS_DIFFER_MAX: TimeDelta = TimeDelta::minutes(5);
/// Most events of one request.
const BATCH_EVENTS: usize = 1_000;
/// One request takes no longer.
const BATCH_MAX: Duration = Duration::from_secs(10);
/// Lost events are listed up to this number, which is far more than a restore should cost.
const LISTED_MAX: usize = 1_000_000;
/// The stream forgets this command so long after its last request.
const CONSUMER_KEPT: Duration = Duration::from_mins(1);

/// An event that the stream has, without its payload.
struct NamedEvent {
    outbox_id: i64,
    subject: String,
    aggregate_id: String,
    happened_at: String,
}

/// Prints every event of the service that was lost; returns the highest outbox id that the stream names, or 0.
pub(super) async fn print_lost(
    stream: &Stream,
    db: &DatabasePool,
    service: &str,
) -> anyhow::Result<i64> {
    let consumer = open_consumer(stream, service, load_last_event_time(db).await?).await?;
    let mut lost = BTreeMap::new();
    let mut highest_id = 0;
    loop {
        let named = fetch_events(&consumer, service).await?;
        let Some(last) = named.iter().map(|event| event.outbox_id).max() else {
            break;
        };
        highest_id = highest_id.max(last);
        lost.extend(keep_unknown(db, named).await?);
        ensure!(
            lost.len() <= LISTED_MAX,
            "{service} has lost more than {LISTED_MAX} events: is this the right database?"
        );
    }
    for event in lost.values() {
        let NamedEvent {
            outbox_id,
            subject,
            aggregate_id,
            happened_at,
        } = event;
        println!("lost: {happened_at} {subject} of {aggregate_id} ({service}-{outbox_id})");
    }
    println!("{service}: {} events were lost", lost.len());
    Ok(highest_id)
}

/// The commit of everything that was lost is later than the newest row.
async fn load_last_event_time(db: &DatabasePool) -> sqlx::Result<Option<DateTime<Utc>>> {
    let mut tx = db.begin().await?;
    db::allow_full_scans(&mut tx).await?;
    let newest = sqlx::query_scalar("SELECT max(created_at) FROM outbox")
        .fetch_one(&mut *tx)
        .await?;
    tx.rollback().await?;
    Ok(newest)
}

async fn open_consumer(
    stream: &Stream,
    service: &str,
    newest: Option<DateTime<Utc>>,
) -> anyhow::Result<PullConsumer> {
    let deliver_policy = match newest {
        Some(newest) => {
            let start_time = parse_rfc3339(&(newest - CLOCKS_DIFFER_MAX).to_rfc3339());
            let start_time = start_time.map_err(anyhow::Error::from_boxed)?;
            DeliverPolicy::ByStartTime { start_time }
        }
        None => DeliverPolicy::All,
    };
    let config = pull::Config {
        filter_subject: format!("events.{service}.>"),
        deliver_policy,
        ack_policy: AckPolicy::None,
        headers_only: true,
        inactive_threshold: CONSUMER_KEPT,
        memory_storage: true,
        ..pull::Config::default()
    };
    Ok(stream.create_consumer(config).await?)
}

/// Fetches the next events of the service; none at the end of the stream.
async fn fetch_events(consumer: &PullConsumer, service: &str) -> anyhow::Result<Vec<NamedEvent>> {
    let fetching = async {
        let messages = consumer.fetch().max_messages(BATCH_EVENTS).messages().await;
        let messages: Vec<Message> = messages?
            .try_collect()
            .await
            .map_err(anyhow::Error::from_boxed)?;
        anyhow::Ok(messages)
    };
    let messages = await_answer(PeerKind::Nats, BATCH_MAX, fetching).await??;
    let read = |message: &Message| read_event(message, service);
    messages.iter().map(read).collect()
}

fn read_event(message: &Message, service: &str) -> anyhow::Result<NamedEvent> {
    let headers = message.headers.clone().unwrap_or_default();
    let id = header(&headers, HEADER_ID).unwrap_or_default();
    let outbox_id = id.strip_prefix(service).and_then(|id| id.strip_prefix('-'));
    let outbox_id = outbox_id.and_then(|id| id.parse().ok());
    Ok(NamedEvent {
        outbox_id: outbox_id.with_context(|| format!("the stream has an event named {id:?}"))?,
        subject: message.subject.to_string(),
        aggregate_id: header(&headers, HEADER_SUBJECT).unwrap_or_default(),
        happened_at: header(&headers, HEADER_TIME).unwrap_or_default(),
    })
}

/// Keeps the events that the outbox does not have, by their id.
async fn keep_unknown(
    db: &DatabasePool,
    named: Vec<NamedEvent>,
) -> sqlx::Result<impl Iterator<Item = (i64, NamedEvent)>> {
    let ids: Vec<i64> = named.iter().map(|event| event.outbox_id).collect();
    let unknown: Vec<i64> = sqlx::query_scalar(
        "SELECT named.id FROM unnest($1::bigint[]) AS named (id)
         WHERE NOT EXISTS (SELECT FROM outbox WHERE outbox_id = named.id)",
    )
    .bind(ids)
    .fetch_all(&mut *db.acquire().await?)
    .await?;
    let events = named.into_iter().map(|event| (event.outbox_id, event));
    Ok(events.filter(move |(id, _)| unknown.contains(id)))
}
