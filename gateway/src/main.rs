//! The gateway's binary.

use clap::{Parser, Subcommand};
use talktime_gateway::NAME;
use talktime_gateway::config::Config;

#[derive(Parser)]
#[command(about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves REST and sockets until SIGTERM or SIGINT.
    Serve,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let (process, config) = talktime_kit::config::load_process::<Config>(NAME)?;
    match cli.command {
        Command::Serve => talktime_gateway::serve(process, config).await,
    }
}
