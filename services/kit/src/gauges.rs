//! Gauges that are measured when the metrics are read: the connections of a pool, the backlog of the outbox, the lag of
//! a consumer. Nobody reads the metrics of an installation without Prometheus, so there they cost nothing.
//!
//! Readers share a measurement, and one that is not older than [`AGE_MAX`] is not repeated. The load on the stores is
//! therefore bounded, however often and by however many the metrics are read.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::db::DatabasePool;
use async_nats::jetstream::consumer::pull;
use futures::future::join_all;
use talktime_proto::events::STREAM_NAME;
use talktime_proto::events::consumers::DurableConsumer;
use tokio::time::{Instant, timeout};

use crate::messaging::{open_jetstream, outbox};

/// Shorter than the interval at which Prometheus reads the metrics.
const AGE_MAX: Duration = Duration::from_secs(5);
/// Half of the time that Prometheus waits for the metrics. A gauge that is not measured by then keeps its value.
const MEASURE_TIMEOUT: Duration = Duration::from_secs(5);
/// Failures of one gauge are logged no more often than this.
const LOG_EVERY: Duration = Duration::from_mins(1);

type Measurement = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;
type MeasureGauge = Box<dyn FnMut() -> Measurement + Send>;

/// The gauges of a process that are measured when its metrics are read; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct ReadGauges {
    gauges: Arc<Mutex<Vec<ReadGauge>>>,
    /// When the last measurement ended. Readers hold the lock while they measure, so that others wait for the result.
    measured_at: Arc<tokio::sync::Mutex<Option<Instant>>>,
}

struct ReadGauge {
    name: String,
    measure: MeasureGauge,
    /// When a failure was logged last.
    logged_at: Option<Instant>,
}

impl ReadGauges {
    /// Adds a gauge. A failed measurement leaves it as it was.
    pub(crate) fn add<F>(&self, name: &str, mut measure: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.lock().push(ReadGauge {
            name: name.to_owned(),
            measure: Box::new(move || Box::pin(measure())),
            logged_at: None,
        });
    }

    /// Measures all gauges side by side, unless that was done a moment ago.
    pub(crate) async fn measure(&self) {
        let mut measured_at = self.measured_at.lock().await;
        if measured_at.is_some_and(|at| at.elapsed() < AGE_MAX) {
            return;
        }
        let measurements: Vec<Measurement> = {
            let mut gauges = self.lock();
            gauges.iter_mut().map(|gauge| (gauge.measure)()).collect()
        };
        let measuring = measurements.into_iter().map(limit_measurement);
        let outcomes = join_all(measuring).await;
        *measured_at = Some(Instant::now());
        // Gauges are only ever added, so the outcomes are those of the first ones.
        for (gauge, outcome) in self.lock().iter_mut().zip(outcomes) {
            if let Err(error) = outcome {
                gauge.log_failure(&error);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ReadGauge>> {
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadGauge {
    fn log_failure(&mut self, error: &anyhow::Error) {
        if self.logged_at.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            return;
        }
        self.logged_at = Some(Instant::now());
        tracing::warn!(
            gauge = self.name,
            error = format!("{error:#}"),
            "failed to measure a gauge; it keeps its last value until it is read again"
        );
    }
}

async fn limit_measurement(measurement: Measurement) -> anyhow::Result<()> {
    match timeout(MEASURE_TIMEOUT, measurement).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(anyhow::anyhow!("not measured within {MEASURE_TIMEOUT:?}")),
    }
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

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Adds a gauge that counts its measurements.
    fn add_counted(gauges: &ReadGauges) -> Arc<AtomicU32> {
        let measurements = Arc::new(AtomicU32::new(0));
        let counted = measurements.clone();
        gauges.add("counted", move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        });
        measurements
    }

    #[tokio::test(start_paused = true)]
    async fn readers_share_a_measurement_until_it_is_old() {
        let gauges = ReadGauges::default();
        let measurements = add_counted(&gauges);
        tokio::join!(gauges.measure(), gauges.measure());
        assert_eq!(measurements.load(Ordering::Relaxed), 1);
        tokio::time::advance(AGE_MAX).await;
        gauges.measure().await;
        assert_eq!(measurements.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_gauge_that_hangs_or_fails_holds_up_neither_the_others_nor_the_reader() {
        let gauges = ReadGauges::default();
        gauges.add("hanging", pending);
        gauges.add("failing", || async { Err(anyhow::anyhow!("failed")) });
        let measurements = add_counted(&gauges);
        let begin = Instant::now();
        gauges.measure().await;
        assert_eq!(begin.elapsed(), MEASURE_TIMEOUT);
        assert_eq!(measurements.load(Ordering::Relaxed), 1);
    }
}
