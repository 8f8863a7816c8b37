//! Events as they travel over NATS.

use futures::StreamExt;
use prost::Message as _;
use talktime_proto::events::v1::Event;
use talktime_proto::events::v1::event::Kind;

use crate::{WAIT_MAX, read_variable};

/// What is published from now on.
pub struct EventLog {
    heard: async_nats::Subscriber,
}

impl EventLog {
    /// Listens to subjects, such as `events.wallet.>`.
    pub async fn subscribe(subjects: &'static str) -> Self {
        let nats = async_nats::connect(read_variable("NATS_URL"));
        let nats = nats.await.expect("NATS is up");
        let heard = nats.subscribe(subjects).await.expect("subscribed");
        // The server has taken the subscription when it has answered what was sent after it.
        nats.flush().await.expect("flushed");
        Self { heard }
    }

    /// The next event that fits, up to [`WAIT_MAX`]; others are passed over.
    pub async fn receive_matching(&mut self, fits: impl Fn(&Kind) -> bool) -> Event {
        let heard = async {
            loop {
                let message = self.heard.next().await.expect("NATS stays up");
                let event = Event::decode(message.payload).expect("an event");
                if event.kind.as_ref().is_some_and(&fits) {
                    return event;
                }
            }
        };
        let heard = tokio::time::timeout(WAIT_MAX, heard).await;
        heard.unwrap_or_else(|_| panic!("no such event within {WAIT_MAX:?}"))
    }
}
