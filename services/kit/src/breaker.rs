//! A circuit breaker: what fails again and again is not asked for a while, so that it costs those who
//! need it microseconds and no time-out, and is left in peace to come back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many failures one after the other open it.
const FAILURES_MAX: u32 = 5;
/// How long nobody asks. Then one does, and the others wait for what becomes of it.
const OPEN_FOR: Duration = Duration::from_millis(500);

/// Whether to ask at all.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// When the next may ask; none while it is closed.
    open_until: Option<Instant>,
}

/// What an attempt changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// Nothing that anybody need know of.
    None,
    /// From now on nobody asks for a while.
    Opened,
    /// Everybody may ask again.
    Closed,
}

impl Breaker {
    /// Whether to ask now. After a while of being open it lets one attempt through; should that never
    /// be reported, it lets another through after as long again.
    pub fn admits(&self, now: Instant) -> bool {
        let mut state = self.state();
        match state.open_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                state.open_until = Some(now + OPEN_FOR);
                true
            }
        }
    }

    /// An attempt was answered.
    pub fn succeeded(&self) -> Change {
        let was = std::mem::take(&mut *self.state());
        match was.open_until {
            Some(_) => Change::Closed,
            None => Change::None,
        }
    }

    /// An attempt was not.
    pub fn failed(&self, now: Instant) -> Change {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        if state.failures < FAILURES_MAX {
            return Change::None;
        }
        let was_closed = state.open_until.is_none();
        state.open_until = Some(now + OPEN_FOR);
        if was_closed {
            Change::Opened
        } else {
            Change::None
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::default();
        for _ in 1..FAILURES_MAX {
            assert_eq!(breaker.failed(now), Change::None);
            assert!(breaker.admits(now));
        }
        assert_eq!(breaker.failed(now), Change::Opened);
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it() {
        let now = Instant::now();
        assert!(!opened(now).admits(now));
    }

    #[test]
    fn a_success_in_between_keeps_it_closed() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..3 * FAILURES_MAX {
            breaker.failed(now);
            assert_eq!(breaker.succeeded(), Change::None);
        }
        assert!(breaker.admits(now));
    }

    #[test]
    fn one_probe_decides_for_all() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + OPEN_FOR;
        assert!(breaker.admits(later));
        assert!(!breaker.admits(later), "one at a time");
        assert_eq!(breaker.failed(later), Change::None);
        assert!(!breaker.admits(later), "still open");
        assert!(breaker.admits(later + OPEN_FOR));
        assert_eq!(breaker.succeeded(), Change::Closed);
        assert!(breaker.admits(later) && breaker.admits(later));
    }

    #[test]
    fn a_probe_that_nobody_hears_of_is_followed_by_another() {
        let now = Instant::now();
        let breaker = opened(now);
        assert!(breaker.admits(now + OPEN_FOR));
        assert!(breaker.admits(now + 2 * OPEN_FOR));
    }
}
