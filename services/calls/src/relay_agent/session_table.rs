//! The sessions of a relay and their totals.
//!
//! A session that has been followed from its start is counted by the traffic that coturn publishes. Any other
//! one, after a start of the agent or a gap in the messages, has the totals of coturn's listing, which lag behind
//! by one message. Listed totals and messages are never added up, since nobody knows which messages a listing
//! includes. The end of a session brings the exact totals in either case.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::listing::ListedSession;
use super::session_key::SessionKey;
use super::statistics::{StatisticsEvent, StatisticsKind};
use crate::domain::relay::{AllocationReport, RelayTraffic, SeatName};

/// Sessions that the table holds; a relay has fewer ports.
const SESSIONS_MAX: usize = 100_000;

/// The source of the totals of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TotalsSource {
    /// The messages since its start.
    Messages,
    /// Listings.
    Listings,
}

#[derive(Clone, Debug)]
struct SessionState {
    source: TotalsSource,
    began_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    traffic: RelayTraffic,
    /// Number of the last report that was taken.
    seq: i64,
    /// Whether calls does not know the present state yet.
    is_due: bool,
}

/// The sessions of a relay.
#[derive(Debug, Default)]
pub(super) struct SessionTable {
    sessions: HashMap<SessionKey, SessionState>,
}

impl SessionTable {
    /// Applies a message; returns false if the session does not fit into the table.
    pub(super) fn apply_event(&mut self, event: StatisticsEvent, now: DateTime<Utc>) -> bool {
        let source = match event.kind {
            StatisticsKind::Began => TotalsSource::Messages,
            // The start was missed, so that there may be more than the messages have told.
            StatisticsKind::Interval(_) | StatisticsKind::Total(_) => TotalsSource::Listings,
        };
        let Some(session) = self.find_or_insert(event.key, now, source) else {
            return false;
        };
        match event.kind {
            StatisticsKind::Interval(traffic) if session.source == TotalsSource::Messages => {
                session.traffic = session.traffic.plus(traffic);
            }
            StatisticsKind::Total(traffic) => {
                session.traffic = traffic;
                session.ended_at.get_or_insert(now);
            }
            StatisticsKind::Began | StatisticsKind::Interval(_) => {}
        }
        session.is_due = true;
        true
    }

    /// Applies a complete listing that was requested at `asked_at`. Sessions that are missing from it have ended
    /// unnoticed. All are due to be reported, because calls regards an allocation without reports as gone.
    /// Returns false if some sessions do not fit into the table.
    pub(super) fn apply_listing(
        &mut self,
        listed: &[ListedSession],
        asked_at: DateTime<Utc>,
    ) -> bool {
        let mut has_room = true;
        for session in listed {
            let age = TimeDelta::from_std(session.age).unwrap_or_default();
            let began_at = asked_at - age;
            let found = self.find_or_insert(session.key, began_at, TotalsSource::Listings);
            has_room &= found.is_some();
            if let Some(found) = found.filter(|found| found.source == TotalsSource::Listings) {
                found.traffic = found.traffic.max(session.traffic);
            }
        }
        let keys: HashSet<SessionKey> = listed.iter().map(|session| session.key).collect();
        for (key, session) in &mut self.sessions {
            session.is_due = true;
            if !keys.contains(key) && session.began_at < asked_at {
                session.ended_at.get_or_insert(asked_at);
            }
        }
        has_room
    }

    /// Records that messages were lost: no session counts as followed from its start any more. Returns how many
    /// did before.
    pub(super) fn record_lost_messages(&mut self) -> usize {
        let sessions = self.sessions.values_mut();
        let followed = sessions.filter(|session| session.source == TotalsSource::Messages);
        let mut count = 0;
        for session in followed {
            session.source = TotalsSource::Listings;
            count += 1;
        }
        count
    }

    fn find_or_insert(
        &mut self,
        key: SessionKey,
        began_at: DateTime<Utc>,
        source: TotalsSource,
    ) -> Option<&mut SessionState> {
        if self.sessions.len() >= SESSIONS_MAX && !self.sessions.contains_key(&key) {
            return None;
        }
        Some(self.sessions.entry(key).or_insert(SessionState {
            source,
            began_at,
            ended_at: None,
            traffic: RelayTraffic::default(),
            seq: 0,
            is_due: true,
        }))
    }

    /// Takes up to `max` reports of what calls does not know yet.
    pub(super) fn take_reports(&mut self, max: usize, now: DateTime<Utc>) -> Vec<AllocationReport> {
        let due = self
            .sessions
            .iter_mut()
            .filter(|(_, session)| session.is_due);
        due.take(max)
            .map(|(key, session)| {
                session.is_due = false;
                // Time goes on over restarts of the agent, and so do the numbers.
                session.seq = now.timestamp_millis().max(session.seq + 1);
                AllocationReport {
                    allocation: key.session_id(),
                    username: key.username,
                    seq: session.seq,
                    began_at: session.began_at,
                    ended_at: session.ended_at,
                    traffic: session.traffic,
                }
            })
            .collect()
    }

    /// Forgets the ended sessions of reports that calls has stored, unless they have changed since.
    pub(super) fn confirm_reports(&mut self, reports: &[AllocationReport]) {
        for report in reports.iter().filter(|report| report.ended_at.is_some()) {
            let key = SessionKey::new(&report.allocation, report.username);
            if let Some(key) = key
                && self
                    .sessions
                    .get(&key)
                    .is_some_and(|session| !session.is_due)
            {
                self.sessions.remove(&key);
            }
        }
    }

