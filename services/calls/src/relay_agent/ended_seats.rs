//! Seats whose calls have ended, so that an allocation with a credential that is still valid is cut as soon as
//! it begins.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::relay::{RelayUsername, SeatName};

/// Longer than the life of a credential.
const REMEMBERED: Duration = Duration::from_mins(10);
/// Seats that are remembered; the oldest make room.
const SEATS_MAX: usize = 50_000;

/// Seats that have ended lately.
#[derive(Debug, Default)]
pub(super) struct EndedSeats {
    ended_at: HashMap<SeatName, Instant>,
    oldest_first: VecDeque<SeatName>,
}

impl EndedSeats {
    /// Adds a seat.
    pub(super) fn insert(&mut self, seat: SeatName, now: Instant) {
        if self.ended_at.insert(seat, now).is_none() {
            self.oldest_first.push_back(seat);
        }
        while let Some(oldest) = self.oldest_first.front() {
            let is_old = self
                .ended_at
                .get(oldest)
                .is_none_or(|ended_at| now.duration_since(*ended_at) > REMEMBERED);
            if !is_old && self.oldest_first.len() <= SEATS_MAX {
                return;
            }
            self.ended_at.remove(oldest);
            self.oldest_first.pop_front();
        }
    }

    /// Returns whether the seat has ended.
    pub(super) fn contains(&self, seat: SeatName) -> bool {
        self.ended_at.contains_key(&seat)
    }
}

/// Parses a name of a cut: that of a credential, or of a seat without the expiry.
pub(super) fn parse_seat(name: &str) -> Option<SeatName> {
    let username = name.parse().map(|username: RelayUsername| username.seat);
    username.or_else(|_| name.parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::relay::SeatRole;

    fn seat(call_id: i64) -> SeatName {
        SeatName {
            call_id,
            role: SeatRole::Caller,
            epoch: 1,
        }
    }

    #[test]
    fn a_cut_names_a_seat_with_or_without_an_expiry() {
        assert_eq!(parse_seat("1900000000:42.caller.1"), Some(seat(42)));
        assert_eq!(parse_seat("42.caller.1"), Some(seat(42)));
        assert_eq!(parse_seat("42"), None);
    }

    #[test]
    fn ended_seats_are_remembered_for_a_while() {
        let (mut ended, now) = (EndedSeats::default(), Instant::now());
        ended.insert(seat(1), now);
        ended.insert(seat(2), now + REMEMBERED);
        assert!(ended.contains(seat(1)));
        ended.insert(seat(3), now + REMEMBERED + Duration::from_secs(1));
        let remembered = [1, 2, 3].map(|call_id| ended.contains(seat(call_id)));
        assert_eq!(remembered, [false, true, true]);
    }

    #[test]
    fn the_oldest_seats_make_room() {
        let (mut ended, now) = (EndedSeats::default(), Instant::now());
        for call_id in 0..=SEATS_MAX {
            ended.insert(seat(i64::try_from(call_id).expect("small")), now);
        }
        assert!(!ended.contains(seat(0)));
        assert!(ended.contains(seat(1)));
    }
}
