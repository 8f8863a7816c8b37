//! Checks that no process of the platform still runs.
//!
//! A process that was overlooked would answer with what it remembers, publish under ids that were given again,
//! and accept tokens of undone sessions. Whoever serves has sessions in Postgres under the role of an app, and
//! every service and gateway always has a request for events waiting at the stream.

use std::time::Duration;

use anyhow::bail;
use async_nats::jetstream::stream::Stream;
use futures::TryStreamExt;
use tokio::time::Instant;

use crate::db::PgConnection;

/// The time that a process which has just ended may still be seen. It is longer than a request for events stays
/// with the stream after its sender was lost (20 seconds).
const SEEN_AFTER_END_MAX: Duration = Duration::from_secs(25);
const POLL: Duration = Duration::from_millis(200);

/// Waits until no app role of any service has a session in this database.
pub(super) async fn wait_until_disconnected(owner: &mut PgConnection) -> anyhow::Result<()> {
    let deadline = Instant::now() + SEEN_AFTER_END_MAX;
    loop {
        let connected = list_connected_roles(owner).await?;
        if connected.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let connected = connected.join(", ");
            bail!("{connected} still use this database: stop all services and gateways first");
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn list_connected_roles(owner: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        r"SELECT DISTINCT usename::text FROM pg_stat_activity
          WHERE datname = current_database() AND usename LIKE '%\_app' ORDER BY 1",
    )
    .fetch_all(owner)
    .await
}

/// Waits until no consumer of the stream has a request that waits for events.
pub(super) async fn wait_until_nothing_consumes(stream: &Stream) -> anyhow::Result<()> {
    let deadline = Instant::now() + SEEN_AFTER_END_MAX;
    loop {
        let busy = list_busy_consumers(stream).await?;
        if busy.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let busy = busy.join(", ");
            bail!("events are still consumed by {busy}: stop all services and gateways first");
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn list_busy_consumers(stream: &Stream) -> anyhow::Result<Vec<String>> {
    let mut consumers = stream.consumers();
    let mut busy = Vec::new();
    while let Some(consumer) = consumers.try_next().await? {
        if consumer.num_waiting > 0 || consumer.push_bound {
            busy.push(consumer.name);
        }
    }
    Ok(busy)
}
