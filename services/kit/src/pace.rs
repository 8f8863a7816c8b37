//! The pace of polls that only matter while somebody uses what they keep current.
//!
//! A loop that polls a peer several times a second is cheap beside the requests that need it, and most of the cost of a
//! platform without users. So it polls often while its state is in use and seldom otherwise. The first use after a
//! pause waits for a poll, so that it finds the state as current as any other use does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

/// Polls stay frequent for so long after the last use.
const UNUSED_AFTER: Duration = Duration::from_secs(1);

/// The pace of one polling loop, which shares it with the users of its state.
#[derive(Debug)]
pub struct PollPace {
    /// Whether the state was used since the loop looked last.
    is_used: AtomicBool,
    /// When the loop last saw a use.
    used_at: Mutex<Instant>,
    /// Whether the state may be old, since the loop polls seldom. It stays so until the next poll has ended.
    is_slow: AtomicBool,
    needed: Notify,
    polled: Notify,
    /// Cloned by those who need frequent polls between their uses.
    holders: Arc<()>,
}

/// Keeps polls frequent for as long as it exists.
#[derive(Clone, Debug)]
pub struct FrequentPolls {
    _holder: Arc<()>,
}

impl Default for PollPace {
    fn default() -> Self {
        Self {
            is_used: AtomicBool::new(true),
            used_at: Mutex::new(Instant::now()),
            is_slow: AtomicBool::new(false),
            needed: Notify::new(),
            polled: Notify::new(),
            holders: Arc::new(()),
        }
    }
}

impl PollPace {
    /// Keeps polls frequent until the answer is dropped, for somebody who must learn of changes without asking.
    pub fn hold(&self) -> FrequentPolls {
        FrequentPolls {
            _holder: self.holders.clone(),
        }
    }

    /// Records a use of the state. If polls are seldom, this starts one and waits until it has ended, though no longer
    /// than `wait_max`.
    pub async fn record_use(&self, wait_max: Duration) {
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
        // It hears of every poll that ends from here on, whether it is awaited yet or not.
        let polled = self.polled.notified();
        if self.is_slow.load(Ordering::SeqCst) {
            self.needed.notify_one();
            // Whoever uses the state finds out how old it is.
            let _ = timeout(wait_max, polled).await;
        }
    }

    /// Records that the loop has ended a poll, also one that failed.
    pub fn record_poll(&self) {
        self.is_slow.store(false, Ordering::SeqCst);
        self.polled.notify_waiters();
    }

    /// Waits until the loop has to poll again: for `often` while the state is in use, and else for `seldom` or until it
    /// is used.
    pub async fn wait(&self, often: Duration, seldom: Duration) {
        if self.is_in_use() {
            return sleep(often).await;
        }
        self.is_slow.store(true, Ordering::SeqCst);
        tokio::select! {
            () = sleep(seldom) => {}
            () = self.needed.notified() => {}
        }
    }

    fn is_in_use(&self) -> bool {
        let was_used = self.is_used.swap(false, Ordering::Relaxed);
        let mut used_at = self.used_at.lock().unwrap_or_else(PoisonError::into_inner);
        if was_used || Arc::strong_count(&self.holders) > 1 {
            *used_at = Instant::now();
        }
        used_at.elapsed() < UNUSED_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFTEN: Duration = Duration::from_secs(1);
    const SELDOM: Duration = Duration::from_mins(1);
    const WAIT_MAX: Duration = Duration::from_secs(5);

    /// Returns the seconds of the next pause.
    async fn measure_wait(pace: &PollPace) -> u64 {
        let begin = Instant::now();
        pace.wait(OFTEN, SELDOM).await;
        pace.record_poll();
        begin.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn polls_become_seldom_once_nobody_uses_the_state() {
        let pace = PollPace::default();
        for _ in 0..UNUSED_AFTER.as_secs() {
            assert_eq!(measure_wait(&pace).await, OFTEN.as_secs());
        }
        assert_eq!(measure_wait(&pace).await, SELDOM.as_secs());
        pace.record_use(WAIT_MAX).await;
        assert_eq!(measure_wait(&pace).await, OFTEN.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn polls_stay_frequent_while_somebody_holds_them() {
        let pace = PollPace::default();
        let held = pace.hold();
        for _ in 0..2 * UNUSED_AFTER.as_secs() {
            assert_eq!(measure_wait(&pace).await, OFTEN.as_secs());
        }
        drop(held);
        for _ in 0..UNUSED_AFTER.as_secs() {
            measure_wait(&pace).await;
        }
        assert_eq!(measure_wait(&pace).await, SELDOM.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_use_after_a_pause_waits_for_a_poll_and_the_next_one_does_not() {
        const POLL: Duration = Duration::from_secs(2);
        let pace = PollPace::default();
        tokio::time::advance(UNUSED_AFTER).await;
        pace.is_used.store(false, Ordering::Relaxed);
        let polling = async {
            pace.wait(OFTEN, SELDOM).await;
            sleep(POLL).await;
            pace.record_poll();
        };
        let using = async {
            sleep(OFTEN).await;
            let begin = Instant::now();
            pace.record_use(WAIT_MAX).await;
            assert_eq!(begin.elapsed().as_secs(), POLL.as_secs());
            pace.record_use(WAIT_MAX).await;
            assert_eq!(begin.elapsed().as_secs(), POLL.as_secs());
        };
        tokio::join!(polling, using);
    }

    #[tokio::test(start_paused = true)]
    async fn a_use_does_not_wait_for_ever_for_a_poll() {
        let pace = PollPace::default();
        pace.is_slow.store(true, Ordering::SeqCst);
        let begin = Instant::now();
        pace.record_use(WAIT_MAX).await;
        assert_eq!(begin.elapsed().as_secs(), WAIT_MAX.as_secs());
    }
}
