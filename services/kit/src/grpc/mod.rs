//! gRPC between services. Every request carries its deadline and its trace.

mod balance;
pub mod client;
mod guarded;
pub mod server;

use std::time::{Duration, Instant};

tokio::task_local! {
    /// The time by which the request of this task must be answered.
    static DEADLINE: Instant;
}

/// Runs `work` under a deadline. Calls to peers made inside get the remaining time.
pub async fn with_deadline<F: Future>(deadline: Instant, work: F) -> F::Output {
    DEADLINE.scope(deadline, work).await
}

/// Returns the remaining time of the current request; `None` outside a request.
pub fn time_left() -> Option<Duration> {
    DEADLINE
        .try_with(|deadline| deadline.saturating_duration_since(Instant::now()))
        .ok()
}
