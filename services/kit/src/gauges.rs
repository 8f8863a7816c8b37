//! Gauges that are measured periodically: the connections of a pool, the backlog of the outbox, the lag of a
//! consumer. They are measured every few seconds and not when the metrics are read, so that reading them puts
//! no load on the database.

use std::time::Duration;

use crate::db::DatabasePool;
use async_nats::jetstream::consumer::pull;
use talktime_proto::events::STREAM_NAME;
use talktime_proto::events::consumers::DurableConsumer;

use crate::lifecycle::ProcessLifecycle;
use crate::messaging::{open_jetstream, outbox};
use crate::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

/// Shorter than the interval at which Prometheus reads the metrics.
const MEASURE_EVERY: Duration = Duration::from_secs(10);

const MEASURE_TIMEOUT: Duration = Duration::from_secs(5);

/// Measures the gauge `name` every few seconds until the process stops. A failed measurement leaves the gauge
/// as it was.
pub(crate) fn start_gauge<F>(
    lifecycle: &ProcessLifecycle,
    name: &str,
    mut measure: impl FnMut() -> F + Send + 'static,
) where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let work = PeriodicWork {
        name: format!("gauge.{name}").into(),
        interval: MEASURE_EVERY,
        retry_after: MEASURE_EVERY,
        deadline: MEASURE_TIMEOUT,
        first_turn: FirstTurnStart::AtOnce,
    };
    periodic::start(lifecycle, work, move || {
        let measured = measure();
        async { measured.await.map(|()| NextTurnStart::AfterInterval) }
    });
}

/// Measures the connections of a pool, and the number and age of the unpublished events in its outbox.
pub(crate) async fn measure_database(db: DatabasePool, connections_max: u32) -> anyhow::Result<()> {
    let connections = db.state();
    metrics::gauge!("db_connections", "state" => "idle").set(connections.idle);
    metrics::gauge!("db_connections", "state" => "used").set(connections.used);
    metrics::gauge!("db_connections_max").set(connections_max);
    let backlog = outbox::measure_backlog(&db).await?;
    metrics::gauge!("outbox_unpublished").set(backlog.events);
    metrics::gauge!("outbox_oldest_age_seconds").set(backlog.oldest_age_secs);
    Ok(())
}

/// Measures the lag of a durable consumer: events that were not delivered, and those not acknowledged.
pub(crate) async fn measure_consumer(
    nats: async_nats::Client,
    consumer: DurableConsumer,
) -> anyhow::Result<()> {
    let stream = open_jetstream(nats).get_stream_no_info(STREAM_NAME).await?;
    let found = stream.get_consumer::<pull::Config>(consumer.name).await;
    let found = found.map_err(|error| anyhow::anyhow!("{}: {error}", consumer.name))?;
    let info = found.cached_info();
    let pending = u32::try_from(info.num_pending).unwrap_or(u32::MAX);
    let unacknowledged = u32::try_from(info.num_ack_pending).unwrap_or(u32::MAX);
    metrics::gauge!("consumer_lag_events", "consumer" => consumer.name)
        .set(pending.saturating_add(unacknowledged));
    Ok(())
}
