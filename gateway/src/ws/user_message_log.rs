//! Recent messages to single users, in order for each user.

use std::collections::{BTreeMap, VecDeque};

use axum::extract::ws::Utf8Bytes;

use super::status_log::{OutdatedCursorError, StatusReadBatch};

/// Messages that are kept, for slow sockets and for clients that connect again.
const MESSAGES_MAX: usize = 20_000;

/// Messages by user and number.
#[derive(Debug, Default)]
pub(super) struct UserMessageLog {
    messages: BTreeMap<(i64, u64), Utf8Bytes>,
    /// Oldest first.
    order: VecDeque<(u64, i64)>,
    /// Messages up to this number may be missing.
    horizon: u64,
    newest: u64,
}

impl UserMessageLog {
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

    /// Returns whether a reader at this position misses no message.
    pub(super) fn is_complete_since(&self, seq: u64) -> bool {
        (self.horizon..=self.newest).contains(&seq)
    }

    /// Moves the newest number to `seq` without a message.
    pub(super) fn advance_to(&mut self, seq: u64) {
        self.newest = self.newest.max(seq);
    }

    pub(super) fn push(&mut self, seq: u64, user_id: i64, text: Utf8Bytes) {
        self.messages.insert((user_id, seq), text);
        self.order.push_back((seq, user_id));
        self.newest = seq;
        if self.order.len() > MESSAGES_MAX
            && let Some((seq, user_id)) = self.order.pop_front()
        {
            self.messages.remove(&(user_id, seq));
            self.horizon = seq;
        }
    }

    /// Reads at most `max` messages to a user after `cursor`, in order.
    pub(super) fn read(
        &self,
        user_id: i64,
        cursor: u64,
        max: usize,
    ) -> Result<StatusReadBatch, OutdatedCursorError> {
        if cursor < self.horizon {
            return Err(OutdatedCursorError);
        }
        let mut batch = StatusReadBatch {
            cursor: self.newest.max(cursor),
            ..StatusReadBatch::default()
        };
        let after = (user_id, cursor + 1)..=(user_id, u64::MAX);
        for ((_, seq), text) in self.messages.range(after) {
            batch.texts.push(text.clone());
            if batch.texts.len() == max {
                batch.cursor = *seq;
                break;
            }
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_reads_only_their_own_messages() {
        let mut log = UserMessageLog::starting_after(4);
        log.push(5, 1, "a".into());
        log.push(5, 2, "b".into());
        log.push(6, 1, "c".into());
        let messages = log.read(1, 4, 9).expect("the log is complete");
        assert_eq!(messages.texts, ["a", "c"]);
        assert_eq!(messages.cursor, 6);
        let first = log.read(1, 4, 1).expect("the log is complete");
        assert_eq!(first.cursor, 5);
        assert_eq!(
            log.read(2, 5, 9).expect("the log is complete").texts.len(),
            0
        );
        assert!(!log.is_complete_since(3));
    }

    #[test]
    fn the_log_is_bounded_and_reports_missing_messages() {
        let mut log = UserMessageLog::starting_after(0);
        for seq in 1..=MESSAGES_MAX as u64 + 5 {
            log.push(seq, 1, "x".into());
        }
        assert_eq!(log.messages.len(), MESSAGES_MAX);
        assert_eq!(log.read(1, 4, 1).expect_err("too old"), OutdatedCursorError);
        assert!(log.read(1, 5, 1).is_ok());
    }
}
