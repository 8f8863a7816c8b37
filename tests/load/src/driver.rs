//! Many workers that ask again and again for a while.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout_at};

/// Three digits are more than these machines can promise.
const SIGNIFICANT_DIGITS: u8 = 3;
/// How long answers may still come when the time is up.
const GRACE: Duration = Duration::from_secs(30);

/// One of many who ask at the same time.
pub(crate) trait Worker: Send + 'static {
    /// Asks once and waits for the answer; answers how many things were done.
    fn ask(&mut self) -> impl Future<Output = anyhow::Result<u64>> + Send;
}

/// What came of it.
pub(crate) struct Measured {
    /// Things done a second.
    pub(crate) per_second: f64,
    /// How long answers took, in microseconds.
    pub(crate) latency: Histogram<u64>,
}

/// What one worker did.
struct Share {
    done: u64,
    latency: Histogram<u64>,
}

/// As fast as answers come: each worker asks anew when it has its answer.
pub(crate) async fn flat_out<W: Worker>(
    workers: &mut Vec<W>,
    duration: Duration,
) -> anyhow::Result<Measured> {
    drive(workers, duration, None).await
}

/// At a rate for all workers together. The time of an answer counts from when its question was due,
/// so that a stall shows in every question that had to wait for it.
pub(crate) async fn at_rate<W: Worker>(
    workers: &mut Vec<W>,
    duration: Duration,
    per_second: f64,
) -> anyhow::Result<Measured> {
    let pause = Duration::from_secs_f64(workers.len() as f64 / per_second);
    drive(workers, duration, Some(pause)).await
}

async fn drive<W: Worker>(
    workers: &mut Vec<W>,
    duration: Duration,
    pause: Option<Duration>,
) -> anyhow::Result<Measured> {
    let begun = Instant::now();
    let count = workers.len();
    let mut running = JoinSet::new();
    for (index, worker) in workers.drain(..).enumerate() {
        // Spread over the pause, not all at its beginning.
        let offset = pause
            .unwrap_or_default()
            .mul_f64(index as f64 / count as f64);
        running.spawn(work(worker, begun + offset, begun + duration, pause));
    }
    let mut done = 0;
    let mut latency = Histogram::new(SIGNIFICANT_DIGITS)?;
    while let Some(finished) = running.join_next().await {
        let (worker, share) = finished??;
        workers.push(worker);
        done += share.done;
        latency.add(share.latency)?;
    }
    Ok(Measured {
        per_second: done as f64 / begun.elapsed().as_secs_f64(),
        latency,
    })
}

async fn work<W: Worker>(
    mut worker: W,
    begin: Instant,
    end: Instant,
    pause: Option<Duration>,
) -> anyhow::Result<(W, Share)> {
    let mut share = Share {
        done: 0,
        latency: Histogram::new(SIGNIFICANT_DIGITS)?,
    };
    let mut due = begin;
    while due < end {
        if pause.is_some() {
            sleep_until(due.into()).await;
        }
        share.done += timeout_at((end + GRACE).into(), worker.ask()).await??;
        let took = due.elapsed().as_micros();
        share.latency.record(u64::try_from(took)?)?;
        due = pause.map_or_else(Instant::now, |pause| due + pause);
    }
    Ok((worker, share))
}
