//! The sessions of the relay and the seats that have ended, which the loops of the agent share.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::ended_seats::{EndedSeats, parse_seat};
use super::listing::ListedSession;
use super::metrics;
use super::session_key::SessionKey;
use super::session_table::SessionTable;
use super::statistics::{StatisticsEvent, StatisticsKind};
use crate::domain::relay::SeatName;

/// State of the agent; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedState(Arc<Mutex<AgentState>>);

#[derive(Debug, Default)]
pub(super) struct AgentState {
    pub(super) sessions: SessionTable,
    /// Whether the last list of sessions succeeded. A relay that is down must not get new calls, so nothing
    /// is reported meanwhile.
    pub(super) is_relay_up: bool,
    ended_seats: EndedSeats,
}

impl SharedState {
    pub(super) fn lock(&self) -> MutexGuard<'_, AgentState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AgentState {
    /// Applies a message of coturn; returns the session if it is to be cut, since it began after the end of its
    /// call.
    pub(super) fn apply_event(
        &mut self,
        event: StatisticsEvent,
        now: DateTime<Utc>,
    ) -> Option<SessionKey> {
        let has_ended = self.ended_seats.contains(event.key.username.seat);
        if !self.sessions.apply_event(event, now) {
            metrics::record_untracked_session();
        }
        let is_new = event.kind == StatisticsKind::Began;
        (is_new && has_ended).then_some(event.key)
    }

    /// Applies a complete listing; returns the sessions of ended seats, which are to be cut again.
    pub(super) fn apply_listing(
        &mut self,
        listed: &[ListedSession],
        asked_at: DateTime<Utc>,
    ) -> Vec<SessionKey> {
        if !self.sessions.apply_listing(listed, asked_at) {
            metrics::record_untracked_session();
        }
        let keys = listed.iter().map(|session| session.key);
        keys.filter(|key| self.ended_seats.contains(key.username.seat))
            .collect()
    }

    /// Records that these seats have ended; returns their live sessions. Names of another form are ignored.
    pub(super) fn end_seats(&mut self, names: &[String], now: Instant) -> Vec<SessionKey> {
        let seats: HashSet<SeatName> = names.iter().filter_map(|name| parse_seat(name)).collect();
        let mut live = Vec::new();
        for seat in seats {
            self.ended_seats.insert(seat, now);
            live.extend(self.sessions.list_live_of(seat));
        }
        live
    }
}
