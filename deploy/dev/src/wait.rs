//! Waits for a state by checking it repeatedly until a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// Time between two checks.
pub(crate) const POLL: Duration = Duration::from_millis(25);

/// Waits until the condition holds; returns false if it does not hold at the deadline.
pub(crate) fn poll_until(deadline: Instant, holds: impl Fn() -> bool) -> bool {
    while !holds() {
        if Instant::now() >= deadline {
            return false;
        }
        sleep_briefly();
    }
    true
}

/// Waits for one interval, for loops that do more between two checks than [`poll_until`] can.
#[expect(
    clippy::disallowed_methods,
    reason = "this program has no async runtime to block"
)]
pub(crate) fn sleep_briefly() {
    thread::sleep(POLL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_when_the_condition_holds_or_at_the_deadline() {
        let start = Instant::now();
        assert!(poll_until(start + Duration::from_mins(1), || start
            .elapsed()
            > POLL));
        assert!(!poll_until(start, || false));
    }
}
