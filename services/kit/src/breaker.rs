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
pub struct CircuitBreaker(Mutex<CircuitState>);

#[derive(Debug, Default)]
struct CircuitState {
    failures: u32,
    /// When the next may ask; none while it is closed.
    open_until: Option<Instant>,
}

/// What an attempt changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CircuitChange {
    /// Nothing that anybody need know of.
    None,
    /// From now on nobody asks for a while.
    Opened,
    /// Everybody may ask again.
    Closed,
}

impl CircuitBreaker {
    /// Whether to ask now. After a while of being open it lets one attempt through; should that never
    /// be reported, it lets another through after as long again.
    pub fn allows_call(&self, now: Instant) -> bool {
        let mut state = self.lock_state();
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
    pub fn record_success(&self) -> CircuitChange {
        let was = std::mem::take(&mut *self.lock_state());
        match was.open_until {
            Some(_) => CircuitChange::Closed,
            None => CircuitChange::None,
        }
    }

    /// An attempt was not.
    pub fn record_failure(&self, now: Instant) -> CircuitChange {
        let mut state = self.lock_state();
        state.failures = state.failures.saturating_add(1);
        if state.failures < FAILURES_MAX {
            return CircuitChange::None;
        }
        let was_closed = state.open_until.is_none();
        state.open_until = Some(now + OPEN_FOR);
        if was_closed {
            CircuitChange::Opened
        } else {
            CircuitChange::None
        }
    }

    fn lock_state(&self) -> MutexGuard<'_, CircuitState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(now: Instant) -> CircuitBreaker {
        let breaker = CircuitBreaker::default();
        for _ in 1..FAILURES_MAX {
            assert_eq!(breaker.record_failure(now), CircuitChange::None);
            assert!(breaker.allows_call(now));
        }
        assert_eq!(breaker.record_failure(now), CircuitChange::Opened);
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it() {
        let now = Instant::now();
        assert!(!opened(now).allows_call(now));
    }

    #[test]
    fn a_success_in_between_keeps_it_closed() {
        let (breaker, now) = (CircuitBreaker::default(), Instant::now());
        for _ in 0..3 * FAILURES_MAX {
            breaker.record_failure(now);
            assert_eq!(breaker.record_success(), CircuitChange::None);
        }
        assert!(breaker.allows_call(now));
    }

    #[test]
    fn one_probe_decides_for_all() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + OPEN_FOR;
        assert!(breaker.allows_call(later));
        assert!(!breaker.allows_call(later), "one at a time");
        assert_eq!(breaker.record_failure(later), CircuitChange::None);
        assert!(!breaker.allows_call(later), "still open");
        assert!(breaker.allows_call(later + OPEN_FOR));
        assert_eq!(breaker.record_success(), CircuitChange::Closed);
        assert!(breaker.allows_call(later) && breaker.allows_call(later));
    }

    #[test]
    fn a_probe_that_nobody_hears_of_is_followed_by_another() {
        let now = Instant::now();
        let breaker = opened(now);
        assert!(breaker.allows_call(now + OPEN_FOR));
        assert!(breaker.allows_call(now + 2 * OPEN_FOR));
    }
}
