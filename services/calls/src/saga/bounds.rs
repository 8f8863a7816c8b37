//! Limits that all parts of the saga share.

use futures::{StreamExt, stream};

/// Time after which the sweeper takes over a step, in seconds. It exceeds the deadline of every request, so
/// the sweeper never competes with a request that still runs.
pub(crate) const LEASE_SECS: f64 = 8.0;

/// Number of calls that one operation drives concurrently.
const CONCURRENT_CALLS_MAX: usize = 16;

/// Runs an action for each item, [`CONCURRENT_CALLS_MAX`] at a time, and returns the sum of the results.
pub(crate) async fn sum_concurrently<T, F>(many: Vec<T>, act: impl FnMut(T) -> F) -> usize
where
    F: Future<Output = usize>,
{
    stream::iter(many)
        .map(act)
        .buffer_unordered(CONCURRENT_CALLS_MAX)
        .fold(0, |sum, each| async move { sum + each })
        .await
}
