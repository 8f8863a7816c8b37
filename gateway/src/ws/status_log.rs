//! The newest status messages of each user, in the order in which they were added.

use std::collections::{BTreeMap, HashMap, VecDeque};

use axum::extract::ws::Utf8Bytes;

/// Users whose latest change is kept, for slow sockets and for clients that connect again.
const CHANGES_MAX: usize = 20_000;
/// Users whose latest heartbeat is kept. A client that misses one receives the next.
const HEARTBEATS_MAX: usize = 2_000;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum StatusMessageCause {
    /// The status changed. A client that connects again receives the changes that it missed.
    Change,
    /// The user sent a heartbeat and the status did not change.
    Heartbeat {
        /// Whether sockets without a subscription receive it too. Only a limited number a second do.
        is_for_all: bool,
    },
}

/// A message about a user's status.
#[derive(Clone, Debug)]
pub(super) struct StatusMessage {
    pub(super) user_id: i64,
    /// The version of the status, from presence.
    pub(super) version: i64,
    pub(super) cause: StatusMessageCause,
    pub(super) text: Utf8Bytes,
    /// On `/ws/presence`, the same change as the `presence_update` that older apps read.
    pub(super) update_text: Option<Utf8Bytes>,
}

/// The form in which a socket receives changes on `/ws/presence`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum StatusChangeFormat {
    /// Each change as `status_change` and as `presence_update`.
    #[default]
    Both,
    StatusChange,
    PresenceUpdate,
}

impl StatusChangeFormat {
    /// Returns `Both` unless the client names another format.
    pub(super) fn from_name(name: Option<&str>) -> Self {
        match name {
            Some("status_change") => Self::StatusChange,
            Some("presence_update") => Self::PresenceUpdate,
            _ => Self::Both,
        }
    }
}

impl StatusMessage {
    /// Returns the texts to send in a format, which may be both. A message without `update_text` has one text for all.
    fn texts(&self, format: StatusChangeFormat) -> impl Iterator<Item = &Utf8Bytes> {
        let update = self.update_text.as_ref();
        let is_replaced = update.is_some() && format == StatusChangeFormat::PresenceUpdate;
        let text = Some(&self.text).filter(|_| !is_replaced);
        let update = update.filter(|_| format != StatusChangeFormat::StatusChange);
        text.into_iter().chain(update)
    }
}

/// Messages that were read from a log, and the position after them.
#[derive(Debug, Default)]
pub(super) struct StatusReadBatch {
    pub(super) texts: Vec<Utf8Bytes>,
    pub(super) cursor: u64,
}

/// The log dropped messages after this position that the reader has not read.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct OutdatedCursorError;

/// Status messages by number: the newest change and the newest heartbeat of each user.
#[derive(Debug, Default)]
pub(super) struct StatusLog {
    messages: BTreeMap<u64, StatusMessage>,
    changes: LatestByUser,
    heartbeats: LatestByUser,
    /// Changes up to this number may be missing.
    horizon: u64,
    newest: u64,
}

/// The number of the newest message of each user, for one cause.
#[derive(Debug, Default)]
struct LatestByUser {
    newest: HashMap<i64, u64>,
    /// Oldest first. Some of these messages were replaced by a newer one of the same user.
    order: VecDeque<u64>,
}

impl StatusLog {
    /// Creates a log that has no messages up to `seq`.
    pub(super) fn starting_after(seq: u64) -> Self {
        Self {
            horizon: seq,
            newest: seq,
            ..Self::default()
        }
    }

    /// Returns the number of the newest message.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// Returns whether a reader at this position misses no change.
    pub(super) fn is_complete_since(&self, seq: u64) -> bool {
        (self.horizon..=self.newest).contains(&seq)
    }

    pub(super) fn has_change_of(&self, user_id: i64) -> bool {
        self.changes.newest.contains_key(&user_id)
    }

    /// Moves the newest number to `seq` without a message.
    pub(super) fn advance_to(&mut self, seq: u64) {
        self.newest = self.newest.max(seq);
    }

    /// Adds a message in place of the user's previous one of the same cause. Drops it when the log has a newer
    /// version of the status.
    pub(super) fn push(&mut self, seq: u64, message: StatusMessage) {
        if self.version_of(message.user_id) > message.version {
            return;
        }
        let is_change = message.cause == StatusMessageCause::Change;
        let (latest, max) = if is_change {
            (&mut self.changes, CHANGES_MAX)
        } else {
            (&mut self.heartbeats, HEARTBEATS_MAX)
        };
        if let Some(replaced) = latest.newest.insert(message.user_id, seq) {
            self.messages.remove(&replaced);
        }
        latest.order.push_back(seq);
        self.messages.insert(seq, message);
        self.newest = seq;
        if let Some(dropped) = latest.shrink(max, &mut self.messages)
            && is_change
        {
            self.horizon = dropped;
        }
    }

    fn version_of(&self, user_id: i64) -> i64 {
        let causes = [&self.changes, &self.heartbeats].into_iter();
        let seqs = causes.filter_map(|latest| latest.newest.get(&user_id));
        let versions = seqs.filter_map(|seq| self.messages.get(seq));
        versions
            .map(|message| message.version)
            .max()
            .unwrap_or_default()
    }

    /// Reads about `max` wanted texts after `cursor`, in order. The last message is read in all its forms, so
    /// there may be one text more.
    pub(super) fn read(
        &self,
        cursor: u64,
        max: usize,
        format: StatusChangeFormat,
        is_wanted: impl Fn(&StatusMessage) -> bool,
    ) -> Result<StatusReadBatch, OutdatedCursorError> {
        if cursor < self.horizon {
            return Err(OutdatedCursorError);
        }
        let mut batch = StatusReadBatch {
            cursor: self.newest.max(cursor),
            ..StatusReadBatch::default()
        };
        for (seq, message) in self.messages.range(cursor + 1..) {
            if !is_wanted(message) {
                continue;
            }
            batch.texts.extend(message.texts(format).cloned());
            if batch.texts.len() >= max {
                batch.cursor = *seq;
                break;
            }
        }
        Ok(batch)
    }
}

