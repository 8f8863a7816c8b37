//! What concerns one person alone, in order, for each person.

use std::collections::{BTreeMap, VecDeque};

use axum::extract::ws::Utf8Bytes;

use super::status_log::{Behind, Piece};

/// Messages that are kept for sockets that are behind, and for those that come back.
const LETTERS_MAX: usize = 20_000;

/// Messages by person and number.
#[derive(Debug, Default)]
pub(super) struct LetterLog {
    letters: BTreeMap<(i64, u64), Utf8Bytes>,
    /// Oldest first.
    order: VecDeque<(u64, i64)>,
    /// Messages up to it may be missing.
    horizon: u64,
    newest: u64,
}

impl LetterLog {
    /// Knows nothing of what was told up to `seq`.
    pub(super) fn starting_after(seq: u64) -> Self {
        Self {
            horizon: seq,
            newest: seq,
            ..Self::default()
        }
    }

    /// The number of the newest message.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// Whether a reader that stands there would miss nothing.
    pub(super) fn reaches_back_to(&self, seq: u64) -> bool {
        (self.horizon..=self.newest).contains(&seq)
    }

    /// Numbers go up to `seq`, though there was nothing to tell.
    pub(super) fn advance(&mut self, seq: u64) {
        self.newest = self.newest.max(seq);
    }

    /// Keeps a message to someone.
    pub(super) fn tell(&mut self, seq: u64, user_id: i64, text: Utf8Bytes) {
        self.letters.insert((user_id, seq), text);
        self.order.push_back((seq, user_id));
        self.newest = seq;
        if self.order.len() > LETTERS_MAX
            && let Some((seq, user_id)) = self.order.pop_front()
        {
            self.letters.remove(&(user_id, seq));
            self.horizon = seq;
        }
    }

    /// At most `max` messages to someone after `cursor`, in order.
    pub(super) fn read(&self, user_id: i64, cursor: u64, max: usize) -> Result<Piece, Behind> {
        if cursor < self.horizon {
            return Err(Behind);
        }
        let mut piece = Piece {
            cursor: self.newest.max(cursor),
            ..Piece::default()
        };
        let after = (user_id, cursor + 1)..=(user_id, u64::MAX);
        for ((_, seq), text) in self.letters.range(after) {
            piece.texts.push(text.clone());
            if piece.texts.len() == max {
                piece.cursor = *seq;
                break;
            }
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_reads_their_own_letters() {
        let mut log = LetterLog::starting_after(4);
        log.tell(5, 1, "a".into());
        log.tell(5, 2, "b".into());
        log.tell(6, 1, "c".into());
        let mine = log.read(1, 4, 9).expect("there");
        assert_eq!(mine.texts, ["a", "c"]);
        assert_eq!(mine.cursor, 6);
        let first = log.read(1, 4, 1).expect("there");
        assert_eq!(first.cursor, 5);
        assert_eq!(log.read(2, 5, 9).expect("there").texts.len(), 0);
        assert!(!log.reaches_back_to(3));
    }

    #[test]
    fn the_log_is_bounded_and_says_when_something_is_missing() {
        let mut log = LetterLog::starting_after(0);
        for seq in 1..=LETTERS_MAX as u64 + 5 {
            log.tell(seq, 1, "x".into());
        }
        assert_eq!(log.letters.len(), LETTERS_MAX);
        assert_eq!(log.read(1, 4, 1).expect_err("too old"), Behind);
        assert!(log.read(1, 5, 1).is_ok());
    }
}
