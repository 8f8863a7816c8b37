//! A socket's place in a channel.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::watch;

use super::channel::Channel;
use super::hub::{Epoch, event_at};
use super::status_log::{Behind, Cause, ChangeForms, Told};
use super::viewer::Viewer;

/// People whom a socket may ask to hear of.
pub(super) const SUBSCRIBED_MAX: usize = 1_000;

/// Reads a channel as one person may see it.
pub(super) struct Reader {
    epoch: Arc<Epoch>,
    channel: Channel,
    viewer: Arc<Viewer>,
    cursor: u64,
    forms: ChangeForms,
    /// Empty: everyone.
    only: HashSet<i64>,
    told: watch::Receiver<()>,
}

/// Where a client says that it stopped, and in which forms it takes changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Resume {
    pub(super) epoch: Option<String>,
    pub(super) since: Option<u64>,
    /// It said something, be it nonsense.
    pub(super) is_asked: bool,
    pub(super) forms: ChangeForms,
}

/// How a reader begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Beginning {
    /// With what happens from now on.
    Now,
    /// With what was missed.
    Resumed,
    /// With a snapshot: what was missed is no longer kept.
    Lost,
}

impl Reader {
    pub(super) fn new(
        epoch: Arc<Epoch>,
        channel: Channel,
        viewer: Arc<Viewer>,
        resume: &Resume,
    ) -> (Self, Beginning) {
        // Before the place is taken, so that nothing told in between stays unread.
        let told = if channel.is_public() {
            epoch.statuses(channel).told.subscribe()
        } else {
            viewer.letters.subscribe()
        };
        let since = resume
            .since
            .map(event_at)
            .filter(|_| resume.epoch.as_ref() == Some(&epoch.id));
        let (newest, is_complete) = epoch.newest(channel, since);
        let (cursor, beginning) = match since {
            Some(since) if is_complete => (since, Beginning::Resumed),
            _ if resume.is_asked => (newest, Beginning::Lost),
            _ => (newest, Beginning::Now),
        };
        let reader = Self {
            epoch,
            channel,
            viewer,
            cursor,
            forms: resume.forms,
            only: HashSet::new(),
            told,
        };
        (reader, beginning)
    }

    /// Resolves when there may be more to read.
    pub(super) async fn more(&mut self) {
        // The sender lives as long as the epoch and the viewer, which we hold.
        let _ = self.told.changed().await;
    }

    pub(super) fn epoch(&self) -> &Arc<Epoch> {
        &self.epoch
    }

    /// Goes on after this message instead.
    pub(super) fn step_to(&mut self, cursor: u64) {
        self.cursor = cursor;
    }

    /// The number of the last message read.
    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// At most `max` messages, and steps behind them.
    pub(super) fn read(&mut self, max: usize) -> Result<Vec<Utf8Bytes>, Behind> {
        let piece = if self.channel.is_public() {
            let log = &self.epoch.statuses(self.channel).log;
            let log = log.read().unwrap_or_else(PoisonError::into_inner);
            self.viewer.with_hidden(|hidden| {
                log.read(self.cursor, max, self.forms, |told| {
                    self.is_wanted(told, hidden)
                })
            })?
        } else {
            let log = self.epoch.letters(self.channel);
            let log = log.read().unwrap_or_else(PoisonError::into_inner);
            log.read(self.viewer.user_id, self.cursor, max)?
        };
        self.cursor = piece.cursor;
        Ok(piece.texts)
    }

    fn is_wanted(&self, told: &Told, hidden: &HashSet<i64>) -> bool {
        let is_chosen = if self.only.is_empty() {
            told.cause != (Cause::Sign { is_for_all: false })
        } else {
            self.only.contains(&told.user_id)
        };
        is_chosen && !hidden.contains(&told.user_id)
    }

    /// Whether the socket may tell of this person.
    pub(super) fn may_show(&self, user_id: i64) -> bool {
        let is_listed = self.channel != Channel::Feed || !self.epoch.unverified.contains(user_id);
        let is_hidden = |hidden: &HashSet<i64>| hidden.contains(&user_id);
        is_listed && !self.viewer.with_hidden(is_hidden)
    }

    /// Narrows to these people, besides those chosen before. Answers whether they were not too many.
    pub(super) fn subscribe(&mut self, user_ids: Vec<i64>) -> bool {
        let new = user_ids.iter().filter(|id| !self.only.contains(id));
        if self.only.len() + new.count() > SUBSCRIBED_MAX {
            return false;
        }
        self.only.extend(user_ids);
        true
    }

    /// Takes these people back, or all; without anyone chosen one hears of everyone.
    pub(super) fn unsubscribe(&mut self, user_ids: Option<Vec<i64>>) {
        match user_ids {
            Some(user_ids) => {
                for user_id in user_ids {
                    self.only.remove(&user_id);
                }
            }
            None => self.only.clear(),
        }
        self.only.shrink_to_fit();
    }

    /// Whom one hears of; empty: everyone.
    pub(super) fn only(&self) -> Vec<i64> {
        let mut only: Vec<i64> = self.only.iter().copied().collect();
        only.sort_unstable();
        only
    }
}
