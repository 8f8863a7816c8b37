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
    #[command(flatten)]
    Common(cli::Command),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let (service, config) = talktime_kit::config::load::<Config>(SCHEMA.name)?;
    match cli.command {
        Command::Serve => talktime_verification::serve(service, config).await,
        Command::Common(command) => cli::run(command, &service, SCHEMA).await,
    }
}