    /// Makes the sessions of reports that calls has not stored due again.
    pub(super) fn return_reports(&mut self, reports: &[AllocationReport]) {
        for report in reports {
            let key = SessionKey::new(&report.allocation, report.username);
            if let Some(session) = key.and_then(|key| self.sessions.get_mut(&key)) {
                session.is_due = true;
            }
        }
    }

    /// Lists the live sessions of a seat.
    pub(super) fn list_live_of(&self, seat: SeatName) -> Vec<SessionKey> {
        let sessions = self.sessions.iter();
        let live = sessions
            .filter(|(key, session)| key.username.seat == seat && session.ended_at.is_none());
        live.map(|(key, _)| *key).collect()
    }

    /// Whether no session is live or waits to be reported.
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Counts the live sessions.
    pub(super) fn count_live(&self) -> usize {
        let sessions = self.sessions.values();
        sessions
            .filter(|session| session.ended_at.is_none())
            .count()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
    }

    fn key() -> SessionKey {
        let username = "1900000000:42.caller.1".parse().expect("a user name");
        SessionKey::new("001000000000000002", username).expect("a session id")
    }

    fn traffic(packets: i64) -> RelayTraffic {
        RelayTraffic {
            in_packets: packets,
            in_bytes: packets * 160,
            out_packets: packets,
            out_bytes: packets * 160,
        }
    }

    fn apply(table: &mut SessionTable, kind: StatisticsKind) {
        let event = StatisticsEvent { key: key(), kind };
        assert!(table.apply_event(event, now()));
    }

    fn list(table: &mut SessionTable, packets: i64, asked_at: DateTime<Utc>) {
        let listed = ListedSession {
            key: key(),
            age: Duration::from_mins(1),
            traffic: traffic(packets),
        };
        assert!(table.apply_listing(&[listed], asked_at));
    }

    fn take_one(table: &mut SessionTable) -> AllocationReport {
        let mut reports = table.take_reports(10, now());
        assert_eq!(reports.len(), 1, "{reports:?}");
        reports.remove(0)
    }

    #[test]
    fn a_followed_session_is_the_sum_of_its_messages() {
        let mut table = SessionTable::default();
        apply(&mut table, StatisticsKind::Began);
        apply(&mut table, StatisticsKind::Interval(traffic(1_024)));
        // A listing may or may not include the last message.
        list(&mut table, 2_048, now());
        apply(&mut table, StatisticsKind::Interval(traffic(1_024)));
        assert_eq!(take_one(&mut table).traffic, traffic(2_048));
    }

    #[test]
    fn a_session_that_was_running_before_has_the_totals_of_listings() {
        let mut table = SessionTable::default();
        apply(&mut table, StatisticsKind::Interval(traffic(1_024)));
        list(&mut table, 5_000, now());
        apply(&mut table, StatisticsKind::Interval(traffic(1_024)));
        let report = take_one(&mut table);
        assert_eq!(report.traffic, traffic(5_000));
        apply(&mut table, StatisticsKind::Total(traffic(6_100)));
        let last = take_one(&mut table);
        assert_eq!(last.traffic, traffic(6_100));
        assert_eq!(last.ended_at, Some(now()));
        assert!(last.seq > report.seq);
    }

    #[test]
    fn a_gap_in_the_messages_makes_listings_the_source() {
        let mut table = SessionTable::default();
        apply(&mut table, StatisticsKind::Began);
        apply(&mut table, StatisticsKind::Interval(traffic(1_024)));
        assert_eq!(table.record_lost_messages(), 1);
        apply(&mut table, StatisticsKind::Interval(traffic(1_024)));
        assert_eq!(take_one(&mut table).traffic, traffic(1_024));
        list(&mut table, 4_096, now());
        assert_eq!(take_one(&mut table).traffic, traffic(4_096));
    }

    #[test]
    fn a_session_that_is_missing_in_a_listing_has_ended() {
        let mut table = SessionTable::default();
        list(&mut table, 10, now());
        assert_eq!(take_one(&mut table).ended_at, None);
        let later = now() + TimeDelta::seconds(10);
        assert!(table.apply_listing(&[], later));
        assert_eq!(take_one(&mut table).ended_at, Some(later));
        assert_eq!(table.count_live(), 0);
    }

    #[test]
    fn a_session_that_began_after_the_question_is_not_missing() {
        let mut table = SessionTable::default();
        apply(&mut table, StatisticsKind::Began);
        assert!(table.apply_listing(&[], now() - TimeDelta::seconds(1)));
        assert_eq!(table.list_live_of(key().username.seat), [key()]);
    }

    #[test]
    fn an_ended_session_is_forgotten_once_it_is_stored() {
        let mut table = SessionTable::default();
        apply(&mut table, StatisticsKind::Began);
        apply(&mut table, StatisticsKind::Total(traffic(7)));
        let report = take_one(&mut table);
        assert!(table.take_reports(10, now()).is_empty());
        table.return_reports(std::slice::from_ref(&report));
        let again = take_one(&mut table);
        assert_eq!(again.traffic, report.traffic);
        assert!(again.seq > report.seq);
        table.confirm_reports(&[again]);
        assert!(table.is_empty());
    }

    #[test]
    fn reports_come_in_batches() {
        let mut table = SessionTable::default();
        for allocation in 0..5 {
            let key = SessionKey {
                allocation,
                ..key()
            };
            let kind = StatisticsKind::Began;
            assert!(table.apply_event(StatisticsEvent { key, kind }, now()));
        }
        let sizes = [2, 2, 2, 2].map(|max| table.take_reports(max, now()).len());
        assert_eq!(sizes, [2, 2, 1, 0]);
    }
}
