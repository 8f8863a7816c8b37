//! Counts of this replica alone. They refuse a burst before Redis is asked, and decide alone when
//! Redis does not answer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(super) const WINDOW: Duration = Duration::from_mins(1);
/// Counts that are kept, at most. When more are needed and too few have expired, all are forgotten.
const COUNTS_MAX: usize = 100_000;
/// Two windows that end so close together are the same one.
const SAME_WINDOW: Duration = Duration::from_secs(1);

/// Requests in a window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Count {
    pub(super) requests: u32,
    pub(super) window_ends_at: Instant,
}

/// Counts by key.
#[derive(Debug, Default)]
pub(super) struct OwnCounts(Mutex<HashMap<String, Count>>);

impl OwnCounts {
    /// Counts one more request; a window begins with its first.
    pub(super) fn add(&self, key: &str, now: Instant) -> Count {
        self.with_counts(now, |counts| {
            let count = counts.entry(key.to_owned()).or_insert(Count {
                requests: 0,
                window_ends_at: now + WINDOW,
            });
            if count.window_ends_at <= now {
                *count = Count {
                    requests: 0,
                    window_ends_at: now + WINDOW,
                };
            }
            count.requests = count.requests.saturating_add(1);
            *count
        })
    }

    /// Takes over what all replicas have counted together. Requests of ours that are still on their way to
    /// Redis stay counted, unless the shared window is a later one.
    pub(super) fn take_over(&self, key: &str, shared: Count, now: Instant) {
        self.with_counts(now, |counts| {
            let own = counts.entry(key.to_owned()).or_insert(shared);
            let is_later = shared.window_ends_at > own.window_ends_at + SAME_WINDOW;
            let requests = if is_later { 0 } else { own.requests };
            *own = Count {
                requests: requests.max(shared.requests),
                ..shared
            };
        });
    }

    fn with_counts<T>(
        &self,
        now: Instant,
        work: impl FnOnce(&mut HashMap<String, Count>) -> T,
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

    fn shared(requests: u32, window_ends_at: Instant) -> Count {
        Count {
            requests,
            window_ends_at,
        }
    }

    #[test]
    fn a_window_begins_with_its_first_request() {
        let (counts, now) = (OwnCounts::default(), Instant::now());
        for requests in 1..=3 {
            assert_eq!(counts.add("a", now), shared(requests, now + WINDOW));
        }
        assert_eq!(counts.add("b", now).requests, 1);
        let later = now + WINDOW;
        assert_eq!(counts.add("a", later), shared(1, later + WINDOW));
    }

    #[test]
    fn requests_of_other_replicas_count_and_so_do_those_on_their_way() {
        let (counts, now) = (OwnCounts::default(), Instant::now());
        for _ in 0..5 {
            counts.add("a", now);
        }
        let ends_at = now + WINDOW / 2;
        counts.take_over("a", shared(3, ends_at), now);
        assert_eq!(counts.add("a", now), shared(6, ends_at));
        counts.take_over("a", shared(40, ends_at), now);
        assert_eq!(counts.add("a", now), shared(41, ends_at));
    }

    #[test]
    fn a_later_window_of_redis_takes_the_place_of_ours() {
        let (counts, now) = (OwnCounts::default(), Instant::now());
        for _ in 0..5 {
            counts.add("a", now);
        }
        let ends_at = now + WINDOW + 2 * SAME_WINDOW;
        counts.take_over("a", shared(1, ends_at), now);
        assert_eq!(counts.add("a", now), shared(2, ends_at));
    }

    #[test]
    fn the_memory_is_bounded() {
        let (counts, now) = (OwnCounts::default(), Instant::now());
        for key in 0..2 * COUNTS_MAX {
            counts.add(&key.to_string(), now);
        }
        let kept = counts.0.lock().expect("unpoisoned").len();
        assert!(kept <= COUNTS_MAX, "{kept}");
    }
}
