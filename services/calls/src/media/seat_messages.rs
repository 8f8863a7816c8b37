//! Messages for the gateways that serve the sockets of a seat, and for the relays that carry it.

use std::time::Duration;

use async_nats::connection::State;
use futures::future::join_all;
use prost::Message as _;
use talktime_kit::Error;
use talktime_proto::calls::v1::seat_message::Kind;
use talktime_proto::calls::v1::{RelayCut, SeatMessage};
use talktime_proto::calls::{relay_cut_subject, seat_subject};
use tokio::time::timeout;

/// Time limit for NATS, which only buffers the message.
const PUBLISH_TIMEOUT: Duration = Duration::from_millis(200);

/// Publishes messages about seats; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct SeatMessenger {
    nats: async_nats::Client,
}

impl SeatMessenger {
    pub(crate) fn new(nats: async_nats::Client) -> Self {
        Self { nats }
    }

    /// Publishes a message for each of these users. A lost one does no harm: an app learns of its seat with its
    /// next report.
    pub(crate) async fn publish(&self, call_id: i64, messages: Vec<(i64, Kind)>) {
        let sent = messages.into_iter().map(|(user_id, kind)| {
            let message = SeatMessage {
                call_id,
                kind: Some(kind),
            };
            self.send(seat_subject(user_id), message.encode_to_vec())
        });
        for sent in join_all(sent).await {
            if let Err(error) = sent {
                tracing::debug!(
                    %error,
                    call_id,
                    "failed to publish a message about a seat; the next report of the app replaces it"
                );
            }
        }
    }

    /// Orders a relay to cut these seats.
    pub(super) async fn publish_cut(
        &self,
        realm: &str,
        usernames: Vec<String>,
    ) -> Result<(), Error> {
        let order = RelayCut { usernames };
        self.send(relay_cut_subject(realm), order.encode_to_vec())
            .await
    }

    async fn send(&self, subject: String, payload: Vec<u8>) -> Result<(), Error> {
        // A client without a connection would buffer the message and send it when it is outdated.
        if self.nats.connection_state() != State::Connected {
            return Err(Error::internal("NATS is not connected"));
        }
        let publishing = self.nats.publish(subject, payload.into());
        let published = timeout(PUBLISH_TIMEOUT, publishing).await;
        published
            .map_err(|_elapsed| Error::internal("NATS did not take a message in time"))?
            .map_err(Error::internal)
    }
}
