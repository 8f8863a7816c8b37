//! gRPC between services. Every request carries its deadline and its trace.

mod access;
mod acting_user;
mod balance;
pub mod client;
mod ending_body;
mod guarded;
mod incoming;
mod joined_writes;
mod request_origin;
pub mod server;
pub(crate) mod transport;
mod user_guard;
mod user_token;

use std::time::{Duration, Instant};

pub use access::CallerLookup;
pub use request_origin::{RequestOrigin, with_request_origin};
pub use user_guard::{UserAssertion, UserGuard};
pub use user_token::{USER_TOKEN, current_user_token, with_user_token};

use crate::error::{Error, ErrorKind};

/// Paths of the health service.
const HEALTH_PATHS: &str = "/grpc.health.";
/// Paths of the reflection service.
const REFLECTION_PATHS: &str = "/grpc.reflection.";

tokio::task_local! {
    /// The time by which the request of this task must be answered.
    static DEADLINE: Instant;
}

/// Announces a deadline to `work`, which only shortens the one at hand: calls to peers made inside end by it.
/// Nothing else does; [`run_within`] ends all of `work`.
pub async fn with_deadline<F: Future>(deadline: Instant, work: F) -> F::Output {
    let at_hand = DEADLINE.try_with(|at_hand| *at_hand);
    let deadline = at_hand.map_or(deadline, |at_hand| at_hand.min(deadline));
    DEADLINE.scope(deadline, work).await
}

/// Runs `work` until it is done, and drops it when `bound` has passed.
///
/// # Errors
/// The error of `work`, or [`ErrorKind::DeadlineExceeded`] with an unknown outcome.
pub async fn run_within<T, E: From<Error>>(
    bound: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let deadline = Instant::now() + bound;
    let work = with_deadline(deadline, work);
    let ended = tokio::time::timeout_at(deadline.into(), work).await;
    ended.unwrap_or_else(|_elapsed| Err(deadline_exceeded().into()))
}

fn deadline_exceeded() -> Error {
    Error::new(
        ErrorKind::DeadlineExceeded,
        "deadline_exceeded",
        "This took too long; please try again.",
    )
}

/// Returns the remaining time of the current request; `None` outside a request.
pub fn time_left() -> Option<Duration> {
    DEADLINE
        .try_with(|deadline| deadline.saturating_duration_since(Instant::now()))
        .ok()
}
