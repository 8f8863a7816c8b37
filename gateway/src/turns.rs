//! Load shedding: so many requests are worked on at once, a few more wait a moment, and the rest are
//! told to come back. What is refused at once costs little; what waits for long is given up by its
//! client, and working on it then keeps others waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use talktime_kit::{Error, Kind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a request may wait for its turn.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// The turns of requests; cheap to clone.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// A request's turn; over when it is dropped.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Turns {
    /// Lets `running_max` requests in at once, and `waiting_max` wait.
    pub fn new(running_max: usize, waiting_max: usize) -> Self {
        Self(Arc::new(Inner {
            free: Arc::new(Semaphore::new(running_max)),
            waiting: AtomicUsize::new(0),
            waiting_max,
        }))
    }

    /// Waits for a turn, if not too many wait already, and not for long.
    pub async fn take(&self) -> Result<Turn, Error> {
        let Inner { free, .. } = &*self.0;
        if let Ok(turn) = free.clone().try_acquire_owned() {
            return Ok(Turn(turn));
        }
        let _place = self.queue().ok_or_else(overloaded)?;
        let turn = tokio::time::timeout(WAIT_MAX, free.clone().acquire_owned()).await;
        let turn = turn.map_err(|_elapsed| overloaded())?;
        Ok(Turn(turn.expect("the semaphore is never closed")))
    }

    fn queue(&self) -> Option<Place<'_>> {
        let place = Place(&self.0.waiting);
        let before = self.0.waiting.fetch_add(1, Ordering::Relaxed);
        (before < self.0.waiting_max).then_some(place)
    }
}

/// A place in the queue.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn overloaded() -> Error {
    metrics::counter!("http_server_shed_total").increment(1);
    Error::new(
        Kind::Unavailable,
        "overloaded",
        "Too much is going on; please try again in a moment.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_the_next_turn_or_is_told_to_come_back() {
        let turns = Turns::new(1, 1);
        let first = turns.take().await.expect("the first turn");
        let (second, third) = tokio::join!(turns.take(), turns.take());
        let refusals = [second, third].map(|taken| taken.map(|_| ()).map_err(|e| e.kind()));
        assert_eq!(refusals, [Err(Kind::Unavailable); 2]);
        let waiting = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take().await.map(|_| ()).is_ok() }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert!(waiting.await.expect("no panic"));
        assert_eq!(turns.0.waiting.load(Ordering::Relaxed), 0);
    }
}
