//! `cargo dev roll`: restarts every process, one after another, under the load of calls, sockets and logins, and fails
//! if a client notices.
//!
//! - `balancer`: sends requests to gateways that are ready
//! - `load`: the users
//! - `tally`, `books`: results of their requests, sockets and calls
//! - `restarts`: the restarts

mod balancer;
mod books;
mod load;
mod restarts;
mod tally;

use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use clap::Parser;
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use crate::balancer::GatewayBalancer;
use crate::load::{PreparedLoad, RollOptions};
use crate::tally::RequestTally;

/// One thread suffices, since it shares the processors with the whole platform.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    LocalSet::new().run_until(roll(RollOptions::parse())).await
}

async fn roll(options: RollOptions) -> anyhow::Result<()> {
    let tally = Arc::new(RequestTally::default());
    let balancer = Arc::new(GatewayBalancer::connect(Arc::clone(&tally)).await?);
    println!(
        "  {} long calls, {} pairs that call repeatedly, {} sockets, a login every {} ms",
        options.long_calls, options.short_callers, options.sockets, options.login_every_ms
    );
    let prepared = PreparedLoad::prepare(&balancer, &options).await?;
    let stop = CancellationToken::new();
    let before = tally.count_answers();
    let started_at = Instant::now();
    let running = prepared.start(&balancer, &tally, &options, &stop);

    restarts::restart_all().await?;

    let took = started_at.elapsed();
    stop.cancel();
    let books = running.finish(&balancer).await?;
    restarts::verify_wallets().await?;
    let failures = tally.print_report(&books, tally.count_answers() - before, took);
    ensure!(failures == 0, "{failures} failures that clients noticed");
    Ok(())
}
