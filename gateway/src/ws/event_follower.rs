//! Reads the stream of events in order, and the heartbeats that are published beside it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use async_nats::Client;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::stream::{Info, State, Stream};
use async_nats::jetstream::{self, Message};
use futures::StreamExt;
use prost::Message as _;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::messaging::{
    ForeignEvent, HEADER_ID, HEADER_SOURCE, HEADER_SUBJECT, check_origin, register_refusals,
};
use talktime_kit::progress::LoopProgress;
use talktime_kit::{Clock, messaging};
use talktime_proto::events::v1::{Event, SignsOfLife};
use talktime_proto::events::{LIVE_PRESENCE_SUBJECT, STREAM_NAME, STREAM_SUBJECTS};
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::SocketHub;
use super::event_order::AggregateEventPlace;
use super::stream_state::EventStreamState;

/// The name of this reader of the stream in metrics and logs.
const FOLLOWER: &str = "gateway";
/// Events from before the start of this replica that are read as well: a client that was connected to another
/// replica may have missed them.
const EVENTS_READ_BACK: u64 = 10_000;
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How often the follower checks whether the stream was replaced, or has events that it is not sent.
const STREAM_CHECK_EVERY: Duration = Duration::from_secs(2);
/// How often it does so while no socket is open.
const STREAM_CHECK_UNUSED_EVERY: Duration = Duration::from_secs(10);
/// The follower turns with each event and each check, and every wait for NATS ends by a deadline.
const TURN_MAX: Duration = Duration::from_mins(1);

/// Feeds the stream of events into the hub.
pub struct EventStreamFollower {
    hub: SocketHub,
    nats: Client,
    lifecycle: ProcessLifecycle,
}

impl EventStreamFollower {
    /// Creates a follower. It reads nothing until it runs.
    pub fn new(hub: SocketHub, nats: Client, lifecycle: ProcessLifecycle) -> Self {
        Self {
            hub,
            nats,
            lifecycle,
        }
    }

    /// Reads events until the process stops, and continues where it was after NATS was unavailable.
    pub async fn run(self) {
        let stopping = self.lifecycle.stopping();
        let following = async { tokio::join!(self.follow_events(), self.follow_heartbeats()) };
        stopping.run_until_cancelled(Box::pin(following)).await;
    }

