//! `cargo dev bench`: measures the throughput of the platform and compares it with the limits of its parts.
//!
//! Absolute figures depend on the machine and its other load. So each measurement has a reference, mostly pgbench
//! writing the same rows in one transaction on the same Postgres. Both run alternately in rounds, and the report
//! contains ratios of the medians.
//!
//! - `driver`: runs many workers and measures the duration of their requests
//! - `rounds`, `report`, `figures`: medians, the table at the end, and that of a run of all measurements
//! - `pgbench`, `http`, `socket`, `people`, `statuses`, `ops_metrics`, `process_usage`, `stack`: the reference, clients,
//!   users that are inserted by SQL, metrics, time and memory of processes, and the addresses of the stack
//! - `call_worker`, `call_rates`, `call_stages`, `rings`: parts of the measurement of calls
//! - `relay_reports`: a part of the measurement of media
//! - `growth_data`, `growth_load`, `growth_report`: parts of the measurement of growth
//! - the others: one module a measurement, of which that of `transport` compares two stacks

#![expect(
    clippy::cast_precision_loss,
    reason = "figures of a report fit into 52 bits"
)]

mod auth;
mod call_rates;
mod call_stages;
mod call_worker;
mod calls;
mod driver;
mod fanout;
mod feed;
mod figures;
mod gateway;
mod growth;
mod growth_data;
mod growth_load;
mod growth_report;
mod heartbeat;
mod http;
mod idle;
mod media;
mod ops_metrics;
mod people;
mod pgbench;
mod process_usage;
mod relay_reports;
mod report;
mod rings;
mod rounds;
mod socket;
mod stack;
mod statuses;
mod transport;
mod wallet;

use std::time::Duration;

use anyhow::ensure;
use clap::{Args, Parser, Subcommand, value_parser};

#[derive(Parser)]
#[command(name = "cargo dev bench", bin_name = "cargo dev bench", version)]
#[command(about = "Measures the platform and compares it with its parts")]
struct BenchOptions {
    #[command(flatten)]
    load: LoadOptions,
    #[command(subcommand)]
    measurement: BenchMeasurement,
}

const ROUNDS: usize = 3;
const CLIENTS: usize = 32;
/// Rounds of calls, each of which has several numbers of clients.
const ROUNDS_OF_CALLS: usize = 2;
/// Numbers of clients who start and end calls, from a quiet service to a busy one.
const CLIENTS_OF_CALLS: [usize; 5] = [1, 4, 16, 64, 128];

/// Duration and concurrency as the command line has them.
#[derive(Args, Debug)]
struct LoadOptions {
    /// Seconds of one measurement in one round
    #[arg(long, default_value_t = 5, global = true)]
    seconds: u64,
    /// Number of rounds; without it 3, and 2 for calls
    #[arg(long, global = true)]
    rounds: Option<usize>,
    /// Concurrent requests, and for calls a list such as `1,16`; without it 32, and 1,4,16,64,128 for calls
    #[arg(long, value_delimiter = ',', value_parser = value_parser!(u16).range(1..), global = true)]
    clients: Vec<u16>,
}

impl LoadOptions {
    /// Returns the settings of a measurement with one number of clients.
    fn settings(&self) -> anyhow::Result<LoadSettings> {
        let clients = self.clients.as_slice();
        ensure!(
            clients.len() < 2,
            "only calls take several numbers of clients"
        );
        Ok(LoadSettings {
            seconds: self.seconds,
            rounds: self.rounds.unwrap_or(ROUNDS),
            clients: clients.first().copied().map_or(CLIENTS, usize::from),
        })
    }

    /// Returns the settings of calls, one for each number of clients in ascending order.
    fn settings_of_calls(&self) -> Vec<LoadSettings> {
        let mut counts: Vec<usize> = self.clients.iter().copied().map(usize::from).collect();
        if counts.is_empty() {
            counts.extend(CLIENTS_OF_CALLS);
        }
        counts.sort_unstable();
        counts.dedup();
        let settings = counts.into_iter().map(|clients| LoadSettings {
            seconds: self.seconds,
            rounds: self.rounds.unwrap_or(ROUNDS_OF_CALLS),
            clients,
        });
        settings.collect()
    }
}

/// Duration and concurrency of a measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadSettings {
    /// Seconds of one measurement in one round.
    seconds: u64,
    rounds: usize,
    /// Concurrent requests.
    clients: usize,
}

impl LoadSettings {
    fn duration(self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// Returns the duration of all rounds.
    fn total_duration(self) -> anyhow::Result<Duration> {
        Ok(self.duration() * u32::try_from(self.rounds)?)
    }
}

#[derive(Subcommand)]
enum BenchMeasurement {
    /// Logins and refreshes through the gateway and over gRPC, and the durations of their steps
    Auth,
    /// Single and batched charges over gRPC, recharges through the gateway
    Wallet,
    /// Calls and rings through the gateway, delivery of rings, and billed minutes
    Calls(calls::CallsOptions),
    /// Heartbeats through the gateway, and as pings of open sockets
    Heartbeat,
    /// Delivery of status changes to thousands of sockets
    Fanout(fanout::FanoutOptions),
    /// Pages of a long feed during status changes
    Feed(feed::FeedOptions),
    /// Signals between two gateways, and reports of relays
    Media(media::MediaOptions),
    /// Calls, minutes and pages while the tables of minutes grow
    Growth(growth::GrowthOptions),
    /// Reads through the gateway, compared with a bare handler and with gRPC
    Gateway,
    /// Calls and heartbeats with and without encryption
    Transport,
    /// Processor time and memory of the stack while nobody uses it
    Idle(idle::IdleOptions),
    /// Write the table of a run of all measurements; the runner does it at the end
    #[command(hide = true)]
    Summary,
    /// Serve the bare handler; the measurement starts it
    #[command(hide = true)]
    BareHandler,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = BenchOptions::parse();
    if let BenchMeasurement::Summary = options.measurement {
        return figures::summarize_run();
    }
    let stack = stack::BenchStack::from_env().await?;
    if let BenchMeasurement::Calls(calls) = &options.measurement {
        return calls::run_bench(&stack, &options.load.settings_of_calls(), calls).await;
    }
    let settings = options.load.settings()?;
    match options.measurement {
        BenchMeasurement::Auth => auth::run_bench(&stack, settings).await,
        BenchMeasurement::Wallet => wallet::run_bench(&stack, settings).await,
        BenchMeasurement::Heartbeat => heartbeat::run_bench(&stack, settings).await,
        BenchMeasurement::Fanout(fanout) => fanout::run_bench(&stack, settings, &fanout).await,
        BenchMeasurement::Feed(feed) => feed::run_bench(&stack, settings, &feed).await,
        BenchMeasurement::Media(media) => media::run_bench(&stack, settings, &media).await,
        BenchMeasurement::Growth(growth) => growth::run_bench(&stack, settings, &growth).await,
        BenchMeasurement::Gateway => gateway::run_bench(&stack, settings).await,
        BenchMeasurement::Transport => transport::run_bench(&stack, settings).await,
        BenchMeasurement::Idle(idle) => idle::run_bench(&idle).await,
        BenchMeasurement::BareHandler => gateway::serve_bare_handler().await,
        BenchMeasurement::Calls(_) | BenchMeasurement::Summary => unreachable!("handled above"),
    }
}
