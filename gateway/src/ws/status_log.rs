//! The newest status of each person, in the order in which they were told.

use std::collections::{BTreeMap, HashMap, VecDeque};

use axum::extract::ws::Utf8Bytes;

/// People whose changes are kept for sockets that are behind, and for those that come back.
const CHANGES_MAX: usize = 20_000;
/// People whose signs of life are kept: who misses one hears the next.
const SIGNS_MAX: usize = 2_000;

/// What tells of a status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cause {
    /// It changed. Whoever comes back is told what they missed.
    Change,
    /// A sign of life, the status being what it was.
    Sign {
        /// Whether it goes to those too who listen to everyone: only so many a second do.
        is_for_all: bool,
    },
}

/// A message about someone.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) user_id: i64,
    /// Of the status.
    pub(super) version: i64,
    pub(super) cause: Cause,
    pub(super) text: Utf8Bytes,
    /// A change of presence once more, as the `presence_update` that older apps read.
    pub(super) update_text: Option<Utf8Bytes>,
}

/// The messages in which a socket gets a change of presence.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum ChangeForms {
    /// Each change as `status_change` and as `presence_update`.
    #[default]
    Both,
    /// Each change as `status_change`.
    StatusChange,
    /// Each change as `presence_update`.
    PresenceUpdate,
}

impl ChangeForms {
    /// Both, unless a client names one of them.
    pub(super) fn named(name: Option<&str>) -> Self {
        match name {
            Some("status_change") => Self::StatusChange,
            Some("presence_update") => Self::PresenceUpdate,
            _ => Self::Both,
        }
    }
}

impl Told {
    /// The message, in the forms that a socket takes.
    fn texts(&self, forms: ChangeForms) -> impl Iterator<Item = &Utf8Bytes> {
        let update = self.update_text.as_ref();
        let is_replaced = update.is_some() && forms == ChangeForms::PresenceUpdate;
        let text = Some(&self.text).filter(|_| !is_replaced);
        let update = update.filter(|_| forms != ChangeForms::StatusChange);
        text.into_iter().chain(update)
    }
}

/// What a reader gets: texts, and where it stands after them.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) texts: Vec<Utf8Bytes>,
    pub(super) cursor: u64,
}

/// The reader is so far behind that messages it never got are no longer kept.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Behind;

/// Messages by number. Of each person it holds the newest change and the newest sign of life.
#[derive(Debug, Default)]
pub(super) struct StatusLog {
    told: BTreeMap<u64, Told>,
    changes: Lane,
    signs: Lane,
    /// Changes up to it may be missing.
    horizon: u64,
    newest: u64,
}

/// The newest message of each person, of one cause.
#[derive(Debug, Default)]
struct Lane {
    newest: HashMap<i64, u64>,
    /// Oldest first; some of them are no longer the newest of their person.
    order: VecDeque<u64>,
}

impl StatusLog {
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

    /// Whether a change of this person is held.
    pub(super) fn knows(&self, user_id: i64) -> bool {
        self.changes.newest.contains_key(&user_id)
    }

    /// Numbers go up to `seq`, though there was nothing to tell.
    pub(super) fn advance(&mut self, seq: u64) {
        self.newest = self.newest.max(seq);
    }

    /// Keeps a message in place of the person's last one of the same cause. Drops it when a newer
    /// version of the status has been told.
    pub(super) fn tell(&mut self, seq: u64, told: Told) {
        if self.version_of(told.user_id) > told.version {
            return;
        }
        let is_change = told.cause == Cause::Change;
        let (lane, max) = if is_change {
            (&mut self.changes, CHANGES_MAX)
        } else {
            (&mut self.signs, SIGNS_MAX)
        };
        if let Some(overtaken) = lane.newest.insert(told.user_id, seq) {
            self.told.remove(&overtaken);
        }
        lane.order.push_back(seq);
        self.told.insert(seq, told);
        self.newest = seq;
        if let Some(dropped) = lane.shrink(max, &mut self.told)
            && is_change
        {
            self.horizon = dropped;
        }
    }

    fn version_of(&self, user_id: i64) -> i64 {
        let lanes = [&self.changes, &self.signs].into_iter();
        let seqs = lanes.filter_map(|lane| lane.newest.get(&user_id));
        let versions = seqs.filter_map(|seq| self.told.get(seq));
        versions.map(|told| told.version).max().unwrap_or_default()
    }

    /// About `max` texts after `cursor` that are wanted, in order: the last message is read in all its forms.
    pub(super) fn read(
        &self,
        cursor: u64,
        max: usize,
        forms: ChangeForms,
        is_wanted: impl Fn(&Told) -> bool,
    ) -> Result<Piece, Behind> {
        if cursor < self.horizon {
            return Err(Behind);
        }
        let mut piece = Piece {
            cursor: self.newest.max(cursor),
            ..Piece::default()
        };
        for (seq, told) in self.told.range(cursor + 1..) {
            if !is_wanted(told) {
                continue;
            }
            piece.texts.extend(told.texts(forms).cloned());
            if piece.texts.len() >= max {
                piece.cursor = *seq;
                break;
            }
        }
        Ok(piece)
    }
}

