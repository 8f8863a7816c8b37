//! A circuit breaker, so that logins do not wait for a provider that does not answer.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A circuit breaker: so many failures in a row open it for a while; then one request tries whether
/// the provider is back.
#[derive(Debug)]
pub struct CircuitBreaker {
    failures_max: u32,
    pause: Duration,
    state: Mutex<BreakerState>,
}

#[derive(Debug, Default)]
struct BreakerState {
    failures: u32,
    open_until: Option<Instant>,
}

impl CircuitBreaker {
    /// Opens for `pause` at this failure in a row.
    pub fn new(failures_max: u32, pause: Duration) -> Self {
        Self {
            failures_max,
            pause,
            state: Mutex::default(),
        }
    }

    /// Whether all requests are refused now.
    pub fn is_open(&self, now: Instant) -> bool {
        self.state().open_until.is_some_and(|until| now < until)
    }

    /// Lets a request through, or not. After the pause it lets one through and pauses again until that
    /// one has an answer.
    pub fn try_enter(&self, now: Instant) -> bool {
        let mut state = self.state();
        match state.open_until {
            Some(until) if now < until => false,
            Some(_) => {
                state.open_until = Some(now + self.pause);
                true
            }
            None => true,
        }
    }

    /// Records a request that was answered.
    pub fn record_success(&self) {
        *self.state() = BreakerState::default();
    }

    /// Records a request that failed or was not answered.
    pub fn record_failure(&self, now: Instant) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= self.failures_max {
            state.open_until = Some(now + self.pause);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, BreakerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);

    /// With `failures` behind it, of two allowed.
    fn breaker(failures: u32, at: Instant) -> CircuitBreaker {
        let breaker = CircuitBreaker::new(2, PAUSE);
        for _ in 0..failures {
            breaker.record_failure(at);
        }
        breaker
    }

    #[test]
    fn consecutive_failures_open_the_breaker_and_a_success_resets_it() {
        let now = Instant::now();
        assert!(breaker(1, now).try_enter(now));
        assert!(!breaker(2, now).try_enter(now));
        assert!(breaker(2, now).is_open(now));
        let mended = breaker(1, now);
        mended.record_success();
        mended.record_failure(now);
        assert!(mended.try_enter(now));
    }

    #[test]
    fn after_the_pause_one_request_tests_the_provider() {
        let now = Instant::now();
        let after = now + PAUSE;
        let open = breaker(2, now);
        assert!(!open.try_enter(now + PAUSE / 2));
        assert!(open.try_enter(after), "one tries");
        assert!(!open.try_enter(after), "and the others wait for it");
        open.record_failure(after);
        assert!(!open.try_enter(after));
        assert!(open.try_enter(after + PAUSE));
        open.record_success();
        assert!(open.try_enter(after) && open.try_enter(after));
    }
}
