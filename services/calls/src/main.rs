//! The calls service's binary: `serve`, the agent beside a media relay, and the commands that every service has.

use clap::{Parser, Subcommand};
use talktime_calls::config::CallsConfig;
use talktime_calls::relay_agent::config::RelayAgentConfig;
use talktime_calls::{SCHEMA, relay_agent};
use talktime_kit::{cli, config};

#[global_allocator]
static ALLOCATOR: talktime_kit::MiMalloc = talktime_kit::MiMalloc;

#[derive(Parser)]
#[command(about, version)]
struct CallsCommandLine {
    #[command(subcommand)]
    command: CallsCommand,
}

#[derive(Subcommand)]
enum CallsCommand {
    /// Serves gRPC until SIGTERM or SIGINT.
    Serve,
    /// Counts and cuts the sessions of the coturn beside it until SIGTERM or SIGINT.
    RelayAgent,
    #[command(flatten)]
    Common(cli::CommonCommand),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = CallsCommandLine::parse();
    if matches!(cli.command, CallsCommand::RelayAgent) {
        let (process, own) = config::load_process::<RelayAgentConfig>(relay_agent::NAME)?;
        return relay_agent::serve(process, own).await;
    }
    let (service, own) = config::load::<CallsConfig>(SCHEMA.name)?;
    let environment = service.process.environment;
    own.redis.check(environment, "TALKTIME_CALLS__REDIS__URL")?;
    match cli.command {
        CallsCommand::Serve => talktime_calls::serve(service, own).await,
        CallsCommand::Common(command) => cli::run(command, &service, SCHEMA).await,
        CallsCommand::RelayAgent => Ok(()),
    }
}
