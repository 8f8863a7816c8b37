//! Auth's binary: `serve`, the operator's `keys`, and the commands that every service has.

use clap::{Parser, Subcommand};
use talktime_auth::SCHEMA;
use talktime_auth::config::Config;
use talktime_auth::rotation::{Pace, Rotation};
use talktime_kit::{cli, db};

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
    /// The keys that sign tokens (docs/runbooks/rotate-keys.md).
    #[command(subcommand)]
    Keys(Keys),
    #[command(flatten)]
    Common(cli::Command),
}

/// The steps of a rotation, in their order.
#[derive(Subcommand)]
enum Keys {
    /// Lists every key there has been.
    List,
    /// Makes the next key and shows it to everybody; prints its id.
    Publish,
    /// Has a published key sign from now on.
    Sign(KeyAndPace),
    /// Refuses every token of a key from now on.
    Retire(KeyAndPace),
}

#[derive(clap::Args)]
struct KeyAndPace {
    /// As `list` shows it.
    #[arg(allow_hyphen_values = true)]
    key_id: String,
    /// Does not wait for everybody, since the key before has leaked: people are logged out.
    #[arg(long)]
    now: bool,
}

impl KeyAndPace {
    fn pace(&self) -> Pace {
        if self.now { Pace::Now } else { Pace::Safe }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let (service, config) = talktime_kit::config::load::<Config>(SCHEMA.name)?;
    match cli.command {
        Command::Serve => talktime_auth::serve(service, config).await,
        Command::Keys(command) => {
            let pool = db::pool(SCHEMA, &service.database)?;
            turn(command, &Rotation::new(pool, &config.tokens)?).await
        }
        Command::Common(command) => cli::run(command, &service, SCHEMA).await,
    }
}

async fn turn(command: Keys, rotation: &Rotation) -> anyhow::Result<()> {
    match command {
        Keys::List => {
            for key in rotation.list().await? {
                println!("{} {} since {}", key.key_id, key.stage(), key.stage_since());
            }
        }
        Keys::Publish => println!("{}", rotation.publish().await?),
        Keys::Sign(key) => rotation.sign_with(&key.key_id, key.pace()).await?,
        Keys::Retire(key) => rotation.retire(&key.key_id, key.pace()).await?,
    }
    Ok(())
}
