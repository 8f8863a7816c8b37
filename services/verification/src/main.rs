//! Verification's binary: `serve`, and the commands that every service has.

use clap::{Parser, Subcommand};
use talktime_kit::cli;
use talktime_verification::SCHEMA;
use talktime_verification::config::Config;

#[derive(Parser)]
#[command(about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves gRPC until SIGTERM or SIGINT.
    Serve,
    /// Compares records and objects; fails where one is without the other.
    Verify,
    /// Judges the audio file on standard input. The service runs it for each file.
    #[command(hide = true)]
    Probe {
        /// mp3, wav, m4a or aac
        kind: String,
    },
    #[command(flatten)]
    Common(cli::Command),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        // Without a runtime, whose threads would count against the memory that a probe may have.
        Command::Probe { kind } => talktime_verification::probe::run(&kind),
        command => run(command),
    }
}

#[tokio::main]
async fn run(command: Command) -> anyhow::Result<()> {
    let (service, config) = talktime_kit::config::load::<Config>(SCHEMA.name)?;
    match command {
        Command::Serve => talktime_verification::serve(service, config).await,
        Command::Verify => talktime_verification::verify(&service, &config).await,
        Command::Common(command) => cli::run(command, &service, SCHEMA).await,
        Command::Probe { .. } => unreachable!("runs without configuration"),
    }
}
