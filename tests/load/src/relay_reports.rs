//! The agent of a relay: how much of a core it takes for the sessions of many calls.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fred::prelude::*;
use futures::future::try_join_all;
use sqlx::PgPool;

use crate::LoadSettings;
use crate::figures::{self, BenchFigure};
use crate::process_usage;
use crate::stack::{self, BenchStack};

/// Sessions begin and end at any time, and not all at once at the beginning of a second.
const SLICES_A_SECOND: u64 = 20;
/// Time in which the last reports must be stored.
const STORED_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// Ids of calls that do not exist, so that nothing else follows from the reports.
const FIRST_CALL: u64 = 1 << 40;

/// Publishes whole sessions as coturn does, and measures the time of the agent until calls has stored all of them.
pub(crate) async fn measure_agent(
    stack: &BenchStack,
    pace: LoadSettings,
    per_second: u64,
) -> anyhow::Result<()> {
    let database = stack.connect_database().await?;
    let url = stack::read_variable("COTURN_REDIS_URL")?;
    let redis = Builder::from_config(Config::from_url(&url)?).build()?;
    redis.init().await.context("cannot connect to Redis")?;
    let realm = stack::read_variable("COTURN_REALM")?;
    let busy_before = read_cpu_secs()?;
    let begun = Instant::now();
    let slices = pace.seconds * u64::try_from(pace.rounds)? * SLICES_A_SECOND;
    let in_slice = per_second.div_ceil(SLICES_A_SECOND);
    for slice in 0..slices {
        let due = begun + Duration::from_secs(slice).div_f64(SLICES_A_SECOND as f64);
        tokio::time::sleep_until(due.into()).await;
        let first = slice * in_slice;
        publish_sessions(&redis, &realm, first..first + in_slice).await?;
    }
    let total = slices * in_slice;
    let published = begun.elapsed();
    let published_at = Instant::now();
    wait_until_stored(&database, total).await?;
    let stored_after = published_at.elapsed();
    let rate = total as f64 / published.as_secs_f64();
    println!("\nReports of a relay");
    println!(
        "  allocations                    {rate:>8.0} /s for {:.0} s, each from its start to its end",
        published.as_secs_f64()
    );
    println!(
        "  all of them stored             {:>8.0} ms after the last was published",
        stored_after.as_secs_f64() * 1_000.0
    );
    println!(
        "  agent                          {:>8.2} cores",
        (read_cpu_secs()? - busy_before) / begun.elapsed().as_secs_f64()
    );
    figures::append(&[BenchFigure::new(
        "Reports of a relay",
        "allocations",
        rate,
        "/s",
    )])
}

/// Publishes the start, the traffic and the end of sessions.
async fn publish_sessions(redis: &Client, realm: &str, sessions: Range<u64>) -> anyhow::Result<()> {
    const TRAFFIC: &str = "rcvp=1024, rcvb=163840, sentp=1024, sentb=163840";
    let published = sessions.flat_map(|session| {
        let call_id = FIRST_CALL + session;
        let prefix = format!(
            "turn/realm/{realm}/user/1900000000:{call_id}.caller.1/allocation/{session:018}"
        );
        [
            ("status", "new lifetime=600"),
            ("traffic", TRAFFIC),
            ("total_traffic", TRAFFIC),
        ]
        .map(|(kind, payload)| redis.publish::<i64, _, _>(format!("{prefix}/{kind}"), payload))
    });
    try_join_all(published).await?;
    Ok(())
}

async fn wait_until_stored(database: &PgPool, total: u64) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let stored: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM calls.relay_allocations WHERE call_id >= $1 AND ended_at IS NOT NULL",
        )
        .bind(i64::try_from(FIRST_CALL)?)
        .fetch_one(database)
        .await?;
        if u64::try_from(stored)? >= total {
            return Ok(());
        }
        let waited = begun.elapsed();
        ensure!(
            waited < STORED_WITHIN,
            "{stored} of {total} allocations are stored"
        );
        tokio::time::sleep(POLL).await;
    }
}

/// Reads the processor time that the agent has taken so far.
fn read_cpu_secs() -> anyhow::Result<f64> {
    let pid = stack::read_variable("RELAY_AGENT_PID")?.parse()?;
    Ok(process_usage::read_stat(pid)?.own_secs)
}
