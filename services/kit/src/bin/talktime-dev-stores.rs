//! Prepares the stores of a development stack: prints the users of NATS and Redis, which `cargo dev docs` writes to files,
//! and creates the stream of events, which in a cluster the Job `nats-stream` creates.

use anyhow::Context;
use clap::{Parser, Subcommand};
use talktime_kit::config::NatsConfig;
use talktime_kit::messaging;
use talktime_proto::access::{render_bus_users, render_redis_users, render_sentinel_users};

#[derive(Parser)]
#[command(about, version)]
struct StoresCommandLine {
    #[command(subcommand)]
    command: StoresCommand,
}

#[derive(Subcommand)]
enum StoresCommand {
    /// Creates the stream of events on the server `NATS_URL`, whose certificate `NATS_CA_FILE` has issued and whose
    /// operator has the password `NATS_PASSWORD`.
    CreateStream,
    /// Prints the users of NATS with their permissions.
    NatsUsers,
    /// Prints the users of Redis with their keys.
    RedisUsers,
    /// Prints the users of the sentinels of Redis.
    SentinelUsers,
}

/// Reads the address of NATS, the authority of its certificate and the password of its operator.
fn nats_config() -> anyhow::Result<NatsConfig> {
    let read = |name| std::env::var(name).with_context(|| format!("{name} is not set"));
    Ok(NatsConfig {
        url: read("NATS_URL")?,
        ca_file: std::env::var_os("NATS_CA_FILE").map(Into::into),
        password: read("NATS_PASSWORD")?.into(),
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match StoresCommandLine::parse().command {
        StoresCommand::CreateStream => {
            let nats = messaging::connect_as_operator(&nats_config()?).await?;
            messaging::ensure_stream(&messaging::open_jetstream(nats)).await?;
        }
        StoresCommand::NatsUsers => print!("{}", render_bus_users()),
        StoresCommand::RedisUsers => print!("{}", render_redis_users()),
        StoresCommand::SentinelUsers => print!("{}", render_sentinel_users()),
    }
    Ok(())
}
