//! The request counts of this replica. They refuse a burst without a request to Redis, and decide alone while it is
//! unavailable.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(super) const WINDOW: Duration = Duration::from_mins(1);
/// Bound of the stored counts. When it is reached and too few have expired, all are dropped.
const COUNTS_MAX: usize = 100_000;
/// Windows whose ends differ by less than this are the same one.
const SAME_WINDOW: Duration = Duration::from_secs(1);

/// The requests in a window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct RequestCount {
    pub(super) requests: u32,
    pub(super) window_ends_at: Instant,
}

/// Request counts by key.
#[derive(Debug, Default)]
pub(super) struct LocalRequestCounts(Mutex<HashMap<String, RequestCount>>);

impl LocalRequestCounts {
    /// Counts one more request. A window begins with its first one.
    pub(super) fn add(&self, key: &str, now: Instant) -> RequestCount {
        self.with_counts(now, |counts| {
            let count = counts.entry(key.to_owned()).or_insert(RequestCount {
                requests: 0,
                window_ends_at: now + WINDOW,
            });
            if count.window_ends_at <= now {
                *count = RequestCount {
                    requests: 0,
                    window_ends_at: now + WINDOW,
                };
            }
            count.requests = count.requests.saturating_add(1);
            *count
        })
    }

    /// Adopts the count of all replicas. Requests of this replica that are still on their way to Redis stay counted,
    /// unless the shared window is a later one.
    pub(super) fn adopt(&self, key: &str, shared: RequestCount, now: Instant) {
        self.with_counts(now, |counts| {
            let local = counts.entry(key.to_owned()).or_insert(shared);
            let is_later = shared.window_ends_at > local.window_ends_at + SAME_WINDOW;
            let requests = if is_later { 0 } else { local.requests };
            *local = RequestCount {
                requests: requests.max(shared.requests),
                ..shared
            };
        });
    }

    fn with_counts<T>(
        &self,
        now: Instant,
        work: impl FnOnce(&mut HashMap<String, RequestCount>) -> T,
    ) -> T {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= COUNTS_MAX {
            counts.retain(|_, count| count.window_ends_at > now);
            if counts.len() > COUNTS_MAX / 2 {
                counts.clear();
            }
        }
        work(&mut counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(requests: u32, window_ends_at: Instant) -> RequestCount {
        RequestCount {
            requests,
            window_ends_at,
        }
    }

    #[test]
    fn a_window_begins_with_its_first_request() {
        let (counts, now) = (LocalRequestCounts::default(), Instant::now());
        for requests in 1..=3 {
            assert_eq!(counts.add("a", now), shared(requests, now + WINDOW));
        }
        assert_eq!(counts.add("b", now).requests, 1);
        let later = now + WINDOW;
        assert_eq!(counts.add("a", later), shared(1, later + WINDOW));
    }

    #[test]
    fn requests_of_other_replicas_and_pending_ones_are_counted() {
        let (counts, now) = (LocalRequestCounts::default(), Instant::now());
        for _ in 0..5 {
            counts.add("a", now);
        }
        let ends_at = now + WINDOW / 2;
        counts.adopt("a", shared(3, ends_at), now);
        assert_eq!(counts.add("a", now), shared(6, ends_at));
        counts.adopt("a", shared(40, ends_at), now);
        assert_eq!(counts.add("a", now), shared(41, ends_at));
    }

    #[test]
    fn a_later_window_of_redis_replaces_the_local_one() {
        let (counts, now) = (LocalRequestCounts::default(), Instant::now());
        for _ in 0..5 {
            counts.add("a", now);
        }
        let ends_at = now + WINDOW + 2 * SAME_WINDOW;
        counts.adopt("a", shared(1, ends_at), now);
        assert_eq!(counts.add("a", now), shared(2, ends_at));
    }

    #[test]
    fn the_memory_is_bounded() {
        let (counts, now) = (LocalRequestCounts::default(), Instant::now());
        for key in 0..2 * COUNTS_MAX {
            counts.add(&key.to_string(), now);
        }
        let kept = counts.0.lock().expect("not poisoned").len();
        assert!(kept <= COUNTS_MAX, "{kept}");
    }
}
