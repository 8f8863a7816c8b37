//! Durable consumers: the effect of a message and its inbox row share a transaction, and the message is
//! acknowledged after the commit.

use std::collections::HashSet;
use std::future::Future;
use std::time::{Duration, Instant};

use crate::db::{DatabasePool, PgConnection};
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::{self, AckKind};
use futures::{Stream, StreamExt};
use prost::{DecodeError, Message as _};
use talktime_proto::events::STREAM_NAME;
use talktime_proto::events::consumers::DurableConsumer;
use talktime_proto::events::v1::Event;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::message::DeliveredMessage;
use super::origin::{ForeignEvent, check_origin, register_refusals};
use super::{HEADER_ID, HEADER_SOURCE, dead_letters, header, open_jetstream, pacing_interval};
use crate::deadlines::{NATS_REQUEST, PeerKind, await_answer};
use crate::error::{Error, chain};
use crate::progress::LoopProgress;
use crate::trace::{self, TRACEPARENT};

/// Greatest number of messages that are delivered and not yet acknowledged.
const UNACKNOWLEDGED_MAX: i64 = 1_024;
/// A message that a process took and never answered, because it died, is delivered again after this time.
/// Until then the events in its hands are late for everyone.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// After this number of failures a message becomes a dead letter.
const ATTEMPTS_MAX: i64 = 8;
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
const RECONNECT_DELAY: Duration = Duration::from_millis(500);
/// A request for messages is renewed after this time. In between the server sends heartbeats. A server that has
/// lost its storage sends none, and after two missing heartbeats the consumer is created again.
const PULL_EXPIRES: Duration = Duration::from_secs(20);
const PULL_HEARTBEAT: Duration = Duration::from_secs(2);
/// Shortest time between two transactions, so that a busy consumer handles many events in one. The first event
/// after a pause does not wait.
const PACE: Duration = Duration::from_millis(40);
/// A consumer without events counts as turning this often.
const IDLE_TURN: Duration = Duration::from_secs(10);
/// A message takes less than this, since every wait of its handling ends by its own deadline.
pub(crate) const TURN_MAX: Duration = Duration::from_mins(2);
/// Fetched messages are available at once; a message that takes longer has not been fetched.
const FETCHED_WAIT: Duration = Duration::from_millis(50);

/// Handles the events of a consumer.
pub trait EventHandler: Send + Sync + 'static {
    /// Greatest number of messages that share a transaction. Many messages in one are faster, but their row
    /// locks are held together. More than one is only for handlers that take all locks in one order.
    const MESSAGES_PER_TRANSACTION_MAX: usize = 1;

    /// Returns whether the event concerns this service. Other events are acknowledged without a row in the
    /// inbox.
    fn wants(&self, _event: &Event) -> bool {
        true
    }

    /// Applies the event within the transaction that also inserts it into the inbox.
    ///
    /// # Errors
    /// An error of the kind [`crate::Kind::Unavailable`] is retried indefinitely with backoff, any other one a
    /// few times before the event becomes a dead letter.
    fn handle(
        &self,
        tx: &mut PgConnection,
        event: Event,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Applies several events in their order. By default they are handled one after the other; a handler may
    /// combine them into fewer statements.
    ///
    /// # Errors
    /// As [`EventHandler::handle`]. The events are then handled one by one.
    fn handle_all(
        &self,
        tx: &mut PgConnection,
        events: Vec<ReceivedEvent>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        async move {
            for ReceivedEvent { event, span } in events {
                self.handle(tx, event).instrument(span).await?;
            }
            Ok(())
        }
    }

    /// Runs after the commit of a transaction with effects.
    fn committed(&self) {}
}

/// An event that is new to a consumer.
#[derive(Clone, Debug)]
pub struct ReceivedEvent {
    /// The decoded event.
    pub event: Event,
    /// The span of its handling, within the trace that the event belongs to.
    pub span: Span,
}

