//! What was told of late, once for all sockets of this replica, and who is to be woken.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use chrono::{DateTime, Utc};
use talktime_kit::{Error, Kind as ErrorKind};
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, SignsOfLife, StatusChanged};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::channel::Channel;
use super::event_order::{EventOrder, EventPlace};
use super::letter_log::LetterLog;
use super::letters::{Letter, letters_of};
use super::message::{Outgoing, Status};
use super::status_log::{Cause, StatusLog, Told};
use super::unverified::Unverified;
use super::viewer::{Viewer, ViewerHandle};
use crate::app::{Presence, Profile};

/// Sockets are woken for what was told within it at once, and write it with one system call.
const WAKE_EVERY: Duration = Duration::from_millis(20);
/// A message's number is its place in the stream of events, and in the lowest bits a count of the
/// signs of life since: these are outside the stream. 53 bits, which is what JavaScript's numbers
/// hold, are enough for 2^38 events.
const SIGN_BITS: u32 = 15;
const SIGN_MASK: u64 = (1 << SIGN_BITS) - 1;
/// Signs of life that go to sockets that listen to everyone, a second.
const SIGNS_FOR_ALL_A_SECOND_MAX: u32 = 200;

/// Tells sockets; cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    /// None before the stream was read for the first time.
    epoch: watch::Sender<Option<Arc<Epoch>>>,
    viewers: Mutex<HashMap<i64, Arc<Viewer>>>,
    profile: Profile,
    presence: Presence,
    require_verified: bool,
}

/// The life of a stream of events; places in another one mean nothing in it.
pub(super) struct Epoch {
    pub(super) id: String,
    /// Told when another stream has taken its place.
    pub(super) ended: CancellationToken,
    position: AtomicU64,
    /// Whom the feed does not show; nobody where it shows everyone.
    pub(super) unverified: Unverified,
    feed: Statuses,
    presence: Statuses,
    calls: RwLock<LetterLog>,
    notifications: RwLock<LetterLog>,
    /// Which events letters were written for.
    order: Mutex<EventOrder>,
    told: Notify,
    signs: Mutex<SignBudget>,
}

/// A public channel.
pub(super) struct Statuses {
    pub(super) log: RwLock<StatusLog>,
    /// There is more to read.
    pub(super) told: watch::Sender<()>,
}

struct SignBudget {
    since: Instant,
    spent: u32,
}

impl Hub {
    /// A hub that knows nothing yet; `profile` is asked for blocks, `presence` for the status of one
    /// who leaves the feed. With `require_verified` that is who is found not to be verified.
    pub fn new(profile: Profile, presence: Presence, require_verified: bool) -> Self {
        Self(Arc::new(Inner {
            epoch: watch::Sender::new(None),
            viewers: Mutex::default(),
            profile,
            presence,
            require_verified,
        }))
    }

