//! The command line of the gateway.

use clap::{Parser, Subcommand};
use talktime_gateway::NAME;
use talktime_gateway::config::Config;
use talktime_gateway::{routes, ws};

#[global_allocator]
static ALLOCATOR: talktime_kit::MiMalloc = talktime_kit::MiMalloc;

#[derive(Parser)]
#[command(about, version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the AsyncAPI document of the sockets.
    Asyncapi,
    /// Prints the OpenAPI document of the endpoints.
    Openapi,
    /// Serves REST and sockets until SIGTERM or SIGINT.
    Serve,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Command::Asyncapi => {
            print!("{}", ws::document().pretty());
            Ok(())
        }
        Command::Openapi => {
            print!("{}", routes::document().pretty());
            Ok(())
        }
        Command::Serve => {
            let (process, config) = talktime_kit::config::load_process::<Config>(NAME)?;
            talktime_gateway::serve(process, config).await
        }
    }
}