/// Consumes until `stopping` is cancelled. Reconnects, and creates the consumer again if it is missing.
pub async fn run<H: EventHandler>(
    consumer: DurableConsumer,
    handler: H,
    pool: DatabasePool,
    nats: async_nats::Client,
    progress: LoopProgress,
    stopping: CancellationToken,
) {
    let jetstream = open_jetstream(nats);
    // The counter starts at zero, so that the first increment is visible as one.
    metrics::counter!("dead_letters_total", "consumer" => consumer.name).increment(0);
    register_refusals(consumer.name);
    while !stopping.is_cancelled() {
        progress.record_turn();
        let consumed = consume(consumer, &handler, &pool, &jetstream, &progress, &stopping);
        if let Err(error) = consumed.await {
            tracing::warn!(
                consumer = consumer.name,
                error = format!("{error:#}"),
                "failed to consume events; the consumer reconnects"
            );
            tokio::select! {
                () = tokio::time::sleep(RECONNECT_DELAY) => {}
                () = stopping.cancelled() => {}
            }
        }
    }
}

async fn consume<H: EventHandler>(
    consumer: DurableConsumer,
    handler: &H,
    pool: &DatabasePool,
    jetstream: &jetstream::Context,
    progress: &LoopProgress,
    stopping: &CancellationToken,
) -> anyhow::Result<()> {
    let stream = jetstream.get_stream_no_info(STREAM_NAME).await?;
    let pull_consumer = stream
        .get_or_create_consumer(consumer.name, pull_config(consumer))
        .await?;
    let pulling = pull_consumer
        .stream()
        .expires(PULL_EXPIRES)
        .heartbeat(PULL_HEARTBEAT)
        .messages();
    let mut chunks = await_answer(PeerKind::Nats, NATS_REQUEST, pulling)
        .await??
        .ready_chunks(H::MESSAGES_PER_TRANSACTION_MAX);
    // A handler of single events gains nothing from waiting for more of them.
    let mut pace = (H::MESSAGES_PER_TRANSACTION_MAX > 1).then(|| pacing_interval(PACE));
    loop {
        progress.record_turn();
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        let chunk = tokio::select! {
            chunk = chunks.next() => chunk,
            // Without events the loop turns all the same.
            () = tokio::time::sleep(IDLE_TURN) => continue,
            () = stopping.cancelled() => return return_fetched(&mut chunks).await,
        };
        let Some(chunk) = chunk else { return Ok(()) };
        let deliveries = chunk.into_iter().collect::<Result<Vec<_>, _>>()?;
        let deliveries = refuse_foreign(consumer, deliveries).await?;
        handle_chunk(consumer, handler, pool, &deliveries, progress).await?;
    }
}

/// Returns messages that were fetched in advance to the other replicas; without an answer they would be
/// redelivered only after [`ACK_WAIT`]. They are delayed a little, so that they are not delivered here again.
async fn return_fetched<S, E>(chunks: &mut S) -> anyhow::Result<()>
where
    S: Stream<Item = Vec<Result<jetstream::Message, E>>> + Unpin,
{
    for _ in 0..UNACKNOWLEDGED_MAX {
        let fetched = tokio::time::timeout(FETCHED_WAIT, chunks.next()).await;
        let Ok(Some(chunk)) = fetched else { break };
        for delivery in chunk.into_iter().flatten() {
            acknowledge(&delivery, AckKind::Nak(Some(BACKOFF_FIRST))).await?;
        }
    }
    Ok(())
}

