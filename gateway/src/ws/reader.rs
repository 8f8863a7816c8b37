//! Reads the messages of a channel for one socket.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::watch;

use super::channel::SocketChannel;
use super::sequence::latest_event_seq;
use super::status_log::{
    OutdatedCursorError, StatusChangeFormat, StatusMessage, StatusMessageCause,
};
use super::stream_state::EventStreamState;
use super::viewer::SocketViewer;

/// Users that one socket may subscribe to.
pub(super) const SUBSCRIBED_MAX: usize = 1_000;

/// Reads the messages of a channel that one user may see.
pub(super) struct SocketChannelReader {
    stream: Arc<EventStreamState>,
    channel: SocketChannel,
    viewer: Arc<SocketViewer>,
    cursor: u64,
    format: StatusChangeFormat,
    /// Empty for a socket that receives messages about all users.
    subscribed: HashSet<i64>,
    updates: watch::Receiver<()>,
}

/// The position at which a client stopped reading, and the format in which it reads changes.
#[derive(Clone, Debug, Default)]
pub(super) struct SocketResumeRequest {
    pub(super) stream_id: Option<String>,
    pub(super) since: Option<u64>,
    /// Whether the client sent a position at all, even an invalid one.
    pub(super) is_present: bool,
    pub(super) format: StatusChangeFormat,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ReaderStartPosition {
    /// The reader begins with the next message.
    FromNow,
    /// The reader begins with the messages that the client missed.
    Resumed,
    /// Some of the missed messages were dropped, so the client needs a snapshot.
    NeedsSnapshot,
}

impl SocketChannelReader {
    pub(super) fn new(
        stream: Arc<EventStreamState>,
        channel: SocketChannel,
        viewer: Arc<SocketViewer>,
        resume: &SocketResumeRequest,
    ) -> (Self, ReaderStartPosition) {
        // Subscribe before the position is determined, so that no message in between stays unread.
        let updates = if channel.is_public() {
            stream.statuses(channel).updates.subscribe()
        } else {
            viewer.message_updates.subscribe()
        };
        let since = resume
            .since
            .map(latest_event_seq)
            .filter(|_| resume.stream_id.as_ref() == Some(&stream.id));
        let extent = stream.channel_extent(channel, since);
        let (cursor, start) = match since {
            Some(since) if extent.is_complete => (since, ReaderStartPosition::Resumed),
            _ if resume.is_present => (extent.newest_seq, ReaderStartPosition::NeedsSnapshot),
            _ => (extent.newest_seq, ReaderStartPosition::FromNow),
        };
        let reader = Self {
            stream,
            channel,
            viewer,
            cursor,
            format: resume.format,
            subscribed: HashSet::new(),
            updates,
        };
        (reader, start)
    }

    /// Waits until there may be more to read.
    pub(super) async fn wait_for_update(&mut self) {
        // A socket that was busy, such as one with a slow client, has its turn late for a reason of its own.
        let is_waiting = !self.updates.has_changed().unwrap_or(true);
        // The sender lives as long as the stream and the viewer, which this reader owns references to.
        let _ = self.updates.changed().await;
        if is_waiting && self.channel.is_public() {
            self.stream.wake_round.record_turn();
        }
    }

    pub(super) fn stream(&self) -> &Arc<EventStreamState> {
        &self.stream
    }

    /// Continues after the message with this number.
    pub(super) fn move_to(&mut self, cursor: u64) {
        self.cursor = cursor;
    }

    /// Returns the number of the last message that was read.
    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Reads about `max` messages and moves after them.
    pub(super) fn read_batch(&mut self, max: usize) -> Result<Vec<Utf8Bytes>, OutdatedCursorError> {
        let batch = if self.channel.is_public() {
            let log = &self.stream.statuses(self.channel).log;
            let log = log.read().unwrap_or_else(PoisonError::into_inner);
            self.viewer.with_hidden_users(|hidden| {
                log.read(self.cursor, max, self.format, |message| {
                    self.is_wanted(message, hidden)
                })
            })?
        } else {
            let log = self.stream.user_messages(self.channel);
            let log = log.read().unwrap_or_else(PoisonError::into_inner);
            log.read(self.viewer.user_id, self.cursor, max)?
        };
        self.cursor = batch.cursor;
        Ok(batch.texts)
    }

    fn is_wanted(&self, message: &StatusMessage, hidden: &HashSet<i64>) -> bool {
        let is_subscribed = if self.subscribed.is_empty() {
            message.cause != (StatusMessageCause::Heartbeat { is_for_all: false })
        } else {
            self.subscribed.contains(&message.user_id)
        };
        is_subscribed && !hidden.contains(&message.user_id)
    }

    /// Returns whether the socket may mention this user.
    pub(super) fn may_see(&self, user_id: i64) -> bool {
        let is_listed =
            self.channel != SocketChannel::Feed || !self.stream.unverified.contains(user_id);
        let is_hidden = |hidden: &HashSet<i64>| hidden.contains(&user_id);
        is_listed && !self.viewer.with_hidden_users(is_hidden)
    }

    /// Adds users to the subscription. Returns false, and changes nothing, if there would be too many.
    pub(super) fn subscribe(&mut self, user_ids: Vec<i64>) -> bool {
        let new = user_ids.iter().filter(|id| !self.subscribed.contains(id));
        if self.subscribed.len() + new.count() > SUBSCRIBED_MAX {
            return false;
        }
        self.subscribed.extend(user_ids);
        true
    }

    /// Removes users from the subscription, or all of them. Without a subscription, the socket receives messages
    /// about all users.
    pub(super) fn unsubscribe(&mut self, user_ids: Option<Vec<i64>>) {
        match user_ids {
            Some(user_ids) => {
                for user_id in user_ids {
                    self.subscribed.remove(&user_id);
                }
            }
            None => self.subscribed.clear(),
        }
        self.subscribed.shrink_to_fit();
    }

    /// Returns the subscribed users in order; none when the socket receives messages about all users.
    pub(super) fn subscribed_user_ids(&self) -> Vec<i64> {
        let mut user_ids: Vec<i64> = self.subscribed.iter().copied().collect();
        user_ids.sort_unstable();
        user_ids
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_was_busy_does_not_count_for_the_cost_of_a_round() {
        const LATE: Duration = Duration::from_millis(5);
        let ended = CancellationToken::new();
        let stream = Arc::new(EventStreamState::new("e".to_owned(), 0, ended));
        let (channel, viewer) = (SocketChannel::Presence, Arc::new(SocketViewer::new(1)));
        let resume = SocketResumeRequest::default();
        let (mut reader, _) = SocketChannelReader::new(stream.clone(), channel, viewer, &resume);
        let wake_late = async || {
            stream.wake_round.begin();
            stream.statuses(channel).updates.send_replace(());
            advance(LATE).await;
        };
        wake_late().await;
        reader.wait_for_update().await;
        assert_eq!(stream.wake_round.cost(), Duration::ZERO);
        tokio::join!(reader.wait_for_update(), wake_late());
        assert_eq!(stream.wake_round.cost(), LATE);
    }
}
