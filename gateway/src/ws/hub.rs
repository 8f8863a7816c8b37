//! The center of the sockets of this replica: it applies events to the recent messages and to the users with
//! open sockets.

use std::sync::Arc;

use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::{Error, ErrorKind};
use talktime_proto::events::v1::Event;
use talktime_proto::events::v1::event::Kind;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::event_order::AggregateEventPlace;
use super::feed_removal::FeedRemover;
use super::sequence::seq_of_event;
use super::stream_state::EventStreamState;
use super::user_messages::user_messages;
use super::viewer_registry::{ViewerHandle, ViewerRegistry};
use crate::clients::{PresenceClient, ProfileClient};

/// The center of the sockets of this replica; cheap to clone.
#[derive(Clone)]
pub struct SocketHub(Arc<SocketHubParts>);

struct SocketHubParts {
    /// `None` until the stream of events was read for the first time.
    stream: watch::Sender<Option<Arc<EventStreamState>>>,
    viewers: ViewerRegistry,
    feed_remover: FeedRemover,
    require_verified: bool,
}

impl SocketHub {
    /// Creates a hub without a stream. It loads blocks from `profile`, and from `presence` the status of a
    /// listener who must leave the feed. With `require_verified` the feed shows verified listeners only.
    pub fn new(
        profile: ProfileClient,
        presence: PresenceClient,
        lifecycle: &ProcessLifecycle,
        require_verified: bool,
    ) -> Self {
        Self(Arc::new(SocketHubParts {
            stream: watch::Sender::new(None),
            viewers: ViewerRegistry::new(profile, lifecycle.clone()),
            feed_remover: FeedRemover::new(presence, lifecycle.clone()),
            require_verified,
        }))
    }

    /// Makes sockets check their access when tokens of their user are revoked, until `stopping` is cancelled.
    pub async fn watch_revocations(
        self,
        mut revoked: broadcast::Receiver<i64>,
        stopping: CancellationToken,
    ) {
        loop {
            let received = tokio::select! {
                received = revoked.recv() => received,
                () = stopping.cancelled() => return,
            };
            match received {
                Ok(user_id) => self.0.viewers.request_access_check(user_id),
                Err(RecvError::Lagged(_)) => self.0.viewers.request_all_access_checks(),
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Returns the current stream. Fails as unavailable until the stream of events was read.
    pub(super) fn stream(&self) -> Result<Arc<EventStreamState>, Error> {
        self.0.stream.borrow().clone().ok_or_else(|| {
            Error::new(
                ErrorKind::Unavailable,
                "events_unavailable",
                "Please try again in a moment.",
            )
        })
    }

    /// Waits until the stream of events was read for the first time.
    pub async fn wait_for_stream(&self) {
        // The sender is in `self`, so the channel stays open during the wait.
        let _ = self.0.stream.subscribe().wait_for(Option::is_some).await;
    }

    /// Makes new sockets read from this stream. Sockets of the previous one are closed and connect again.
    pub(super) fn switch_stream(&self, stream: Arc<EventStreamState>) {
        if let Some(previous) = self.0.stream.send_replace(Some(stream)) {
            previous.ended.cancel();
        }
    }

    /// Registers a user for a new socket and loads which users are hidden from them.
    pub(super) async fn register(&self, user_id: i64) -> Result<ViewerHandle, Error> {
        self.0.viewers.register(user_id).await
    }

    /// Returns whether any user has an open socket here.
    pub(super) fn has_viewers(&self) -> bool {
        !self.0.viewers.is_empty()
    }

    /// Applies an event of the stream. User messages are written only for an event that is newer than all
    /// earlier ones of its aggregate. A replayed dead letter has no `place`: its messages were written when it
    /// was first published.
    pub(super) fn apply_event(
        &self,
        stream: &Arc<EventStreamState>,
        stream_seq: u64,
        place: Option<AggregateEventPlace>,
        event: &Event,
    ) {
        self.0.viewers.apply_event(event);
        if self.0.require_verified {
            self.0.feed_remover.apply_verification(stream, event);
        }
        if let Some(Kind::StatusChanged(status)) = &event.kind {
            stream.push_change(stream_seq, event, status);
        }
        self.push_user_messages(stream, stream_seq, place, event);
        stream.set_position(stream_seq);
    }

    fn push_user_messages(
        &self,
        stream: &EventStreamState,
        stream_seq: u64,
        place: Option<AggregateEventPlace>,
        event: &Event,
    ) {
        let seq = seq_of_event(stream_seq);
        let messages = user_messages(event, seq);
        if messages.is_empty() || !place.is_some_and(|place| stream.advance_order(place)) {
            return;
        }
        for message in messages {
            let user_id = message.user_id;
            stream.push_user_message(seq, message);
            if let Some(viewer) = self.0.viewers.find(user_id) {
                viewer.message_updates.send_replace(());
            }
        }
    }
}
