//! Events that are published on NATS.

use futures::StreamExt;
use prost::Message as _;
use talktime_proto::events::v1::Event;
use talktime_proto::events::v1::event::Kind;

use crate::{WAIT_MAX, connect_nats};

/// The events that are published after the subscription.
pub struct EventLog {
    subscriber: async_nats::Subscriber,
}

impl EventLog {
    /// Subscribes to subjects, such as `events.wallet.>`.
    pub async fn subscribe(subjects: &'static str) -> Self {
        let nats = connect_nats().await;
        let subscriber = nats.subscribe(subjects).await.expect("subscribed");
        // The flush ensures that the server knows the subscription.
        nats.flush().await.expect("flushed");
        Self { subscriber }
    }

    /// Receives the next event that fits, within [`WAIT_MAX`], and skips others.
    pub async fn receive_matching(&mut self, fits: impl Fn(&Kind) -> bool) -> Event {
        let receiving = async {
            loop {
                let message = self.subscriber.next().await.expect("NATS stays up");
                let event = Event::decode(message.payload).expect("an event");
                if event.kind.as_ref().is_some_and(&fits) {
                    return event;
                }
            }
        };
        let received = tokio::time::timeout(WAIT_MAX, receiving).await;
        received.unwrap_or_else(|_| panic!("no such event within {WAIT_MAX:?}"))
    }
}
