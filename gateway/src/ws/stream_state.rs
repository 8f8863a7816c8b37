//! The recent messages of one stream of events, stored once for all sockets of this replica.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures::FutureExt;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, SignsOfLife, StatusChanged};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::channel::SocketChannel;
use super::event_order::{AggregateEventOrder, AggregateEventPlace};
use super::sequence::{next_out_of_band_seq, seq_of_event};
use super::status_log::{StatusLog, StatusMessage};
use super::status_messages::{feed_change, feed_departure, presence_change, presence_heartbeat};
use super::unverified::UnverifiedListeners;
use super::user_message_log::UserMessageLog;
use super::user_messages::UserMessage;
use super::wake_round::SocketWakeRound;

/// Heartbeats that are sent to sockets without a subscription, in one second.
const HEARTBEATS_FOR_ALL_A_SECOND_MAX: u32 = 200;

/// The recent messages of one stream of events. A position in one stream means nothing in another.
pub(super) struct EventStreamState {
    /// Identifies the stream; sockets send it to clients as `epoch`.
    pub(super) id: String,
    /// Cancelled when another stream replaces this one, or when the process stops.
    pub(super) ended: CancellationToken,
    position: AtomicU64,
    /// The feed does not show these listeners. The set is empty where the feed shows everyone.
    pub(super) unverified: UnverifiedListeners,
    feed: PublicStatusChannel,
    presence: PublicStatusChannel,
    calls: RwLock<UserMessageLog>,
    notifications: RwLock<UserMessageLog>,
    /// Decides for which events user messages are written.
    order: Mutex<AggregateEventOrder>,
    has_changes: Notify,
    has_heartbeats: Notify,
    /// The latest round in which sockets of public channels were woken.
    pub(super) wake_round: SocketWakeRound,
    heartbeat_budget: Mutex<HeartbeatBroadcastBudget>,
}

/// The messages of a public channel.
pub(super) struct PublicStatusChannel {
    pub(super) log: RwLock<StatusLog>,
    /// Whether a message was added that the sockets were not woken for.
    has_news: AtomicBool,
    /// Changes when there is more to read.
    pub(super) updates: watch::Sender<()>,
}

/// The messages that a channel has at one moment.
pub(super) struct SocketChannelExtent {
    pub(super) newest_seq: u64,
    /// Whether the channel still has all messages after the position of the reader.
    pub(super) is_complete: bool,
}

/// Counts the heartbeats that were sent to everyone in the current second.
struct HeartbeatBroadcastBudget {
    since: Instant,
    spent: u32,
}

impl EventStreamState {
    /// Creates the state of the stream `id`, with no messages about events up to `stream_seq`. It ends with
    /// `ended`.
    pub(super) fn new(id: String, stream_seq: u64, ended: CancellationToken) -> Self {
        let seq = seq_of_event(stream_seq);
        let user_messages = || RwLock::new(UserMessageLog::starting_after(seq));
        Self {
            id,
            ended,
            position: AtomicU64::new(seq),
            unverified: UnverifiedListeners::default(),
            feed: PublicStatusChannel::starting_after(seq),
            presence: PublicStatusChannel::starting_after(seq),
            calls: user_messages(),
            notifications: user_messages(),
            order: Mutex::default(),
            has_changes: Notify::new(),
            has_heartbeats: Notify::new(),
            wake_round: SocketWakeRound::new(),
            heartbeat_budget: Mutex::new(HeartbeatBroadcastBudget::new()),
        }
    }

    /// Wakes the sockets of public channels when there are new messages, until the stream ends.
    pub(super) async fn run_waker(&self) {
        loop {
            tokio::select! {
                () = self.wait_for_messages() => {}
                () = self.ended.cancelled() => return,
            }
            tokio::join!(self.wake_round.gather(), self.wake_round.rest());
            // Messages that have arrived meanwhile need no wake of their own.
            let _ = self.has_changes.notified().now_or_never();
            let _ = self.has_heartbeats.notified().now_or_never();
            self.wake_round.begin();
            self.feed.wake_sockets();
            self.presence.wake_sockets();
        }
    }

    /// Waits for a change, or for heartbeats and the time in which a change may come. Heartbeats are as frequent as there
    /// are users, and nobody sees whether one is some milliseconds late.
    async fn wait_for_messages(&self) {
        let heartbeats = async {
            self.has_heartbeats.notified().await;
            self.wake_round.rest_longest().await;
        };
        tokio::select! {
            () = self.has_changes.notified() => {}
            () = heartbeats => {}
        }
    }