fn pull_config(consumer: DurableConsumer) -> pull::Config {
    pull::Config {
        durable_name: Some(consumer.name.to_owned()),
        filter_subject: consumer.filter.to_owned(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: UNACKNOWLEDGED_MAX,
        // Attempts are counted here, not by the server, which would drop the message silently.
        max_deliver: -1,
        ..pull::Config::default()
    }
}

/// A message with its event, which is decoded once for all attempts to handle it.
struct DecodedDelivery {
    delivery: jetstream::Message,
    message: DeliveredMessage,
    event: Result<Event, DecodeError>,
}

impl DecodedDelivery {
    fn decode(delivery: jetstream::Message) -> Self {
        Self {
            message: message_from(&delivery),
            event: Event::decode(delivery.payload.clone()),
            delivery,
        }
    }

    /// A message that is no event is left to its handling, which fails with the reason.
    fn check_origin(&self) -> Result<(), ForeignEvent> {
        let Ok(event) = &self.event else {
            return Ok(());
        };
        let source = self.delivery.headers.as_ref();
        let source = source.and_then(|headers| header(headers, HEADER_SOURCE));
        check_origin(&self.message.subject, source.as_deref(), event)
    }

    fn event(&self) -> Result<&Event, Error> {
        self.event.as_ref().map_err(|error| {
            Error::invalid("undecodable_event", "Not an event.").with_source(error.clone())
        })
    }
}

/// Takes messages out whose event is not of their subject, and ends their delivery: it would be as wrong the next time.
async fn refuse_foreign(
    consumer: DurableConsumer,
    deliveries: Vec<jetstream::Message>,
) -> anyhow::Result<Vec<DecodedDelivery>> {
    let mut own = Vec::with_capacity(deliveries.len());
    for decoded in deliveries.into_iter().map(DecodedDelivery::decode) {
        match decoded.check_origin() {
            Ok(()) => own.push(decoded),
            Err(foreign) => {
                foreign.record_refusal(consumer.name);
                acknowledge(&decoded.delivery, AckKind::Term).await?;
            }
        }
    }
    Ok(own)
}

/// Handles a chunk in one transaction; if any of it fails, each message in its own.
async fn handle_chunk<H: EventHandler>(
    consumer: DurableConsumer,
    handler: &H,
    pool: &DatabasePool,
    deliveries: &[DecodedDelivery],
    progress: &LoopProgress,
) -> anyhow::Result<()> {
    if handle_and_measure(consumer, handler, pool, deliveries)
        .await
        .is_ok()
    {
        for decoded in deliveries {
            acknowledge(&decoded.delivery, AckKind::Ack).await?;
        }
        return Ok(());
    }
    for decoded in deliveries {
        progress.record_turn();
        let one = std::slice::from_ref(decoded);
        let answer = match handle_and_measure(consumer, handler, pool, one).await {
            Ok(()) => AckKind::Ack,
            Err(error) => handle_failure(consumer, pool, decoded, &error).await,
        };
        acknowledge(&decoded.delivery, answer).await?;
    }
    Ok(())
}

fn message_from(delivery: &jetstream::Message) -> DeliveredMessage {
    let from_header = |name| {
        delivery
            .headers
            .as_ref()
            .and_then(|headers| header(headers, name))
    };
    let stream_sequence = delivery
        .info()
        .map(|info| info.stream_sequence)
        .unwrap_or_default();
    DeliveredMessage {
        id: from_header(HEADER_ID).unwrap_or_else(|| format!("stream-{stream_sequence}")),
        subject: delivery.subject.to_string(),
        payload: delivery.payload.clone(),
        traceparent: from_header(TRACEPARENT),
    }
}

/// Handles messages in one transaction and records the duration.
async fn handle_and_measure<H: EventHandler>(
    consumer: DurableConsumer,
    handler: &H,
    pool: &DatabasePool,
    deliveries: &[DecodedDelivery],
) -> Result<(), Error> {
    let started = Instant::now();
    let handled = handle_in_transaction(consumer, handler, pool, deliveries).await;
    let outcome = if handled.is_ok() { "done" } else { "failed" };
    metrics::histogram!(
        "event_transaction_duration_seconds", "consumer" => consumer.name, "outcome" => outcome
    )
    .record(started.elapsed());
    handled
}

async fn handle_in_transaction<H: EventHandler>(
    consumer: DurableConsumer,
    handler: &H,
    pool: &DatabasePool,
    deliveries: &[DecodedDelivery],
) -> Result<(), Error> {
    let mut wanted = Vec::with_capacity(deliveries.len());
    for decoded in deliveries {
        let event = decoded.event()?;
        if handler.wants(event) {
            wanted.push((&decoded.message, event));
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let mut tx = pool.begin().await?;
    let mut new = insert_inbox_rows(&mut tx, consumer.name, &wanted).await?;
    wanted.retain(|(message, _)| new.remove(&message.id));
    let effects = !wanted.is_empty();
    let received = wanted.into_iter().map(|(message, event)| ReceivedEvent {
        event: event.clone(),
        span: event_span(consumer, message),
    });
    handler.handle_all(&mut tx, received.collect()).await?;
    tx.commit().await?;
    if effects {
        handler.committed();
    }
    Ok(())
}

fn event_span(consumer: DurableConsumer, message: &DeliveredMessage) -> Span {
    let span = tracing::info_span!(
        "event",
        otel.name = %message.subject,
        otel.kind = "consumer",
        consumer = consumer.name,
        trace_id = tracing::field::Empty,
    );
    trace::adopt(&span, message.traceparent.as_deref());
    span
}

/// Inserts messages into the inbox and returns the ids of those that are new to this consumer.
async fn insert_inbox_rows(
    tx: &mut PgConnection,
    consumer: &str,
    wanted: &[(&DeliveredMessage, &Event)],
) -> sqlx::Result<HashSet<String>> {
    let ids: Vec<&str> = wanted
        .iter()
        .map(|(message, _)| message.id.as_str())
        .collect();
    // The rows are inserted in one order, so that two replicas with the same messages do not deadlock.
    let new: Vec<String> = sqlx::query_scalar(
        "INSERT INTO inbox (consumer, message_id)
         SELECT $1, message_id FROM unnest($2::text[]) AS came (message_id) ORDER BY message_id
         ON CONFLICT DO NOTHING RETURNING message_id",
    )
    .bind(consumer)
    .bind(ids)
    .fetch_all(tx)
    .await?;
    Ok(new.into_iter().collect())
}

/// Decides whether a message that failed is delivered again or becomes a dead letter.
async fn handle_failure(
    consumer: DurableConsumer,
    pool: &DatabasePool,
    decoded: &DecodedDelivery,
    error: &Error,
) -> AckKind {
    let DecodedDelivery {
        delivery, message, ..
    } = decoded;
    let attempts = delivery.info().map_or(1, |info| info.delivered);
    let reason = chain(error);
    tracing::warn!(
        consumer = consumer.name,
        message_id = message.id,
        attempts,
        reason,
        "failed to handle event; it is retried or becomes a dead letter"
    );
    let is_temporary = error.kind() == crate::ErrorKind::Unavailable;
    if is_temporary || attempts < ATTEMPTS_MAX {
        return AckKind::Nak(Some(backoff_after(attempts)));
    }
    match dead_letters::insert(pool, consumer.name, message, &reason).await {
        Ok(()) => AckKind::Term,
        Err(_) => AckKind::Nak(Some(BACKOFF_MAX)),
    }
}

fn backoff_after(attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts.clamp(1, 16) - 1).unwrap_or_default();
    BACKOFF_FIRST
        .saturating_mul(1 << doublings)
        .min(BACKOFF_MAX)
}

async fn acknowledge(delivery: &jetstream::Message, answer: AckKind) -> anyhow::Result<()> {
    // Without a connection the client's queue fills up, and then this waits for room in it.
    await_answer(PeerKind::Nats, NATS_REQUEST, delivery.ack_with(answer))
        .await?
        .map_err(|error| anyhow::anyhow!("acknowledging: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_bound() {
        assert_eq!(backoff_after(1), Duration::from_millis(200));
        assert_eq!(backoff_after(3), Duration::from_millis(800));
        assert_eq!(backoff_after(i64::MAX), BACKOFF_MAX);
    }
}
