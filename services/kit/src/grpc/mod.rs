//! gRPC between services: deadlines and traces travel with every request.

mod balance;
pub mod client;
mod guarded;
pub mod server;

use std::time::{Duration, Instant};

tokio::task_local! {
    /// When the request that this task works for must have been answered.
    static DEADLINE: Instant;
}

/// Runs `work` under a deadline: calls to peers made inside get what is left of it.
pub async fn with_deadline<F: Future>(deadline: Instant, work: F) -> F::Output {
    DEADLINE.scope(deadline, work).await
}

/// What is left of the current request's time; `None` outside a request.
pub fn time_left() -> Option<Duration> {
    DEADLINE
        .try_with(|deadline| deadline.saturating_duration_since(Instant::now()))
        .ok()
}
