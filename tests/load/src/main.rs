//! `cargo dev bench`: what the platform does in a second, beside what the same parts could do at best.
//!
//! A figure alone says little on a machine that other work slows down now and then. So each measurement
//! has an opponent (mostly pgbench writing the same rows in one transaction on the same Postgres), the
//! two take turns in rounds, and the report gives ratios of the medians.
//!
//! - `driver`: many workers that ask again and again, and how long answers took
//! - `rounds`, `report`: taking turns, and the table at the end
//! - `pgbench`, `http`, `socket`, `people`, `statuses`, `stack`: opponents, clients, people made by
//!   statement, and where everything is
//! - the rest: one module a measurement

#![expect(
    clippy::cast_precision_loss,
    reason = "no figure of a report needs more than 52 bits"
)]

mod auth;
mod calls;
mod driver;
mod fanout;
mod feed;
mod gateway;
mod heartbeat;
mod http;
mod people;
mod pgbench;
mod report;
mod rounds;
mod socket;
mod stack;
mod statuses;
mod wallet;

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo dev bench", bin_name = "cargo dev bench")]
#[command(about = "Measures the platform beside what it stands on")]
struct Options {
    #[command(flatten)]
    pace: Pace,
    #[command(subcommand)]
    what: What,
}

/// How long and how hard.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Seconds of one measurement in one round
    #[arg(long, default_value_t = 5, global = true)]
    seconds: u64,
    /// How often the opponents take turns
    #[arg(long, default_value_t = 3, global = true)]
    rounds: usize,
    /// Requests at a time
    #[arg(long, default_value_t = 32, global = true)]
    clients: usize,
}

impl Pace {
    fn duration(self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

#[derive(Subcommand)]
enum What {
    /// Logins and refreshes through the gateway and over gRPC, and where their time goes
    Auth,
    /// Charges one by one and in batches over gRPC, recharges through the gateway
    Wallet,
    /// Starting and ending calls through the gateway, and minutes billed
    Calls(calls::CallsOptions),
    /// Heartbeats through the gateway, and as pings on open sockets
    Heartbeat,
    /// Status changes on their way to very many sockets
    Fanout(fanout::FanoutOptions),
    /// Pages of a long feed while statuses change
    Feed(feed::FeedOptions),
    /// Reads through the gateway, beside a bare handler and beside gRPC
    Gateway,
    /// Serves the bare handler; started by the measurement for itself
    #[command(hide = true)]
    BareHandler,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let stack = stack::Stack::from_env()?;
    match options.what {
        What::Auth => auth::bench(&stack, options.pace).await,
        What::Wallet => wallet::bench(&stack, options.pace).await,
        What::Calls(calls) => calls::bench(&stack, options.pace, &calls).await,
        What::Heartbeat => heartbeat::bench(&stack, options.pace).await,
        What::Fanout(fanout) => fanout::bench(&stack, options.pace, &fanout).await,
        What::Feed(feed) => feed::bench(&stack, options.pace, &feed).await,
        What::Gateway => gateway::bench(&stack, options.pace).await,
        What::BareHandler => gateway::serve_bare_handler().await,
    }
}
