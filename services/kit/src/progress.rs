//! Progress of background loops. Each loop records its turns, also those that fail; a loop that has not turned
//! within its bound is stuck, and the process fails its liveness probe, so that it is restarted.
//!
//! A peer that is silent does not make a loop stuck: every wait on it ends by its deadline
//! ([`crate::deadlines`]), and the turn ends with an error. So an outage of a store restarts no process, however
//! long it lasts. Only a loop that waits for something without a deadline, blocks its thread or has panicked is
//! stuck, and a restart is the remedy for these.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;

/// The loops of a process; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LoopRegistry(Arc<Mutex<Vec<LoopProgress>>>);

/// A loop that records its turns; cheap to clone.
#[derive(Clone, Debug)]
pub struct LoopProgress(Arc<LoopState>);

#[derive(Debug)]
struct LoopState {
    name: Cow<'static, str>,
    turn_max: Duration,
    turned_at: Mutex<Instant>,
}

/// A loop that has not turned within its bound.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StuckLoop {
    /// Identifies the loop, such as `wallet.verify`.
    pub name: Cow<'static, str>,
    /// Time since its last turn.
    pub since: Duration,
}

impl LoopRegistry {
    /// Registers a loop that turns at least once in `turn_max`, its pauses included. Registering counts as
    /// its first turn.
    pub fn register(&self, name: impl Into<Cow<'static, str>>, turn_max: Duration) -> LoopProgress {
        let progress = LoopProgress(Arc::new(LoopState {
            name: name.into(),
            turn_max,
            turned_at: Mutex::new(Instant::now()),
        }));
        metrics::gauge!("background_loop_turn_max_seconds", "loop" => progress.0.name.clone())
            .set(turn_max);
        progress.record_turn();
        lock(&self.0).push(progress.clone());
        progress
    }

    /// Returns the loop that has not turned for the longest time beyond its bound.
    pub fn find_stuck(&self) -> Option<StuckLoop> {
        let loops = lock(&self.0);
        let stuck = loops.iter().filter_map(LoopProgress::as_stuck);
        stuck.max_by_key(|stuck| stuck.since)
    }
}

impl LoopProgress {
    /// Records that the loop has ended a turn.
    #[allow(
        clippy::cast_precision_loss,
        reason = "milliseconds since 1970 have fewer than 53 bits"
    )]
    pub fn record_turn(&self) {
        *lock(&self.0.turned_at) = Instant::now();
        let now = Clock::System.now().timestamp_millis() as f64 / 1_000.0;
        metrics::gauge!("background_loop_last_turn_seconds", "loop" => self.0.name.clone())
            .set(now);
        metrics::counter!("background_loop_turns_total", "loop" => self.0.name.clone())
            .increment(1);
    }

    fn as_stuck(&self) -> Option<StuckLoop> {
        let since = lock(&self.0.turned_at).elapsed();
        (since > self.0.turn_max).then(|| StuckLoop {
            name: self.0.name.clone(),
            since,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_is_stuck_once_its_bound_has_passed_without_a_turn() {
        let loops = LoopRegistry::default();
        let relay = loops.register("relay", Duration::from_mins(1));
        let _purge = loops.register("purge", Duration::from_mins(15));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(loops.find_stuck(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        let stuck = loops.find_stuck().expect("the relay");
        assert_eq!(stuck.name, "relay");
        relay.record_turn();
        assert_eq!(loops.find_stuck(), None);
    }
}
