//! Measures the rounds in which sockets are woken, and decides from their cost when the next one begins.
//!
//! A socket that is woken for one message costs nearly as much as one that is woken for twenty: the wake and the system
//! call. So messages are gathered for a moment that is short beside the round, and sockets rest after a round for a part of
//! the time that it has taken. With few sockets a message hardly waits, with many it shares its round.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use talktime_kit::pace::RoundSpacing;
use tokio::time::{Instant, sleep_until};

/// The distance of rounds. Its maximum is shorter than that of a relay's batches, so that on a busy machine, where both are
/// reached, a batch does not wait here as long again as it has waited for the relay.
const SPACING: RoundSpacing = RoundSpacing {
    busy_percent_max: 66,
    interval_min: Duration::from_millis(4),
    interval_max: Duration::from_millis(15),
};
/// The first message waits for others for this part of the last round. Services publish events in batches, and sockets
/// that are woken for the first event of a batch have to be woken once more for the rest.
const GATHER_DIVISOR: u32 = 4;
const GATHER_MIN: Duration = Duration::from_millis(1);
/// The second of two batches of a relay arrives within this time after the first, so that changes that are made at once
/// wake many sockets once.
const GATHER_MAX: Duration = Duration::from_millis(25);

/// The latest round, in which all sockets with new messages are woken and have their turns one after the other.
#[derive(Debug)]
pub(super) struct SocketWakeRound {
    created_at: Instant,
    /// When the round began, in microseconds since `created_at`.
    began_us: AtomicU64,
    /// The time from the beginning of the round to the latest turn of a socket.
    last_turn_us: AtomicU64,
}

impl SocketWakeRound {
    pub(super) fn new() -> Self {
        Self {
            created_at: Instant::now(),
            began_us: AtomicU64::new(0),
            last_turn_us: AtomicU64::new(0),
        }
    }

    /// Records that sockets are woken now.
    pub(super) fn begin(&self) {
        self.began_us.store(self.elapsed_us(), Ordering::Relaxed);
        self.last_turn_us.store(0, Ordering::Relaxed);
    }

    /// Records that a socket that was woken has its turn now.
    pub(super) fn record_turn(&self) {
        let began_us = self.began_us.load(Ordering::Relaxed);
        let turn_us = self.elapsed_us().saturating_sub(began_us);
        self.last_turn_us.fetch_max(turn_us, Ordering::Relaxed);
    }

    /// Returns how long the round has taken, as far as it is known yet.
    pub(super) fn cost(&self) -> Duration {
        Duration::from_micros(self.last_turn_us.load(Ordering::Relaxed))
    }

    /// Waits for messages that arrive together with one that has arrived now.
    pub(super) async fn gather(&self) {
        let gathering = (self.cost() / GATHER_DIVISOR).clamp(GATHER_MIN, GATHER_MAX);
        tokio::time::sleep(gathering).await;
    }

    /// Waits until the next round may begin.
    pub(super) async fn rest(&self) {
        // The cost of a round grows as long as it is under way.
        while let Some(rested_at) = self.end_of(SPACING.interval_of(self.cost())) {
            sleep_until(rested_at).await;
        }
    }

    /// Waits until the next round may begin, however expensive the last one was.
    pub(super) async fn rest_longest(&self) {
        if let Some(rested_at) = self.end_of(SPACING.interval_max) {
            sleep_until(rested_at).await;
        }
    }

    /// Returns when this time since the beginning of the round ends, unless it has ended.
    fn end_of(&self, interval: Duration) -> Option<Instant> {
        let began = Duration::from_micros(self.began_us.load(Ordering::Relaxed));
        let end = self.created_at + began + interval;
        (end > Instant::now()).then_some(end)
    }

    fn elapsed_us(&self) -> u64 {
        u64::try_from(self.created_at.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Performs a round in which the last socket has its turn after this time.
    async fn perform_round(round: &SocketWakeRound, last_turn_after: Duration) {
        round.begin();
        round.record_turn();
        advance(last_turn_after).await;
        round.record_turn();
    }

    #[tokio::test(start_paused = true)]
    async fn sockets_rest_for_half_of_a_round_within_bounds() {
        let round = SocketWakeRound::new();
        for (took_ms, interval_ms) in [(1, 4), (4, 7), (6, 10), (12, 15), (40, 40)] {
            perform_round(&round, millis(took_ms)).await;
            let rest_from = Instant::now();
            round.rest().await;
            let interval = millis(took_ms) + rest_from.elapsed();
            assert_eq!(interval, millis(interval_ms), "a round of {took_ms} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_under_way_is_waited_for() {
        let round = SocketWakeRound::new();
        round.begin();
        let began_at = Instant::now();
        let turns = async {
            for _ in 0..8 {
                sleep(millis(1)).await;
                round.record_turn();
            }
        };
        tokio::join!(turns, round.rest());
        assert!(began_at.elapsed() >= millis(12));
    }

    #[tokio::test(start_paused = true)]
    async fn messages_are_gathered_longer_the_longer_the_last_round_took() {
        let round = SocketWakeRound::new();
        for (took_ms, gathered_ms) in [(0, 1), (2, 1), (12, 3), (60, 15), (500, 25)] {
            perform_round(&round, millis(took_ms)).await;
            let began_at = Instant::now();
            round.gather().await;
            assert_eq!(began_at.elapsed(), millis(gathered_ms));
        }
    }
}