impl Lane {
    /// Drops the oldest until at most `max` are left; answers the last one dropped.
    fn shrink(&mut self, max: usize, told: &mut BTreeMap<u64, Told>) -> Option<u64> {
        if self.order.len() > 2 * max {
            self.order.retain(|seq| told.contains_key(seq));
        }
        let mut dropped = None;
        while self.newest.len() > max {
            let oldest = self.order.pop_front()?;
            if let Some(told) = told.remove(&oldest) {
                self.newest.remove(&told.user_id);
                dropped = Some(oldest);
            }
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(user_id: i64, version: i64) -> Told {
        Told {
            user_id,
            version,
            cause: Cause::Change,
            text: format!("{user_id}v{version}").into(),
            update_text: None,
        }
    }

    fn sign(user_id: i64, version: i64) -> Told {
        Told {
            cause: Cause::Sign { is_for_all: true },
            text: format!("{user_id}s{version}").into(),
            ..change(user_id, version)
        }
    }

    fn all(log: &StatusLog, cursor: u64) -> Vec<String> {
        let piece = log
            .read(cursor, usize::MAX, ChangeForms::Both, |_| true)
            .expect("not behind");
        piece.texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn who_is_behind_gets_the_newest_of_each_in_order() {
        let mut log = StatusLog::starting_after(10);
        log.tell(11, change(1, 1));
        log.tell(12, change(2, 1));
        log.tell(13, change(1, 2));
        assert_eq!(all(&log, 10), ["2v1", "1v2"]);
        assert_eq!(all(&log, 12), ["1v2"]);
        assert!(all(&log, 13).is_empty());
    }

    #[test]
    fn what_is_older_than_what_was_told_is_not_told() {
        let mut log = StatusLog::starting_after(0);
        log.tell(1, change(1, 5));
        log.tell(2, change(1, 4));
        log.tell(3, sign(1, 4));
        log.tell(4, sign(1, 5));
        assert_eq!(all(&log, 0), ["1v5", "1s5"]);
    }

    #[test]
    fn a_sign_of_life_takes_no_changes_place() {
        let mut log = StatusLog::starting_after(0);
        log.tell(1, change(1, 1));
        for seq in 2..9 {
            log.tell(seq, sign(1, 1));
        }
        assert_eq!(all(&log, 0), ["1v1", "1s1"]);
    }

    #[test]
    fn a_piece_ends_where_the_next_one_begins() {
        let mut log = StatusLog::starting_after(0);
        for seq in 1..=5 {
            log.tell(seq, change(seq.cast_signed(), 1));
        }
        let piece = log
            .read(0, 2, ChangeForms::Both, |told| told.user_id != 2)
            .expect("there");
        assert_eq!((piece.texts.len(), piece.cursor), (2, 3));
        let rest = log
            .read(piece.cursor, 9, ChangeForms::Both, |_| true)
            .expect("there");
        assert_eq!((rest.texts.len(), rest.cursor), (2, 5));
    }

    #[test]
    fn a_change_comes_in_the_forms_that_a_socket_takes() {
        let mut log = StatusLog::starting_after(0);
        let update_text = Some("1u1".into());
        log.tell(
            1,
            Told {
                update_text,
                ..change(1, 1)
            },
        );
        log.tell(2, sign(1, 1));
        for (name, expected) in [
            (None, vec!["1v1", "1u1", "1s1"]),
            (Some("status_change"), vec!["1v1", "1s1"]),
            (Some("presence_update"), vec!["1u1", "1s1"]),
            (Some("nonsense"), vec!["1v1", "1u1", "1s1"]),
        ] {
            let piece = log
                .read(0, 9, ChangeForms::named(name), |_| true)
                .expect("there");
            let texts: Vec<&str> = piece.texts.iter().map(Utf8Bytes::as_str).collect();
            assert_eq!(texts, expected, "{name:?}");
        }
        let first = log.read(0, 1, ChangeForms::Both, |_| true).expect("there");
        assert_eq!((first.texts.len(), first.cursor), (2, 1));
    }

    #[test]
    fn the_log_is_bounded_and_says_when_something_is_missing() {
        let mut log = StatusLog::starting_after(0);
        let people = CHANGES_MAX as u64 + 10;
        for seq in 1..=people {
            log.tell(seq, change(seq.cast_signed(), 1));
        }
        assert_eq!(log.told.len(), CHANGES_MAX);
        assert_eq!(
            log.read(9, 1, ChangeForms::Both, |_| true)
                .expect_err("too old"),
            Behind
        );
        assert!(!log.reaches_back_to(9) && log.reaches_back_to(10));
        assert!(!log.reaches_back_to(people + 1));
    }

    #[test]
    fn one_person_changing_for_ever_fills_nothing() {
        let mut log = StatusLog::starting_after(0);
        for seq in 1..=3 * CHANGES_MAX as u64 {
            log.tell(seq, change(1, seq.cast_signed()));
        }
        assert_eq!(log.told.len(), 1);
        assert!(log.changes.order.len() <= 2 * CHANGES_MAX);
        assert!(log.reaches_back_to(0));
    }
}