    /// Records that the stream was read up to this position.
    pub(super) fn set_position(&self, stream_seq: u64) {
        self.position
            .store(seq_of_event(stream_seq), Ordering::SeqCst);
    }

    fn position(&self) -> u64 {
        self.position.load(Ordering::SeqCst)
    }

    pub(super) fn statuses(&self, channel: SocketChannel) -> &PublicStatusChannel {
        match channel {
            SocketChannel::Feed => &self.feed,
            _ => &self.presence,
        }
    }

    pub(super) fn user_messages(&self, channel: SocketChannel) -> &RwLock<UserMessageLog> {
        match channel {
            SocketChannel::Calls => &self.calls,
            _ => &self.notifications,
        }
    }

    /// Returns the newest number of a channel.
    pub(super) fn newest_seq(&self, channel: SocketChannel) -> u64 {
        self.channel_extent(channel, None).newest_seq
    }

    /// Returns what a channel has for a reader that continues after `since`.
    pub(super) fn channel_extent(
        &self,
        channel: SocketChannel,
        since: Option<u64>,
    ) -> SocketChannelExtent {
        let position = self.position();
        if channel.is_public() {
            let log = &self.statuses(channel).log;
            let mut log = log.write().unwrap_or_else(PoisonError::into_inner);
            log.advance_to(position);
            SocketChannelExtent {
                newest_seq: log.newest(),
                is_complete: since.is_some_and(|since| log.is_complete_since(since)),
            }
        } else {
            let log = self.user_messages(channel);
            let mut log = log.write().unwrap_or_else(PoisonError::into_inner);
            log.advance_to(position);
            SocketChannelExtent {
                newest_seq: log.newest(),
                is_complete: since.is_some_and(|since| log.is_complete_since(since)),
            }
        }
    }

    /// Adds a change of a status to the public channels that show this user.
    pub(super) fn push_change(&self, stream_seq: u64, event: &Event, status: &StatusChanged) {
        let seq = seq_of_event(stream_seq);
        self.presence.push(seq, presence_change(seq, event, status));
        if self.unverified.contains(status.user_id) {
            // The feed has been sent `listener_offline` already.
        } else if status.is_listener {
            self.feed.push(seq, feed_change(seq, event, status));
        } else if self.feed.has_change_of(status.user_id) {
            self.feed.push(seq, feed_departure(seq, event, status));
        }
        self.has_changes.notify_one();
    }

    /// Adds heartbeats, which are not in the stream.
    pub(super) fn push_heartbeats(&self, heartbeats: &SignsOfLife) {
        for event in &heartbeats.statuses {
            if let Some(Kind::StatusChanged(status)) = &event.kind {
                let is_for_all = self.take_heartbeat_for_all();
                self.push_out_of_band(&self.presence, |seq| {
                    presence_heartbeat(seq, event, status, is_for_all)
                });
            }
        }
        self.has_heartbeats.notify_one();
    }

    /// Adds to the feed that a listener left it. Their status has this version and did not change.
    pub(super) fn push_departure(&self, version: i64, event: &Event, status: &StatusChanged) {
        self.push_out_of_band(&self.feed, |seq| StatusMessage {
            version,
            ..feed_departure(seq, event, status)
        });
        self.has_changes.notify_one();
    }

    /// Adds a message that is not in the stream, under a number between two events.
    fn push_out_of_band(
        &self,
        channel: &PublicStatusChannel,
        message_with: impl FnOnce(u64) -> StatusMessage,
    ) {
        let mut log = channel.log.write().unwrap_or_else(PoisonError::into_inner);
        log.advance_to(self.position());
        if let Some(seq) = next_out_of_band_seq(log.newest()) {
            log.push(seq, message_with(seq));
            channel.has_news.store(true, Ordering::SeqCst);
        }
    }

    /// Returns whether one more heartbeat may be sent to everyone in this second, and counts it.
    fn take_heartbeat_for_all(&self) -> bool {
        let budget = self.heartbeat_budget.lock();
        budget.unwrap_or_else(PoisonError::into_inner).take_one()
    }

    /// Records an event and returns whether it is newer than all earlier ones of its aggregate.
    pub(super) fn advance_order(&self, place: AggregateEventPlace) -> bool {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.advance(place)
    }

    pub(super) fn push_user_message(&self, seq: u64, message: UserMessage) {
        let log = self.user_messages(message.channel);
        let mut log = log.write().unwrap_or_else(PoisonError::into_inner);
        log.push(seq, message.user_id, message.text);
    }
}

