//! What is looked up rather than counted: how full a pool is, what waits in the outbox, how far a
//! consumer is behind. Looked up every few seconds and not when somebody reads the metrics, so that
//! no reader costs the database anything.

use std::time::Duration;

use crate::db::Database;
use async_nats::jetstream::{self, consumer::pull};
use talktime_proto::events::STREAM_NAME;
use tokio_util::sync::CancellationToken;

use crate::messaging::{Consumer, outbox};

/// More often than metrics are read.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Looks again and again until told to stop. A look that fails leaves the gauge at what it was: what
/// is away is told by others.
pub async fn keep<F>(stopping: CancellationToken, mut look: impl FnMut() -> F)
where
    F: Future<Output = anyhow::Result<()>>,
{
    loop {
        let looked = tokio::select! {
            looked = look() => looked,
            () = stopping.cancelled() => return,
        };
        if let Err(error) = looked {
            tracing::debug!(error = format!("{error:#}"), "a gauge stays as it was");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stopping.cancelled() => return,
        }
    }
}

/// Of a pool: connections in use and idle, and how many there may be. Of the outbox in its schema:
/// how many events wait, and for how long the oldest has.
pub(crate) async fn database(db: Database, connections_max: u32) -> anyhow::Result<()> {
    let connections = db.state();
    metrics::gauge!("db_connections", "state" => "idle").set(connections.idle);
    metrics::gauge!("db_connections", "state" => "used").set(connections.used);
    metrics::gauge!("db_connections_max").set(connections_max);
    let waiting = outbox::waiting(&db).await?;
    metrics::gauge!("outbox_unpublished").set(waiting.events);
    metrics::gauge!("outbox_oldest_age_seconds").set(waiting.oldest_age_secs);
    Ok(())
}

/// Of a durable consumer: events that it has not been given, and those it has not acknowledged.
pub(crate) async fn consumer(nats: async_nats::Client, consumer: Consumer) -> anyhow::Result<()> {
    let stream = jetstream::new(nats).get_stream_no_info(STREAM_NAME).await?;
    let found = stream.get_consumer::<pull::Config>(consumer.name).await;
    let found = found.map_err(|error| anyhow::anyhow!("{}: {error}", consumer.name))?;
    let info = found.cached_info();
    let pending = u32::try_from(info.num_pending).unwrap_or(u32::MAX);
    let unacknowledged = u32::try_from(info.num_ack_pending).unwrap_or(u32::MAX);
    metrics::gauge!("consumer_lag_events", "consumer" => consumer.name)
        .set(pending.saturating_add(unacknowledged));
    Ok(())
}