    /// Makes sockets of these people look whether their tokens still hold, until told to stop.
    pub async fn doubt(self, mut revoked: broadcast::Receiver<i64>, stopping: CancellationToken) {
        loop {
            let heard = tokio::select! {
                heard = revoked.recv() => heard,
                () = stopping.cancelled() => return,
            };
            match heard {
                Ok(user_id) => self.wake_doubts_of(user_id),
                Err(RecvError::Lagged(_)) => {
                    for viewer in self.viewers().values() {
                        viewer.doubts.send_replace(());
                    }
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn wake_doubts_of(&self, user_id: i64) {
        if let Some(viewer) = self.viewers().get(&user_id) {
            viewer.doubts.send_replace(());
        }
    }

    /// What sockets read from; unavailable until the stream of events was read.
    pub(super) fn epoch(&self) -> Result<Arc<Epoch>, Error> {
        self.0.epoch.borrow().clone().ok_or_else(|| {
            Error::new(
                ErrorKind::Unavailable,
                "events_unavailable",
                "Please try again in a moment.",
            )
        })
    }

    /// Waits until the stream of events was read for the first time.
    pub async fn wait(&self) {
        // The sender is in `self`: the wait ends with an epoch or not at all.
        let _ = self.0.epoch.subscribe().wait_for(Option::is_some).await;
    }

    /// Has sockets read from this epoch; those of the one before it are to come back.
    pub(super) fn begin(&self, epoch: Arc<Epoch>) {
        if let Some(before) = self.0.epoch.send_replace(Some(epoch))
            && !before.ended.is_cancelled()
        {
            before.ended.cancel();
        }
    }

    /// A person who comes with a socket, with whom they must not see.
    pub(super) async fn come(&self, user_id: i64) -> Result<ViewerHandle, Error> {
        let viewer = {
            let mut viewers = self.viewers();
            let viewer = viewers
                .entry(user_id)
                .or_insert_with(|| Arc::new(Viewer::new(user_id)));
            viewer.clone()
        };
        let handle = ViewerHandle {
            hub: self.clone(),
            viewer,
        };
        // Only now: a block that is told meanwhile finds them among the viewers.
        handle.load(&self.0.profile).await?;
        Ok(handle)
    }

    /// The map and the handle that goes are the last two who hold a viewer that nobody needs.
    pub(super) fn leave(&self, viewer: &Arc<Viewer>) {
        let mut viewers = self.viewers();
        if Arc::strong_count(viewer) <= 2 {
            viewers.remove(&viewer.user_id);
        }
    }

    fn viewers(&self) -> MutexGuard<'_, HashMap<i64, Arc<Viewer>>> {
        let viewers = self.0.viewers.lock();
        viewers.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn presence(&self) -> &Presence {
        &self.0.presence
    }

    fn viewer(&self, user_id: i64) -> Option<Arc<Viewer>> {
        self.viewers().get(&user_id).cloned()
    }

    /// An event of the stream. Letters are written for one that is newer than all of its aggregate before
    /// it; the replay of a dead letter has no place, and was told when it was published first.
    pub(super) fn hear(
        &self,
        epoch: &Arc<Epoch>,
        stream_seq: u64,
        place: Option<EventPlace>,
        event: &Event,
    ) {
        let seq = seq_of(stream_seq);
        self.follow_viewers(event);
        if self.0.require_verified {
            self.follow_verification(epoch, event);
        }
        if let Some(Kind::StatusChanged(status)) = &event.kind {
            epoch.tell_change(seq, event, status);
        }
        let letters = letters_of(event, seq);
        let is_new = !letters.is_empty() && place.is_some_and(|place| epoch.advance(place));
        for letter in letters.into_iter().filter(|_| is_new) {
            let user_id = letter.user_id;
            epoch.post(seq, letter);
            if let Some(viewer) = self.viewer(user_id) {
                viewer.letters.send_replace(());
            }
        }
        epoch.position.store(seq, Ordering::SeqCst);
    }

    /// What an event means to those whose sockets are here.
    fn follow_viewers(&self, event: &Event) {
        match &event.kind {
            Some(Kind::UserBlocked(block)) => {
                for (one, other) in both_ways(block.user_id, block.blocked_id) {
                    if let Some(viewer) = self.viewer(one) {
                        viewer.hide(other);
                    }
                }
            }
            // The other may have blocked too: only profile knows.
            Some(Kind::UserUnblocked(block)) => {
                for (one, _) in both_ways(block.user_id, block.blocked_id) {
                    self.reload(one);
                }
            }
            Some(Kind::RoleChanged(role)) => self.reload(role.user_id),
            Some(Kind::UserDeleted(user)) => self.wake_doubts_of(user.user_id),
            _ => {}
        }
    }

    fn reload(&self, user_id: i64) {
        if let Some(viewer) = self.viewer(user_id) {
            tokio::spawn(viewer.reload(self.0.profile.clone()));
        }
    }
}

fn both_ways(one: i64, other: i64) -> [(i64, i64); 2] {
    [(one, other), (other, one)]
}

fn seq_of(stream_seq: u64) -> u64 {
    stream_seq << SIGN_BITS
}

/// The number of the latest event at or before a message: other replicas have numbered signs of life
/// otherwise.
pub(super) fn event_at(seq: u64) -> u64 {
    seq & !SIGN_MASK
}

impl Epoch {
    /// The stream `id`, of which nothing is known up to its event `stream_seq`.
    pub(super) fn new(id: String, stream_seq: u64) -> Self {
        let seq = seq_of(stream_seq);
        let letters = || RwLock::new(LetterLog::starting_after(seq));
        Self {
            id,
            ended: CancellationToken::new(),
            position: AtomicU64::new(seq),
            unverified: Unverified::default(),
            feed: Statuses::starting_after(seq),
            presence: Statuses::starting_after(seq),
            calls: letters(),
            notifications: letters(),
            order: Mutex::default(),
            told: Notify::new(),
            signs: Mutex::new(SignBudget {
                since: Instant::now(),
                spent: 0,
            }),
        }
    }

    /// Wakes sockets for what was told, until the epoch ends.
    pub(super) async fn wake(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.told.notified() => {}
                () = self.ended.cancelled() => return,
            }
            self.feed.told.send_replace(());
            self.presence.told.send_replace(());
            tokio::time::sleep(WAKE_EVERY).await;
        }
    }

    /// Up to where the stream was read.
    fn position(&self) -> u64 {
        self.position.load(Ordering::SeqCst)
    }

    pub(super) fn statuses(&self, channel: Channel) -> &Statuses {
        match channel {
            Channel::Feed => &self.feed,
            _ => &self.presence,
        }
    }

    pub(super) fn letters(&self, channel: Channel) -> &RwLock<LetterLog> {
        match channel {
            Channel::Calls => &self.calls,
            _ => &self.notifications,
        }
    }

    /// The newest number of a channel, and whether one who stands at `since` misses nothing there.
    pub(super) fn newest(&self, channel: Channel, since: Option<u64>) -> (u64, bool) {
        let position = self.position();
        let reaches =
            |newest: u64, reaches: &dyn Fn(u64) -> bool| (newest, since.is_some_and(reaches));
        if channel.is_public() {
            let log = &self.statuses(channel).log;
            let mut log = log.write().unwrap_or_else(PoisonError::into_inner);
            log.advance(position);
            reaches(log.newest(), &|since| log.reaches_back_to(since))
        } else {
            let log = self.letters(channel);
            let mut log = log.write().unwrap_or_else(PoisonError::into_inner);
            log.advance(position);
            reaches(log.newest(), &|since| log.reaches_back_to(since))
        }
    }

    fn tell_change(&self, seq: u64, event: &Event, status: &StatusChanged) {
        let told = |r#type| Told {
            user_id: status.user_id,
            version: event.version,
            cause: Cause::Change,
            text: text_of(r#type, event, status, seq),
            update_text: None,
        };
        let change = Told {
            update_text: Some(text_of(PRESENCE_UPDATE, event, status, seq)),
            ..told("status_change")
        };
        self.presence.tell(seq, change);
        if self.unverified.contains(status.user_id) {
            // The feed was told that they are gone.
        } else if status.is_listener {
            self.feed.tell(seq, told(feed_type(status)));
        } else if self.feed.knows(status.user_id) {
            self.feed.tell(seq, told(LISTENER_OFFLINE));
        }
        self.told.notify_one();
    }

    /// Signs of life, which are outside the stream.
    pub(super) fn hear_signs(&self, signs: &SignsOfLife) {
        for event in &signs.statuses {
            if let Some(Kind::StatusChanged(status)) = &event.kind {
                self.tell_sign(event, status);
            }
        }
        self.told.notify_one();
    }

    fn tell_sign(&self, event: &Event, status: &StatusChanged) {
        let is_for_all = self.take_sign_for_all();
        self.tell_between(&self.presence, |seq| Told {
            user_id: status.user_id,
            version: event.version,
            cause: Cause::Sign { is_for_all },
            text: text_of(PRESENCE_UPDATE, event, status, seq),
            update_text: None,
        });
    }

    /// A listener leaves the feed, their status of this version being what it was.
    pub(super) fn tell_gone(&self, version: i64, event: &Event, status: &StatusChanged) {
        self.tell_between(&self.feed, |seq| Told {
            user_id: status.user_id,
            version,
            cause: Cause::Change,
            text: text_of(LISTENER_OFFLINE, event, status, seq),
            update_text: None,
        });
        self.told.notify_one();
    }

    /// Tells what is not in the stream, under a number between its events.
    fn tell_between(&self, statuses: &Statuses, told: impl FnOnce(u64) -> Told) {
        let mut log = statuses.log.write().unwrap_or_else(PoisonError::into_inner);
        log.advance(self.position());
        if log.newest() & SIGN_MASK == SIGN_MASK {
            // Numbers have run out until the next event.
            return;
        }
        let seq = log.newest() + 1;
        log.tell(seq, told(seq));
    }

    fn take_sign_for_all(&self) -> bool {
        let mut budget = self.signs.lock().unwrap_or_else(PoisonError::into_inner);
        if budget.since.elapsed() >= Duration::from_secs(1) {
            *budget = SignBudget {
                since: Instant::now(),
                spent: 0,
            };
        }
        budget.spent += 1;
        budget.spent <= SIGNS_FOR_ALL_A_SECOND_MAX
    }

    fn advance(&self, place: EventPlace) -> bool {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.advance(place)
    }

    fn post(&self, seq: u64, letter: Letter) {
        let log = self.letters(letter.channel);
        let mut log = log.write().unwrap_or_else(PoisonError::into_inner);
        log.tell(seq, letter.user_id, letter.text);
    }
}

impl Statuses {
    fn starting_after(seq: u64) -> Self {
        Self {
            log: RwLock::new(StatusLog::starting_after(seq)),
            told: watch::Sender::new(()),
        }
    }

    fn tell(&self, seq: u64, told: Told) {
        let mut log = self.log.write().unwrap_or_else(PoisonError::into_inner);
        log.tell(seq, told);
    }

    fn knows(&self, user_id: i64) -> bool {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        log.knows(user_id)
    }
}

const LISTENER_OFFLINE: &str = "listener_offline";
const PRESENCE_UPDATE: &str = "presence_update";

fn feed_type(status: &StatusChanged) -> &'static str {
    if !status.is_online {
        LISTENER_OFFLINE
    } else if status.is_busy {
        "listener_busy"
    } else if status.came_online {
        "listener_online"
    } else {
        "listener_available"
    }
}

fn text_of(r#type: &str, event: &Event, status: &StatusChanged, seq: u64) -> Utf8Bytes {
    let happened_at: Option<DateTime<Utc>> = talktime_proto::datetime(event.happened_at.as_ref());
    Outgoing {
        r#type,
        data: Status::from(status),
        timestamp: happened_at.unwrap_or_default(),
        seq,
    }
    .to_text()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use talktime_proto::timestamp;

    use super::super::status_log::ChangeForms;
    use super::*;

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
            })),
        }
    }

    fn tell(epoch: &Epoch, stream_seq: u64, event: &Event) {
        let Some(Kind::StatusChanged(status)) = &event.kind else {
            panic!("a status");
        };
        epoch.tell_change(seq_of(stream_seq), event, status);
        epoch.position.store(seq_of(stream_seq), Ordering::SeqCst);
    }

    fn texts(epoch: &Epoch, channel: Channel, since: u64) -> Vec<Value> {
        let log = epoch.statuses(channel).log.read().expect("unpoisoned");
        let piece = log
            .read(since, 100, ChangeForms::StatusChange, |_| true)
            .expect("not behind");
        let texts = piece.texts.iter();
        texts
            .map(|text| serde_json::from_str(text).expect("JSON"))
            .collect()
    }

    #[tokio::test]
    async fn a_change_is_told_as_the_contract_says() {
        let epoch = Epoch::new("e".to_owned(), 4);
        tell(&epoch, 5, &status(2, 1, true));
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
            "seq": 5 << SIGN_BITS,
        });
        let since = seq_of(4);
        assert_eq!(texts(&epoch, Channel::Presence, since), [expected]);
        let in_feed = texts(&epoch, Channel::Feed, since);
        assert_eq!(in_feed[0]["type"], "listener_busy");
    }

    #[tokio::test]
    async fn the_feed_tells_of_listeners_alone_and_of_those_who_were() {
        let epoch = Epoch::new("e".to_owned(), 0);
        tell(&epoch, 1, &status(1, 1, false));
        assert!(texts(&epoch, Channel::Feed, 0).is_empty());
        tell(&epoch, 2, &status(1, 2, true));
        tell(&epoch, 3, &status(1, 3, false));
        assert_eq!(texts(&epoch, Channel::Feed, 0)[0]["type"], LISTENER_OFFLINE);
    }

    #[tokio::test]
    async fn who_is_not_verified_leaves_the_feed_and_comes_back_with_a_change() {
        let epoch = Epoch::new("e".to_owned(), 0);
        tell(&epoch, 1, &status(1, 1, true));
        epoch.unverified.set(1, false);
        let event = status(1, 1, true);
        let Some(Kind::StatusChanged(last)) = &event.kind else {
            panic!("a status");
        };
        epoch.tell_gone(1, &event, last);
        tell(&epoch, 2, &status(1, 2, true));
        let gone = texts(&epoch, Channel::Feed, 0);
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0]["type"], LISTENER_OFFLINE);
        assert_eq!(gone[0]["seq"], seq_of(1) + 1);
        epoch.unverified.set(1, true);
        tell(&epoch, 3, &status(1, 3, true));
        let back = texts(&epoch, Channel::Feed, seq_of(2));
        assert_eq!(back[0]["type"], "listener_busy");
    }

    #[tokio::test]
    async fn signs_of_life_are_numbered_between_events() {
        let epoch = Epoch::new("e".to_owned(), 0);
        tell(&epoch, 7, &status(1, 1, false));
        let signs = SignsOfLife {
            statuses: vec![status(1, 1, false), status(2, 1, false)],
        };
        epoch.hear_signs(&signs);
        tell(&epoch, 8, &status(3, 1, false));
        let seqs: Vec<_> = texts(&epoch, Channel::Presence, 0)
            .iter()
            .map(|text| text["seq"].as_u64().expect("a number"))
            .collect();
        let seven = seq_of(7);
        assert_eq!(seqs, [seven, seven + 1, seven + 2, seq_of(8)]);
    }

    #[tokio::test]
    async fn signs_for_everyone_have_a_budget() {
        let epoch = Epoch::new("e".to_owned(), 0);
        let first = (0..SIGNS_FOR_ALL_A_SECOND_MAX).all(|_| epoch.take_sign_for_all());
        assert!(first && !epoch.take_sign_for_all());
    }
}