impl PublicStatusChannel {
    fn starting_after(seq: u64) -> Self {
        Self {
            log: RwLock::new(StatusLog::starting_after(seq)),
            has_news: AtomicBool::new(false),
            updates: watch::Sender::new(()),
        }
    }

    fn push(&self, seq: u64, message: StatusMessage) {
        let mut log = self.log.write().unwrap_or_else(PoisonError::into_inner);
        log.push(seq, message);
        self.has_news.store(true, Ordering::SeqCst);
    }

    /// Wakes the sockets of this channel if it has something that they were not woken for. Sockets of the feed sleep
    /// through heartbeats.
    fn wake_sockets(&self) {
        if self.has_news.swap(false, Ordering::SeqCst) {
            self.updates.send_replace(());
        }
    }

    fn has_change_of(&self, user_id: i64) -> bool {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        log.has_change_of(user_id)
    }
}

impl HeartbeatBroadcastBudget {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            spent: 0,
        }
    }

    /// Counts a heartbeat; returns false if the budget of this second is spent.
    fn take_one(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            *self = Self::new();
        }
        self.spent += 1;
        self.spent <= HEARTBEATS_FOR_ALL_A_SECOND_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;
    use serde_json::{Value, json};
    use talktime_proto::timestamp;

    use super::super::status_log::StatusChangeFormat;
    use super::super::status_messages::LISTENER_OFFLINE;
    use super::*;

    fn stream(stream_seq: u64) -> EventStreamState {
        EventStreamState::new("e".to_owned(), stream_seq, CancellationToken::new())
    }

    fn listener_status(user_id: i64, version: i64) -> Event {
        status(user_id, version, true)
    }

    fn user_status(user_id: i64, version: i64) -> Event {
        status(user_id, version, false)
    }

    fn status(user_id: i64, version: i64, is_listener: bool) -> Event {
        let at = timestamp(DateTime::from_timestamp(1_700_000_000, 0).expect("valid"));
        Event {
            version,
            happened_at: Some(at),
            kind: Some(Kind::StatusChanged(StatusChanged {
                user_id,
                username: "asha".to_owned(),
                is_online: true,
                is_busy: true,
                wait_time: Some(30),
                last_seen: Some(at),
                is_listener,
                came_online: false,
                accepting_calls: None,
            })),
        }
    }

    fn push(stream: &EventStreamState, stream_seq: u64, event: &Event) {
        let Some(Kind::StatusChanged(status)) = &event.kind else {
            panic!("a status");
        };
        stream.push_change(stream_seq, event, status);
        stream.set_position(stream_seq);
    }

    fn messages(stream: &EventStreamState, channel: SocketChannel, since: u64) -> Vec<Value> {
        let log = stream.statuses(channel).log.read().expect("not poisoned");
        let batch = log
            .read(since, 100, StatusChangeFormat::StatusChange, |_| true)
            .expect("the log is complete");
        let texts = batch.texts.iter();
        texts
            .map(|text| serde_json::from_str(text).expect("JSON"))
            .collect()
    }

    #[tokio::test]
    async fn a_change_has_the_fields_of_the_contract() {
        let stream = stream(4);
        push(&stream, 5, &listener_status(2, 1));
        let expected = json!({
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
            "seq": seq_of_event(5),
        });
        let since = seq_of_event(4);
        assert_eq!(
            messages(&stream, SocketChannel::Presence, since),
            [expected]
        );
        let in_feed = messages(&stream, SocketChannel::Feed, since);
        assert_eq!(in_feed[0]["type"], "listener_busy");
    }

    #[tokio::test]
    async fn the_feed_reports_listeners_and_former_listeners_only() {
        let stream = stream(0);
        push(&stream, 1, &user_status(1, 1));
        assert!(messages(&stream, SocketChannel::Feed, 0).is_empty());
        push(&stream, 2, &listener_status(1, 2));
        push(&stream, 3, &user_status(1, 3));
        let in_feed = messages(&stream, SocketChannel::Feed, 0);
        assert_eq!(in_feed[0]["type"], LISTENER_OFFLINE);
    }

    #[tokio::test]
    async fn an_unverified_listener_leaves_the_feed_until_a_change_after_the_verification() {
        let stream = stream(0);
        push(&stream, 1, &listener_status(1, 1));
        stream.unverified.set(1, false);
        let event = listener_status(1, 1);
        let Some(Kind::StatusChanged(last)) = &event.kind else {
            panic!("a status");
        };
        stream.push_departure(1, &event, last);
        push(&stream, 2, &listener_status(1, 2));
        let departure = messages(&stream, SocketChannel::Feed, 0);
        assert_eq!(departure.len(), 1);
        assert_eq!(departure[0]["type"], LISTENER_OFFLINE);
        assert_eq!(departure[0]["seq"], seq_of_event(1) + 1);
        stream.unverified.set(1, true);
        push(&stream, 3, &listener_status(1, 3));
        let change = messages(&stream, SocketChannel::Feed, seq_of_event(2));
        assert_eq!(change[0]["type"], "listener_busy");
    }

    #[tokio::test]
    async fn heartbeats_are_numbered_between_events() {
        let stream = stream(0);
        push(&stream, 7, &user_status(1, 1));
        let heartbeats = SignsOfLife {
            statuses: vec![user_status(1, 1), user_status(2, 1)],
        };
        stream.push_heartbeats(&heartbeats);
        push(&stream, 8, &user_status(3, 1));
        let seqs: Vec<_> = messages(&stream, SocketChannel::Presence, 0)
            .iter()
            .map(|message| message["seq"].as_u64().expect("a number"))
            .collect();
        let seven = seq_of_event(7);
        assert_eq!(seqs, [seven, seven + 1, seven + 2, seq_of_event(8)]);
    }

    #[tokio::test(start_paused = true)]
    async fn changes_that_arrive_together_wake_sockets_once() {
        let stream = Arc::new(stream(0));
        let mut updates = stream.statuses(SocketChannel::Presence).updates.subscribe();
        // The last round was so long that messages are gathered for ten milliseconds.
        stream.wake_round.begin();
        tokio::time::advance(Duration::from_millis(40)).await;
        stream.wake_round.record_turn();
        let woken = stream.clone();
        let waker = tokio::spawn(async move { woken.run_waker().await });
        push(&stream, 1, &user_status(1, 1));
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(!updates.has_changed().expect("the stream is there"));
        push(&stream, 2, &user_status(2, 1));
        updates.changed().await.expect("the stream is there");
        let second = tokio::time::timeout(Duration::from_secs(1), updates.changed()).await;
        assert!(second.is_err(), "woken again for the same changes");
        push(&stream, 3, &user_status(3, 1));
        updates.changed().await.expect("the stream is there");
        stream.ended.cancel();
        waker.await.expect("ended");
    }

    #[tokio::test(start_paused = true)]
    async fn sockets_are_woken_only_for_messages_of_their_channel() {
        let stream = Arc::new(stream(0));
        let mut in_presence = stream.statuses(SocketChannel::Presence).updates.subscribe();
        let mut in_feed = stream.statuses(SocketChannel::Feed).updates.subscribe();
        let woken = stream.clone();
        let waker = tokio::spawn(async move { woken.run_waker().await });
        push(&stream, 1, &user_status(1, 1));
        let statuses = vec![listener_status(2, 1)];
        stream.push_heartbeats(&SignsOfLife { statuses });
        in_presence.changed().await.expect("the stream is there");
        assert!(!in_feed.has_changed().expect("the stream is there"));
        push(&stream, 2, &listener_status(2, 2));
        in_feed.changed().await.expect("the stream is there");
        stream.ended.cancel();
        waker.await.expect("ended");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_does_not_wait_for_as_long_as_a_heartbeat() {
        let stream = Arc::new(stream(0));
        let mut updates = stream.statuses(SocketChannel::Presence).updates.subscribe();
        let woken = stream.clone();
        let waker = tokio::spawn(async move { woken.run_waker().await });
        push(&stream, 1, &user_status(1, 1));
        updates.changed().await.expect("the stream is there");
        let woken_at = Instant::now();
        let statuses = vec![user_status(1, 1)];
        stream.push_heartbeats(&SignsOfLife { statuses });
        updates.changed().await.expect("the stream is there");
        assert!(woken_at.elapsed() >= Duration::from_millis(15));
        let woken_at = Instant::now();
        let statuses = vec![user_status(1, 1)];
        stream.push_heartbeats(&SignsOfLife { statuses });
        push(&stream, 2, &user_status(2, 1));
        updates.changed().await.expect("the stream is there");
        assert!(woken_at.elapsed() < Duration::from_millis(10));
        stream.ended.cancel();
        waker.await.expect("ended");
    }

    #[tokio::test]
    async fn heartbeats_for_everyone_have_a_budget() {
        let stream = stream(0);
        let all_sent =
            (0..HEARTBEATS_FOR_ALL_A_SECOND_MAX).all(|_| stream.take_heartbeat_for_all());
        assert!(all_sent && !stream.take_heartbeat_for_all());
    }
}
