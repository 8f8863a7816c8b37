//! Waits for a state.

use std::time::Duration;

use anyhow::Context;

const POLL: Duration = Duration::from_millis(50);

/// Repeats a probe until it returns a result. If that takes longer than `within`, the error contains the
/// `description` of the result.
pub async fn poll_until<T>(
    description: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let polling = async {
        loop {
            if let Some(found) = probe().await? {
                return anyhow::Ok(found);
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(within, polling)
        .await
        .with_context(|| format!("no {description} within {} s", within.as_secs_f32()))?
}
