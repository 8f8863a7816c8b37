//! The command line of the gateway.

use clap::{Parser, Subcommand};
use talktime_gateway::NAME;
use talktime_gateway::config::GatewayConfig;
use talktime_gateway::{routes, ws};

#[global_allocator]
static ALLOCATOR: talktime_kit::MiMalloc = talktime_kit::MiMalloc;

#[derive(Parser)]
#[command(about, version)]
struct GatewayCommandLine {
    #[command(subcommand)]
    command: GatewayCommand,
}

#[derive(Subcommand)]
enum GatewayCommand {
    /// Prints the AsyncAPI document of the sockets.
    Asyncapi,
    /// Prints the OpenAPI document of the endpoints.
    Openapi,
    /// Serves REST and sockets until SIGTERM or SIGINT.
    Serve,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = GatewayCommandLine::parse();
    match cli.command {
        GatewayCommand::Asyncapi => {
            print!("{}", ws::document().pretty());
            Ok(())
        }
        GatewayCommand::Openapi => {
            print!("{}", routes::document().pretty());
            Ok(())
        }
        GatewayCommand::Serve => {
            let (process, config) = talktime_kit::config::load_process::<GatewayConfig>(NAME)?;
            talktime_gateway::serve(process, config).await
        }
    }
}