impl LatestByUser {
    /// Drops the oldest messages until at most `max` are left, and returns the number of the last one dropped.
    fn shrink(&mut self, max: usize, messages: &mut BTreeMap<u64, StatusMessage>) -> Option<u64> {
        if self.order.len() > 2 * max {
            self.order.retain(|seq| messages.contains_key(seq));
        }
        let mut dropped = None;
        while self.newest.len() > max {
            let oldest = self.order.pop_front()?;
            if let Some(message) = messages.remove(&oldest) {
                self.newest.remove(&message.user_id);
                dropped = Some(oldest);
            }
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(user_id: i64, version: i64) -> StatusMessage {
        StatusMessage {
            user_id,
            version,
            cause: StatusMessageCause::Change,
            text: format!("{user_id}v{version}").into(),
            update_text: None,
        }
    }

    fn heartbeat(user_id: i64, version: i64) -> StatusMessage {
        StatusMessage {
            cause: StatusMessageCause::Heartbeat { is_for_all: true },
            text: format!("{user_id}s{version}").into(),
            ..change(user_id, version)
        }
    }

    fn read_all(log: &StatusLog, cursor: u64) -> Vec<String> {
        let batch = log
            .read(cursor, usize::MAX, StatusChangeFormat::Both, |_| true)
            .expect("the log is complete");
        batch.texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_slow_reader_gets_the_newest_message_of_each_user_in_order() {
        let mut log = StatusLog::starting_after(10);
        log.push(11, change(1, 1));
        log.push(12, change(2, 1));
        log.push(13, change(1, 2));
        assert_eq!(read_all(&log, 10), ["2v1", "1v2"]);
        assert_eq!(read_all(&log, 12), ["1v2"]);
        assert!(read_all(&log, 13).is_empty());
    }

    #[test]
    fn a_message_with_an_older_version_is_dropped() {
        let mut log = StatusLog::starting_after(0);
        log.push(1, change(1, 5));
        log.push(2, change(1, 4));
        log.push(3, heartbeat(1, 4));
        log.push(4, heartbeat(1, 5));
        assert_eq!(read_all(&log, 0), ["1v5", "1s5"]);
    }

    #[test]
    fn a_heartbeat_does_not_replace_a_change() {
        let mut log = StatusLog::starting_after(0);
        log.push(1, change(1, 1));
        for seq in 2..9 {
            log.push(seq, heartbeat(1, 1));
        }
        assert_eq!(read_all(&log, 0), ["1v1", "1s1"]);
    }

    #[test]
    fn a_batch_ends_where_the_next_one_begins() {
        let mut log = StatusLog::starting_after(0);
        for seq in 1..=5 {
            log.push(seq, change(seq.cast_signed(), 1));
        }
        let batch = log
            .read(0, 2, StatusChangeFormat::Both, |message| {
                message.user_id != 2
            })
            .expect("the log is complete");
        assert_eq!((batch.texts.len(), batch.cursor), (2, 3));
        let rest = log
            .read(batch.cursor, 9, StatusChangeFormat::Both, |_| true)
            .expect("the log is complete");
        assert_eq!((rest.texts.len(), rest.cursor), (2, 5));
    }

    #[test]
    fn a_change_is_read_in_the_format_of_the_socket() {
        let mut log = StatusLog::starting_after(0);
        let update_text = Some("1u1".into());
        log.push(
            1,
            StatusMessage {
                update_text,
                ..change(1, 1)
            },
        );
        log.push(2, heartbeat(1, 1));
        for (name, expected) in [
            (None, vec!["1v1", "1u1", "1s1"]),
            (Some("status_change"), vec!["1v1", "1s1"]),
            (Some("presence_update"), vec!["1u1", "1s1"]),
            (Some("nonsense"), vec!["1v1", "1u1", "1s1"]),
        ] {
            let batch = log
                .read(0, 9, StatusChangeFormat::from_name(name), |_| true)
                .expect("the log is complete");
            let texts: Vec<&str> = batch.texts.iter().map(Utf8Bytes::as_str).collect();
            assert_eq!(texts, expected, "{name:?}");
        }
        let first = log
            .read(0, 1, StatusChangeFormat::Both, |_| true)
            .expect("the log is complete");
        assert_eq!((first.texts.len(), first.cursor), (2, 1));
    }

    #[test]
    fn the_log_is_bounded_and_reports_missing_messages() {
        let mut log = StatusLog::starting_after(0);
        let users = CHANGES_MAX as u64 + 10;
        for seq in 1..=users {
            log.push(seq, change(seq.cast_signed(), 1));
        }
        assert_eq!(log.messages.len(), CHANGES_MAX);
        assert_eq!(
            log.read(9, 1, StatusChangeFormat::Both, |_| true)
                .expect_err("too old"),
            OutdatedCursorError
        );
        assert!(!log.is_complete_since(9) && log.is_complete_since(10));
        assert!(!log.is_complete_since(users + 1));
    }

    #[test]
    fn many_changes_of_one_user_need_no_more_memory() {
        let mut log = StatusLog::starting_after(0);
        for seq in 1..=3 * CHANGES_MAX as u64 {
            log.push(seq, change(1, seq.cast_signed()));
        }
        assert_eq!(log.messages.len(), 1);
        assert!(log.changes.order.len() <= 2 * CHANGES_MAX);
        assert!(log.is_complete_since(0));
    }
}
