//! Hears of every change of status and tells all sockets of this replica.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::ws::Utf8Bytes;
use futures::StreamExt;
use futures::stream::select;
use prost::Message as _;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, StatusChanged};
use talktime_proto::events::{LIVE_PRESENCE_SUBJECT, subject};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::message::{Outgoing, Status};

/// Messages that a socket may be behind before it is closed.
const BEHIND_MAX: usize = 1_024;

/// Tells sockets; cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    /// New with every start of a replica: its numbers begin anew.
    epoch: String,
    /// The newest message's number. Held while a message is sent or a socket joins, so that a
    /// socket's first message is the one after the number that its `hello` says.
    newest: Mutex<u64>,
    updates: broadcast::Sender<Update>,
}

/// A message, written once for all sockets.
#[derive(Clone, Debug)]
pub(super) struct Update {
    pub(super) seq: u64,
    pub(super) text: Utf8Bytes,
}

/// A socket's place among those who are told.
pub(super) struct Subscription {
    pub(super) seq: u64,
    pub(super) updates: broadcast::Receiver<Update>,
}

impl Hub {
    /// A hub that tells what [`Hub::run`] hears.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            epoch: Uuid::now_v7().to_string(),
            newest: Mutex::new(0),
            updates: broadcast::Sender::new(BEHIND_MAX),
        }))
    }

    /// Hears and tells until told to stop. The client reconnects and subscribes again by itself.
    pub async fn run(self, nats: async_nats::Client, stopping: CancellationToken) {
        // It belongs to the stream of events, and a plain subscriber hears it too: sockets need what
        // happens now, on every replica, and no durable consumer.
        let status_changed = subject(&Kind::StatusChanged(StatusChanged::default()));
        let subscribed = tokio::try_join!(
            nats.subscribe(status_changed),
            nats.subscribe(LIVE_PRESENCE_SUBJECT)
        );
        let (changes, signs) = match subscribed {
            Ok(subscriptions) => subscriptions,
            Err(error) => {
                tracing::error!(%error, "sockets will hear nothing");
                return;
            }
        };
        let changes = changes.map(|message| ("status_change", message.payload));
        let signs = signs.map(|message| ("presence_update", message.payload));
        let mut heard = select(changes, signs);
        loop {
            let next = tokio::select! {
                next = heard.next() => next,
                () = stopping.cancelled() => return,
            };
            let Some((kind, payload)) = next else { return };
            match Event::decode(payload) {
                Ok(event) => self.tell(kind, &event),
                Err(error) => tracing::warn!(%error, kind, "not an event"),
            }
        }
    }

    fn tell(&self, kind: &str, event: &Event) {
        let Some(Kind::StatusChanged(status)) = &event.kind else {
            return;
        };
        let mut newest = self.0.newest.lock().unwrap_or_else(PoisonError::into_inner);
        *newest += 1;
        // Fails only when nobody listens.
        let _ = self.0.updates.send(Update {
            seq: *newest,
            text: text_of(kind, event, status, *newest),
        });
    }

    pub(super) fn epoch(&self) -> &str {
        &self.0.epoch
    }

    pub(super) fn subscribe(&self) -> Subscription {
        let newest = self.0.newest.lock().unwrap_or_else(PoisonError::into_inner);
        Subscription {
            seq: *newest,
            updates: self.0.updates.subscribe(),
        }
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

fn text_of(kind: &str, event: &Event, status: &StatusChanged, seq: u64) -> Utf8Bytes {
    let happened_at = talktime_proto::datetime(event.happened_at.as_ref());
    Outgoing {
        r#type: kind,
        data: Status::from(status),
        timestamp: happened_at.unwrap_or_default(),
        seq,
    }
    .to_text()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::{Value, json};
    use talktime_proto::timestamp;

    use super::*;

    fn busy(user_id: i64) -> Event {
        let at = timestamp(DateTime::from_timestamp(1_700_000_000, 0).expect("valid"));
        Event {
            version: 3,
            happened_at: Some(at),
            kind: Some(Kind::StatusChanged(StatusChanged {
                user_id,
                username: "asha".to_owned(),
                is_online: true,
                is_busy: true,
                wait_time: Some(30),
                last_seen: Some(at),
            })),
        }
    }

    #[tokio::test]
    async fn a_socket_hears_what_comes_after_its_hello() {
        let hub = Hub::new();
        hub.tell("status_change", &busy(1));
        let mut subscription = hub.subscribe();
        hub.tell("status_change", &busy(2));
        assert_eq!(subscription.seq, 1);
        let update = subscription.updates.recv().await.expect("told");
        assert_eq!(update.seq, 2);
        let message: Value = serde_json::from_str(&update.text).expect("JSON");
        assert_eq!(
            message,
            json!({
                "type": "status_change",
                "data": {
                    "user_id": 2,
                    "username": "asha",
                    "is_online": true,
                    "is_busy": true,
                    "wait_time": 30,
                    "last_seen": "2023-11-14T22:13:20Z",
                    "is_available": false,
                },
                "timestamp": "2023-11-14T22:13:20Z",
                "seq": 2,
            })
        );
    }

    #[test]
    fn nobody_listening_is_fine() {
        Hub::new().tell("presence_update", &busy(1));
    }
}
