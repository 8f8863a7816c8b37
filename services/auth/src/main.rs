//! Auth's binary: `serve`, and the commands that every service has.

use clap::{Parser, Subcommand};
use talktime_auth::SCHEMA;
use talktime_auth::config::Config;
use talktime_kit::cli;

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
        Command::Serve => talktime_auth::serve(service, config).await,
        Command::Common(command) => cli::run(command, &service, SCHEMA).await,
    }
}
