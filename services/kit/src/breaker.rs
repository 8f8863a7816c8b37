//! A circuit breaker: a peer that fails repeatedly is not called for a while. Its callers then lose
//! microseconds instead of a time-out, and the peer can recover without load.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Number of consecutive failures that open the circuit of a peer within the platform.
const FAILURES_MAX: u32 = 5;
/// How long the open circuit of such a peer lets no call through.
const OPEN_FOR: Duration = Duration::from_millis(500);

/// Decides whether a peer is called.
#[derive(Debug)]
pub struct CircuitBreaker {
    failures_max: u32,
    open_for: Duration,
    state: Mutex<CircuitState>,
}

#[derive(Debug, Default)]
struct CircuitState {
    failures: u32,
    /// When the next probe is allowed; `None` while the circuit is closed.
    open_until: Option<Instant>,
}

/// The effect of the outcome of a call on the circuit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CircuitChange {
    /// The circuit stays open or closed.
    None,
    /// The circuit was closed and is open now.
    Opened,
    /// The circuit was open and is closed now.
    Closed,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self::new(FAILURES_MAX, OPEN_FOR)
    }
}

impl CircuitBreaker {
    /// Returns a circuit that opens after this number of consecutive failures. After `open_for` one call
    /// probes the peer, and its outcome decides for the others.
    pub fn new(failures_max: u32, open_for: Duration) -> Self {
        Self {
            failures_max,
            open_for,
            state: Mutex::default(),
        }
    }

    /// Returns whether the circuit is open and no probe is due.
    pub fn is_open(&self, now: Instant) -> bool {
        self.lock_state()
            .open_until
            .is_some_and(|until| now < until)
    }

    /// Returns whether a call may be made now. An open circuit lets one probe through after a while. If the
    /// outcome of the probe is never recorded, it lets another one through after the same time.
    pub fn allows_call(&self, now: Instant) -> bool {
        let mut state = self.lock_state();
        match state.open_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                state.open_until = Some(now + self.open_for);
                true
            }
        }
    }

    /// Records that a call was answered.
    pub fn record_success(&self) -> CircuitChange {
        let previous = std::mem::take(&mut *self.lock_state());
        match previous.open_until {
            Some(_) => CircuitChange::Closed,
            None => CircuitChange::None,
        }
    }

    /// Records that a call was not answered.
    pub fn record_failure(&self, now: Instant) -> CircuitChange {
        let mut state = self.lock_state();
        state.failures = state.failures.saturating_add(1);
        if state.failures < self.failures_max {
            return CircuitChange::None;
        }
        let was_closed = state.open_until.is_none();
        state.open_until = Some(now + self.open_for);
        if was_closed {
            CircuitChange::Opened
        } else {
            CircuitChange::None
        }
    }

    fn lock_state(&self) -> MutexGuard<'_, CircuitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn consecutive_failures_open_the_circuit() {
        let now = Instant::now();
        let breaker = opened(now);
        assert!(!breaker.allows_call(now));
        assert!(breaker.is_open(now) && !breaker.is_open(now + OPEN_FOR));
    }

    #[test]
    fn a_success_in_between_keeps_the_circuit_closed() {
        let (breaker, now) = (CircuitBreaker::default(), Instant::now());
        for _ in 0..3 * FAILURES_MAX {
            breaker.record_failure(now);
            assert_eq!(breaker.record_success(), CircuitChange::None);
        }
        assert!(breaker.allows_call(now));
    }

    #[test]
    fn one_probe_decides_for_all_callers() {
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
    fn a_probe_without_outcome_is_followed_by_another() {
        let now = Instant::now();
        let breaker = opened(now);
        assert!(breaker.allows_call(now + OPEN_FOR));
        assert!(breaker.allows_call(now + 2 * OPEN_FOR));
    }
}
