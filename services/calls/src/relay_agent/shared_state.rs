//! The sessions of the relay and the seats that have ended, which the loops of the agent share.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use talktime_kit::periodic::WorkWaker;
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
    /// Starts a report, since reports are seldom while the relay has no session.
    pub(super) reports: WorkWaker,
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
        let was_empty = self.sessions.is_empty();
        if !self.sessions.apply_event(event, now) {
            metrics::record_untracked_session();
        }
        self.wake_first_report(was_empty);
        let is_new = event.kind == StatisticsKind::Began;
        (is_new && has_ended).then_some(event.key)
    }

    /// Applies a complete listing; returns the sessions of ended seats, which are to be cut again.
    pub(super) fn apply_listing(
        &mut self,
        listed: &[ListedSession],
        asked_at: DateTime<Utc>,
    ) -> Vec<SessionKey> {
        let was_empty = self.sessions.is_empty();
        if !self.sessions.apply_listing(listed, asked_at) {
            metrics::record_untracked_session();
        }
        self.wake_first_report(was_empty);
        let keys = listed.iter().map(|session| session.key);
        keys.filter(|key| self.ended_seats.contains(key.username.seat))
            .collect()
    }

    /// Records whether the relay is up. One that is up again is reported at once.
    pub(super) fn set_relay_up(&mut self, is_up: bool) {
        if is_up && !self.is_relay_up {
            self.reports.wake();
        }
        self.is_relay_up = is_up;
    }

    fn wake_first_report(&self, was_empty: bool) {
        if was_empty && !self.sessions.is_empty() {
            self.reports.wake();
        }
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

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::future::ready;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use talktime_kit::lifecycle::ProcessLifecycle;
    use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

    use super::*;

    const WORK: PeriodicWork = PeriodicWork {
        name: Cow::Borrowed("tests.reports"),
        interval: Duration::from_hours(1),
        retry_after: Duration::from_hours(1),
        deadline: Duration::from_secs(1),
        first_turn: FirstTurnStart::AfterInterval,
    };

    /// Counts how often a report is started from now on.
    fn count_reports(lifecycle: &ProcessLifecycle, state: &SharedState) -> Arc<AtomicU32> {
        let reports = Arc::new(AtomicU32::new(0));
        let counted = reports.clone();
        let waker = state.lock().reports.clone();
        periodic::start_wakeable(lifecycle, WORK, waker, move || {
            counted.fetch_add(1, Ordering::Relaxed);
            ready(Ok(NextTurnStart::AfterInterval))
        });
        reports
    }

    async fn read(reports: &AtomicU32) -> u32 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        reports.load(Ordering::Relaxed)
    }

    fn begin_session(state: &SharedState, session_id: &str) {
        let username = "1900000000:42.caller.1".parse().expect("a user name");
        let event = StatisticsEvent {
            key: SessionKey::new(session_id, username).expect("a session id"),
            kind: StatisticsKind::Began,
        };
        state.lock().apply_event(event, DateTime::UNIX_EPOCH);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_session_starts_a_report_and_so_does_a_relay_that_is_up_again() {
        let (lifecycle, state) = (ProcessLifecycle::default(), SharedState::default());
        let reports = count_reports(&lifecycle, &state);
        begin_session(&state, "001000000000000001");
        assert_eq!(read(&reports).await, 1);
        begin_session(&state, "001000000000000002");
        assert_eq!(read(&reports).await, 1, "reports are frequent");
        for is_up in [true, true, false] {
            state.lock().set_relay_up(is_up);
        }
        assert_eq!(read(&reports).await, 2);
        state.lock().set_relay_up(true);
        assert_eq!(read(&reports).await, 3);
    }
}
