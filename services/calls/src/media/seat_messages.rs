//! Messages for the gateways that serve the sockets of a seat.

use std::time::Duration;

use async_nats::connection::State;
use futures::future::join_all;
use prost::Message as _;
use talktime_proto::calls::seat_subject;
use talktime_proto::calls::v1::SeatMessage;
use talktime_proto::calls::v1::seat_message::Kind;
use tokio::time::timeout;

/// Time limit for NATS, which only buffers the message.
const PUBLISH_TIMEOUT: Duration = Duration::from_millis(200);

/// Publishes messages about seats; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct SeatMessenger {
    pub(super) nats: async_nats::Client,
}

impl SeatMessenger {
    pub(crate) fn new(nats: async_nats::Client) -> Self {
        Self { nats }
    }

    /// Publishes a message for each of these users. A lost one does no harm: an app learns of its seat with its
    /// next report.
    pub(crate) async fn publish(&self, call_id: i64, messages: Vec<(i64, Kind)>) {
        // A client without a connection would buffer the messages and send outdated ones later.
        if self.nats.connection_state() != State::Connected {
            return;
        }
        let sent = messages.into_iter().map(|(user_id, kind)| {
            let message = SeatMessage {
                call_id,
                kind: Some(kind),
            };
            let payload = message.encode_to_vec().into();
            timeout(
                PUBLISH_TIMEOUT,
                self.nats.publish(seat_subject(user_id), payload),
            )
        });
        for sent in join_all(sent).await {
            if !matches!(sent, Ok(Ok(()))) {
                tracing::debug!(
                    call_id,
                    "failed to publish a message about a seat; the next report of the app replaces it"
                );
            }
        }
    }
}
