//! Waiting for a state, never for a moment.

use std::time::Duration;

use anyhow::Context;

const POLL: Duration = Duration::from_millis(50);

/// Looks again and again until there is something to see; an error when the time is over, which
/// names `what` did not come.
pub async fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let seen = async {
        loop {
            if let Some(seen) = look().await? {
                return anyhow::Ok(seen);
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(within, seen)
        .await
        .with_context(|| format!("{what} did not come within {} s", within.as_secs_f32()))?
}
