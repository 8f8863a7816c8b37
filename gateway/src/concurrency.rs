//! Load shedding: a limited number of requests run at once, a few more wait for a moment, and the others are
//! refused. A refusal costs little; a request that waits for long is given up by its client, and running it then
//! delays others. One address may run only a part of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use talktime_kit::{Error, ErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::address_counts::{AddressCounts, AddressEntry};
use crate::extract::AddressKey;

/// How long a request may wait for a permit.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// Limits the requests that run at once; cheap to clone.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimit(Arc<ConcurrencyLimitState>);

#[derive(Debug)]
struct ConcurrencyLimitState {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
    by_address: AddressCounts,
}

/// Lets one request run until it is dropped.
#[derive(Debug)]
pub struct ConcurrencyPermit {
    _permit: OwnedSemaphorePermit,
    _of_address: AddressEntry,
}

impl ConcurrencyLimit {
    /// Lets `running_max` requests run at once, `per_address_max` of them from one address, and `waiting_max` wait.
    pub fn new(running_max: usize, per_address_max: usize, waiting_max: usize) -> Self {
        Self(Arc::new(ConcurrencyLimitState {
            permits: Arc::new(Semaphore::new(running_max)),
            waiting: AtomicUsize::new(0),
            waiting_max,
            by_address: AddressCounts::new("requests", per_address_max),
        }))
    }

    /// Waits for a permit for a request from this address.
    ///
    /// # Errors
    /// Too many requests run or wait already, or there was no permit in time.
    pub async fn acquire(&self, address: AddressKey) -> Result<ConcurrencyPermit, Error> {
        let of_address = self.0.by_address.enter(address);
        Ok(ConcurrencyPermit {
            _of_address: of_address.ok_or_else(overloaded)?,
            _permit: self.acquire_permit().await?,
        })
    }

    async fn acquire_permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        let permits = &self.0.permits;
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let _entry = self.enter_queue().ok_or_else(overloaded)?;
        let permit = tokio::time::timeout(WAIT_MAX, permits.clone().acquire_owned()).await;
        let permit = permit.map_err(|_elapsed| overloaded())?;
        Ok(permit.expect("the semaphore is never closed"))
    }

    fn enter_queue(&self) -> Option<ConcurrencyQueueEntry<'_>> {
        let entry = ConcurrencyQueueEntry(&self.0.waiting);
        let before = self.0.waiting.fetch_add(1, Ordering::Relaxed);
        (before < self.0.waiting_max).then_some(entry)
    }
}

/// Counts as waiting until it is dropped.
struct ConcurrencyQueueEntry<'a>(&'a AtomicUsize);

impl Drop for ConcurrencyQueueEntry<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn overloaded() -> Error {
    metrics::counter!("http_server_shed_total").increment(1);
    Error::new(
        ErrorKind::Unavailable,
        "overloaded",
        "The server is overloaded; please try again in a moment.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> AddressKey {
        std::net::IpAddr::from([203, 0, 113, last]).into()
    }

    #[tokio::test]
    async fn an_address_runs_a_part_of_the_requests() {
        let limit = ConcurrencyLimit::new(8, 2, 8);
        let running = [
            limit.acquire(address(7)).await,
            limit.acquire(address(7)).await,
        ];
        assert!(running.iter().all(Result::is_ok));
        let refused = limit.acquire(address(7)).await.expect_err("two run");
        assert_eq!(refused.code(), "overloaded");
        assert!(limit.acquire(address(8)).await.is_ok());
        drop(running);
        assert!(limit.acquire(address(7)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_request_gets_the_next_permit_or_is_refused() {
        let limit = ConcurrencyLimit::new(1, 0, 1);
        let first = limit.acquire(address(7)).await;
        let first = first.expect("the first permit");
        let (second, third) = tokio::join!(limit.acquire(address(7)), limit.acquire(address(8)));
        let refusals = [second, third].map(|acquired| acquired.map(|_| ()).map_err(|e| e.kind()));
        assert_eq!(refusals, [Err(ErrorKind::Unavailable); 2]);
        let waiting = tokio::spawn({
            let limit = limit.clone();
            async move { limit.acquire(address(7)).await.map(|_| ()).is_ok() }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert!(waiting.await.expect("no panic"));
        assert_eq!(limit.0.waiting.load(Ordering::Relaxed), 0);
    }
}
