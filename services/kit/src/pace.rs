//! The pace of loops: of polls that only matter while somebody uses what they keep current, and of rounds that handle
//! what has gathered since the last one.
//!
//! A loop that polls a peer several times a second is cheap beside the requests that need it, and most of the cost of a
//! platform without users. So it polls often while its state is in use and seldom otherwise ([`PollPace`]). The first use
//! after a pause waits for a poll, so that it finds the state as current as any other use does.
//!
//! A loop that handles each item as it comes does the fixed part of its work for each of them. One that pauses between
//! rounds shares it, and makes items wait. So the pause follows the cost of a round ([`RoundPace`]): while a round is
//! cheap, items hardly wait, and while the machine is busy, large batches form.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

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

/// How far apart the rounds of a loop are.
#[derive(Clone, Copy, Debug)]
pub struct RoundSpacing {
    /// Greatest share of the time, in percent, that rounds take, as long as they are shorter than this share of
    /// `interval_max`.
    pub busy_percent_max: u32,
    /// Shortest time from the beginning of a round to that of the next one.
    pub interval_min: Duration,
    /// Longest time from the beginning of a round to that of the next one, unless the round itself takes longer.
    pub interval_max: Duration,
}

impl RoundSpacing {
    /// Returns the time from the beginning of a round that takes so long to the beginning of the next one.
    pub fn interval_of(self, round: Duration) -> Duration {
        let interval = round.saturating_mul(100) / self.busy_percent_max.max(1);
        interval.clamp(self.interval_min, self.interval_max)
    }
}

/// Begins the rounds of one loop at the distance that their cost permits. A round after a pause begins at once.
#[derive(Debug)]
pub struct RoundPace {
    spacing: RoundSpacing,
    next_at: Instant,
}

impl RoundPace {
    /// Returns the pace of a loop whose first round may begin now.
    pub fn new(spacing: RoundSpacing) -> Self {
        Self {
            spacing,
            next_at: Instant::now(),
        }
    }

    /// Waits until the next round may begin.
    pub async fn wait(&self) {
        // The timer has a resolution of a millisecond, so that even no time at all could take one.
        if self.next_at > Instant::now() {
            sleep_until(self.next_at).await;
        }
    }

    /// Records that the round that began then has ended.
    pub fn record_round(&mut self, began_at: Instant) {
        self.next_at = began_at + self.spacing.interval_of(began_at.elapsed());
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

    const SPACING: RoundSpacing = RoundSpacing {
        busy_percent_max: 25,
        interval_min: Duration::from_millis(5),
        interval_max: Duration::from_millis(20),
    };

    /// Runs one round and returns for how long it waited for its turn.
    async fn measure_turn(pace: &mut RoundPace, round: Duration) -> Duration {
        let asked_at = Instant::now();
        pace.wait().await;
        let began_at = Instant::now();
        sleep(round).await;
        pace.record_round(began_at);
        began_at - asked_at
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_round_and_one_after_a_pause_begin_at_once() {
        let mut pace = RoundPace::new(SPACING);
        let round = Duration::from_millis(3);
        assert_eq!(measure_turn(&mut pace, round).await, Duration::ZERO);
        sleep(SPACING.interval_max).await;
        assert_eq!(measure_turn(&mut pace, round).await, Duration::ZERO);
        assert!(measure_turn(&mut pace, round).await > Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_interval_follows_the_cost_of_a_round_within_its_bounds() {
        for (round_ms, interval_ms) in [(1, 5), (2, 8), (4, 16), (5, 20), (9, 20), (30, 30)] {
            let mut pace = RoundPace::new(SPACING);
            let round = Duration::from_millis(round_ms);
            measure_turn(&mut pace, round).await;
            let waited = measure_turn(&mut pace, round).await;
            let interval = Duration::from_millis(interval_ms);
            assert_eq!(round + waited, interval, "rounds of {round_ms} ms");
        }
    }
}
