//! Runs many workers for a while and measures the duration of their requests.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout_at};

/// Precision of latencies.
const SIGNIFICANT_DIGITS: u8 = 3;
/// Time for remaining answers after the end.
const GRACE: Duration = Duration::from_secs(30);

/// One of many concurrent clients.
pub(crate) trait LoadWorker: Send + 'static {
    /// Sends one request and waits for its answer; returns the number of completed operations.
    fn execute(&mut self) -> impl Future<Output = anyhow::Result<u64>> + Send;
}

/// The result of a measurement.
pub(crate) struct MeasuredLoad {
    /// Completed operations a second.
    pub(crate) per_second: f64,
    /// Durations of requests in microseconds.
    pub(crate) latency: Histogram<u64>,
}

/// The result of one worker.
struct WorkerResult {
    done: u64,
    latency: Histogram<u64>,
}

/// Runs workers that send the next request as soon as they have an answer.
pub(crate) async fn run_flat_out<W: LoadWorker>(
    workers: &mut Vec<W>,
    duration: Duration,
) -> anyhow::Result<MeasuredLoad> {
    run_workers(workers, duration, None).await
}

/// Runs workers at a common rate. The duration of a request counts from the time at which it was due, so that a stall
/// affects every request that had to wait.
pub(crate) async fn run_at_rate<W: LoadWorker>(
    workers: &mut Vec<W>,
    duration: Duration,
    per_second: f64,
) -> anyhow::Result<MeasuredLoad> {
    let pause = Duration::from_secs_f64(workers.len() as f64 / per_second);
    run_workers(workers, duration, Some(pause)).await
}

async fn run_workers<W: LoadWorker>(
    workers: &mut Vec<W>,
    duration: Duration,
    pause: Option<Duration>,
) -> anyhow::Result<MeasuredLoad> {
    let started_at = Instant::now();
    let count = workers.len();
    let mut running = JoinSet::new();
    for (index, worker) in workers.drain(..).enumerate() {
        // The workers start evenly distributed over the pause.
        let offset = pause
            .unwrap_or_default()
            .mul_f64(index as f64 / count as f64);
        running.spawn(run_worker(
            worker,
            started_at + offset,
            started_at + duration,
            pause,
        ));
    }
    let mut done = 0;
    let mut latency = Histogram::new(SIGNIFICANT_DIGITS)?;
    while let Some(finished) = running.join_next().await {
        let (worker, result) = finished??;
        workers.push(worker);
        done += result.done;
        latency.add(result.latency)?;
    }
    Ok(MeasuredLoad {
        per_second: done as f64 / started_at.elapsed().as_secs_f64(),
        latency,
    })
}

/// Runs a worker until the end, with a pause between the times at which its requests are due.
async fn run_worker<W: LoadWorker>(
    mut worker: W,
    begin: Instant,
    end: Instant,
    pause: Option<Duration>,
) -> anyhow::Result<(W, WorkerResult)> {
    let mut result = WorkerResult {
        done: 0,
        latency: Histogram::new(SIGNIFICANT_DIGITS)?,
    };
    let mut due = begin;
    while due < end {
        if pause.is_some() {
            sleep_until(due.into()).await;
        }
        result.done += timeout_at((end + GRACE).into(), worker.execute()).await??;
        let took = due.elapsed().as_micros();
        result.latency.record(u64::try_from(took)?)?;
        due = pause.map_or_else(Instant::now, |pause| due + pause);
    }
    Ok((worker, result))
}
