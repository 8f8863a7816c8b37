//! Waiting for a state, by looking at it again and again until a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// The pause between two looks.
pub(crate) const POLL: Duration = Duration::from_millis(25);

/// Waits until it is so; false if it still is not at the deadline.
pub(crate) fn until(deadline: Instant, is_so: impl Fn() -> bool) -> bool {
    while !is_so() {
        if Instant::now() >= deadline {
            return false;
        }
        pause();
    }
    true
}

/// One pause, for waits that do more between two looks than `until` can.
#[expect(
    clippy::disallowed_methods,
    reason = "this program has no async runtime to block"
)]
pub(crate) fn pause() {
    thread::sleep(POLL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_waited_for_and_given_up_at_the_deadline() {
        let start = Instant::now();
        assert!(until(start + Duration::from_mins(1), || start.elapsed() > POLL));
        assert!(!until(start, || false));
    }
}
