//! `cargo dev roll`: every process is restarted, one after another, while people talk, listen to sockets
//! and log in; and whether anybody noticed.
//!
//! - `edge`: what stands before the gateways: requests go to those that are ready
//! - `load`: the people
//! - `tally`: what happened to their requests and sockets
//! - `restarts`: the roll itself

mod edge;
mod load;
mod restarts;
mod tally;

use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use clap::Parser;
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use crate::edge::Edge;
use crate::load::{Crowd, Options};
use crate::tally::Tally;

/// One thread is plenty: it shares the processors with the whole platform.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    LocalSet::new().run_until(roll(Options::parse())).await
}

async fn roll(options: Options) -> anyhow::Result<()> {
    let tally = Arc::new(Tally::default());
    let edge = Arc::new(Edge::watch(Arc::clone(&tally)).await?);
    println!(
        "  {} long calls, {} people who call again and again, {} sockets, a login every {} ms",
        options.long_calls, options.short_callers, options.sockets, options.login_every_ms
    );
    let crowd = Crowd::gather(&edge, &options).await?;
    let stop = CancellationToken::new();
    let before = tally.requests();
    let begun = Instant::now();
    let crowd = crowd.begin(&edge, &tally, &options, &stop);

    restarts::all().await?;

    let took = begun.elapsed();
    stop.cancel();
    let books = crowd.close(&edge).await?;
    restarts::verify_wallets().await?;
    let noticed = tally.report(&books, tally.requests() - before, took);
    ensure!(noticed == 0, "{noticed} things that people noticed");
    Ok(())
}
