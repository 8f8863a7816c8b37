//! Reads the stream of events in its order, and hears signs of life beside it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::stream::{Info, Stream};
use async_nats::jetstream::{self, Message};
use futures::StreamExt;
use prost::Message as _;
use talktime_kit::messaging::{HEADER_ID, HEADER_SUBJECT};
use talktime_kit::{Clock, messaging};
use talktime_proto::events::v1::{Event, SignsOfLife};
use talktime_proto::events::{LIVE_PRESENCE_SUBJECT, STREAM_SUBJECTS};
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;

use super::Hub;
use super::event_order::EventPlace;
use super::hub::Epoch;

/// Events from before our start that are read too: whoever comes from another replica may have
/// missed them.
const READ_BACK: u64 = 10_000;
/// Between two tries while the stream cannot be read.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How often we look whether the stream is still the one that we read.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Hub {
    /// Reads and tells until told to stop; takes up where it left off when NATS was away.
    pub async fn follow(self, nats: Client, stopping: CancellationToken) {
        let following = async {
            tokio::join!(self.read_for_ever(nats.clone()), self.hear_signs(nats));
        };
        tokio::select! {
            () = following => {}
            () = stopping.cancelled() => {}
        }
    }

    async fn read_for_ever(&self, nats: Client) {
        let jetstream = jetstream::new(nats);
        let mut reading = None;
        loop {
            if let Err(error) = self.read(&jetstream, &mut reading).await {
                let error = format!("{error:#}");
                tracing::warn!(error, "sockets wait for the stream of events");
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// Reads until something is wrong. `reading` is where the reading stands, in which epoch.
    async fn read(
        &self,
        jetstream: &jetstream::Context,
        reading: &mut Option<Reading>,
    ) -> anyhow::Result<()> {
        let mut stream = messaging::ensure_stream(jetstream).await?;
        let info = stream.info().await?.clone();
        let current = match reading.take() {
            Some(current) if current.is_of(&info) => reading.insert(current),
            _ => reading.insert(Reading::of(&info)),
        };
        let mut messages = messages_after(&stream, current.stream_seq).await?;
        let mut look = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        loop {
            current.begin_when_caught_up(self);
            let message = tokio::select! {
                message = messages.next() => message,
                _ = look.tick() => {
                    if current.is_of(stream.info().await?) {
                        continue;
                    }
                    return Ok(());
                }
            };
            match message {
                Some(message) => self.take(current, &message?),
                None => return Ok(()),
            }
        }
    }

    fn take(&self, reading: &mut Reading, message: &Message) {
        let Ok(info) = message.info() else { return };
        reading.stream_seq = info.stream_sequence;
        match Event::decode(message.payload.clone()) {
            Ok(event) => {
                self.hear(
                    &reading.epoch,
                    info.stream_sequence,
                    place_of(message),
                    &event,
                );
                // What is read of the past says nothing of how fast we are.
                if info.pending == 0 {
                    observe_delay(&event);
                }
            }
            Err(error) => tracing::warn!(%error, "not an event"),
        }
    }

    /// Never ends: without it sockets hear of changes alone.
    async fn hear_signs(&self, nats: Client) {
        match nats.subscribe(LIVE_PRESENCE_SUBJECT).await {
            Ok(mut signs) => {
                while let Some(message) = signs.next().await {
                    if let (Ok(epoch), Ok(signs)) =
                        (self.epoch(), SignsOfLife::decode(message.payload))
                    {
                        epoch.hear_signs(&signs);
                    }
                }
            }
            Err(error) => tracing::error!(%error, "sockets hear no signs of life"),
        }
        std::future::pending::<()>().await;
    }
}

/// Where the reading of a stream stands.
struct Reading {
    epoch: Arc<Epoch>,
    stream_seq: u64,
    /// Sockets come in when everything up to it was read.
    caught_up_at: u64,
    has_begun: bool,
}

impl Reading {
    fn of(info: &Info) -> Self {
        let last = info.state.last_sequence;
        let start = last.saturating_sub(READ_BACK);
        // What has left the stream is known to nobody.
        let start = start.max(info.state.first_sequence.saturating_sub(1));
        Self {
            epoch: Arc::new(Epoch::new(epoch_id(info), start)),
            stream_seq: start,
            caught_up_at: last,
            has_begun: false,
        }
    }

    /// Whether this is the stream that was read, and not one made after it was lost.
    fn is_of(&self, info: &Info) -> bool {
        self.epoch.id == epoch_id(info) && info.state.last_sequence >= self.stream_seq
    }

    fn begin_when_caught_up(&mut self, hub: &Hub) {
        if !self.has_begun && self.stream_seq >= self.caught_up_at {
            self.has_begun = true;
            tokio::spawn(self.epoch.clone().wake());
            hub.begin(self.epoch.clone());
        }
    }
}

/// The same on every replica: when the stream was made.
fn epoch_id(info: &Info) -> String {
    info.created.unix_timestamp_nanos().to_string()
}

async fn messages_after(stream: &Stream, stream_seq: u64) -> anyhow::Result<Ordered> {
    let consumer = stream
        .create_consumer(OrderedConfig {
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

fn place_of(message: &Message) -> Option<EventPlace> {
    let headers = message.headers.as_ref()?;
    let text = |name| headers.get(name).map(async_nats::HeaderValue::as_str);
    EventPlace::parse(text(HEADER_ID)?, text(HEADER_SUBJECT)?)
}

/// From what happened to its being told here.
fn observe_delay(event: &Event) {
    let happened_at = talktime_proto::datetime(event.happened_at.as_ref());
    let delay = happened_at.and_then(|at| (Clock::System.now() - at).to_std().ok());
    if let Some(delay) = delay {
        metrics::histogram!("ws_event_delay_seconds").record(delay);
    }
}