    async fn follow_events(&self) {
        let jetstream = messaging::open_jetstream(self.nats.clone());
        let progress = self.lifecycle.register_loop("gateway.events", TURN_MAX);
        register_refusals(FOLLOWER);
        let mut reading = None;
        loop {
            if let Err(error) = self.read_stream(&jetstream, &mut reading, &progress).await {
                let error = format!("{error:#}");
                tracing::warn!(
                    error,
                    "failed to read the stream of events for sockets; will retry"
                );
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    /// Reads until an error occurs or the stream was replaced. `reading` keeps the position between calls.
    async fn read_stream(
        &self,
        jetstream: &jetstream::Context,
        reading: &mut Option<StreamReadPosition>,
        progress: &LoopProgress,
    ) -> anyhow::Result<()> {
        progress.record_turn();
        let mut stream = jetstream.get_stream(STREAM_NAME).await?;
        let info = stream.info().await?.clone();
        let current = match reading.take() {
            Some(current) if current.is_of(&info) => reading.insert(current),
            _ => reading.insert(StreamReadPosition::of(&info, &self.lifecycle.stopping())),
        };
        let mut messages = messages_after(&stream, current.stream_seq).await?;
        let mut check = interval_at(Instant::now() + STREAM_CHECK_EVERY, STREAM_CHECK_EVERY);
        let mut checked_at = Instant::now();
        let mut delivery = DeliveryCheck::default();
        loop {
            progress.record_turn();
            self.switch_when_caught_up(current);
            let message = tokio::select! {
                message = messages.next() => message,
                _ = check.tick() => {
                    let is_unused = !self.hub.has_viewers();
                    if is_unused && checked_at.elapsed() < STREAM_CHECK_UNUSED_EVERY {
                        continue;
                    }
                    checked_at = Instant::now();
                    let info = stream.info().await?;
                    if !current.is_of(info) {
                        return Ok(());
                    }
                    ensure!(
                        !delivery.is_stalled(current.stream_seq, &info.state),
                        "the stream has events that are not delivered"
                    );
                    continue;
                }
            };
            match message {
                Some(message) => self.apply_message(current, &message?),
                None => return Ok(()),
            }
        }
    }

    /// Lets sockets in once all events from before the start were read.
    fn switch_when_caught_up(&self, reading: &mut StreamReadPosition) {
        if reading.has_sockets || reading.stream_seq < reading.caught_up_at {
            return;
        }
        reading.has_sockets = true;
        let state = reading.state.clone();
        self.lifecycle.spawn(async move { state.run_waker().await });
        self.hub.switch_stream(reading.state.clone());
    }

    fn apply_message(&self, reading: &mut StreamReadPosition, message: &Message) {
        let Ok(info) = message.info() else { return };
        reading.stream_seq = info.stream_sequence;
        match Event::decode(message.payload.clone()) {
            Ok(event) => {
                if let Err(foreign) = check_message(message, &event) {
                    return foreign.record_refusal(FOLLOWER);
                }
                let place = place_of(message);
                self.hub
                    .apply_event(&reading.state, info.stream_sequence, place, &event);
                // Events from the past say nothing about the delay of new ones.
                if info.pending == 0 {
                    record_delay(&event);
                }
            }
            Err(error) => tracing::warn!(
                %error,
                stream_seq = info.stream_sequence,
                "failed to decode an event for sockets; it is skipped"
            ),
        }
    }

    /// Never ends: without heartbeats, sockets still receive changes.
    async fn follow_heartbeats(&self) {
        match self.nats.subscribe(LIVE_PRESENCE_SUBJECT).await {
            Ok(mut messages) => {
                while let Some(message) = messages.next().await {
                    if let (Ok(stream), Ok(heartbeats)) =
                        (self.hub.stream(), SignsOfLife::decode(message.payload))
                    {
                        stream.push_heartbeats(&heartbeats);
                    }
                }
            }
            Err(error) => tracing::error!(
                %error,
                "failed to subscribe to heartbeats; sockets receive changes of status only"
            ),
        }
        std::future::pending::<()>().await;
    }
}

/// The position in a stream that is being read.
struct StreamReadPosition {
    state: Arc<EventStreamState>,
    stream_seq: u64,
    /// Sockets are let in once everything up to this position was read.
    caught_up_at: u64,
    has_sockets: bool,
}

impl StreamReadPosition {
    fn of(info: &Info, stopping: &CancellationToken) -> Self {
        let last = info.state.last_sequence;
        let start = last.saturating_sub(EVENTS_READ_BACK);
        // Events that were deleted from the stream cannot be read.
        let start = start.max(info.state.first_sequence.saturating_sub(1));
        let ended = stopping.child_token();
        Self {
            state: Arc::new(EventStreamState::new(stream_id(info), start, ended)),
            stream_seq: start,
            caught_up_at: last,
            has_sockets: false,
        }
    }

    /// Returns whether this is still the same stream, and not one that was created after a loss.
    fn is_of(&self, info: &Info) -> bool {
        self.state.id == stream_id(info) && info.state.last_sequence >= self.stream_seq
    }
}

/// Notices a consumer that delivers nothing although the stream has more. A server that was cut off and is back may have
/// lost it, which the client would notice by missing heartbeats only after a multiple of the time.
#[derive(Default)]
struct DeliveryCheck {
    /// The position at the last check, if the stream had more.
    behind_at: Option<u64>,
}

impl DeliveryCheck {
    /// Returns whether nothing has been delivered since the last check although the stream had more then.
    fn is_stalled(&mut self, position: u64, stream: &State) -> bool {
        let is_behind = stream.messages > 0 && stream.last_sequence > position;
        let is_stalled = is_behind && self.behind_at == Some(position);
        self.behind_at = is_behind.then_some(position);
        is_stalled
    }
}

/// Returns the time of the stream's creation, which is the same for every replica.
fn stream_id(info: &Info) -> String {
    info.created.unix_timestamp_nanos().to_string()
}

async fn messages_after(stream: &Stream, stream_seq: u64) -> anyhow::Result<Ordered> {
    let consumer = stream
        .create_consumer(OrderedConfig {
            // NATS permits gateways the form of this request that names the consumer and its filter.
            name: Some(format!("{FOLLOWER}-{}", Uuid::now_v7().simple())),
            filter_subject: STREAM_SUBJECTS.to_owned(),
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: stream_seq + 1,
            },
            replay_policy: ReplayPolicy::Instant,
            ..OrderedConfig::default()
        })
        .await?;
    Ok(consumer.messages().await?)
}

fn check_message(message: &Message, event: &Event) -> Result<(), ForeignEvent> {
    let source = message.headers.as_ref();
    let source = source.and_then(|headers| headers.get(HEADER_SOURCE));
    check_origin(
        &message.subject,
        source.map(async_nats::HeaderValue::as_str),
        event,
    )
}

fn place_of(message: &Message) -> Option<AggregateEventPlace> {
    let headers = message.headers.as_ref()?;
    let text = |name| headers.get(name).map(async_nats::HeaderValue::as_str);
    AggregateEventPlace::parse(text(HEADER_ID)?, text(HEADER_SUBJECT)?)
}

/// Records the time from an event until its messages are ready for sockets.
fn record_delay(event: &Event) {
    let happened_at = talktime_proto::datetime(event.happened_at.as_ref());
    let delay = happened_at.and_then(|at| (Clock::System.now() - at).to_std().ok());
    if let Some(delay) = delay {
        metrics::histogram!("ws_event_delay_seconds").record(delay);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(messages: u64, last_sequence: u64) -> State {
        let state = serde_json::json!({
            "messages": messages, "bytes": 0, "first_seq": 1, "last_seq": last_sequence,
            "first_ts": "2027-01-01T00:00:00Z", "last_ts": "2027-01-01T00:00:00Z",
            "consumer_count": 1,
        });
        serde_json::from_value(state).expect("a state")
    }

    #[test]
    fn a_follower_that_is_behind_at_two_checks_is_stalled() {
        let mut check = DeliveryCheck::default();
        assert!(!check.is_stalled(5, &stream(9, 9)));
        assert!(check.is_stalled(5, &stream(9, 9)));
    }

    #[test]
    fn a_follower_that_gets_on_or_has_read_everything_is_not_stalled() {
        let mut check = DeliveryCheck::default();
        assert!(!check.is_stalled(5, &stream(9, 9)));
        assert!(!check.is_stalled(6, &stream(9, 9)));
        assert!(!check.is_stalled(9, &stream(9, 9)));
        assert!(!check.is_stalled(9, &stream(9, 9)));
    }

    #[test]
    fn a_stream_that_was_emptied_has_nothing_to_deliver() {
        let mut check = DeliveryCheck::default();
        assert!(!check.is_stalled(5, &stream(0, 9)));
        assert!(!check.is_stalled(5, &stream(0, 9)));
    }
}
