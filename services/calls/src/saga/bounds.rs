//! How long and how many at once: the bounds that all parts of the saga share.

use futures::{StreamExt, stream};

/// How long a step may take before the sweeper takes it over: longer than any request's deadline.
pub(crate) const LEASE_SECS: f64 = 8.0;

/// Sagas that one replica drives at the same time.
const CONCURRENCY: usize = 16;

/// Does one thing with each of many, a bounded number at once; answers the sum.
pub(crate) async fn sum_concurrently<T, F>(many: Vec<T>, act: impl FnMut(T) -> F) -> usize
where
    F: Future<Output = usize>,
{
    stream::iter(many)
        .map(act)
        .buffer_unordered(CONCURRENCY)
        .fold(0, |sum, each| async move { sum + each })
        .await
}
