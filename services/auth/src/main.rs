//! Auth's binary: `serve`, the operator's `keys`, and the commands that every service has.

use clap::{Parser, Subcommand};
use talktime_auth::SCHEMA;
use talktime_auth::config::Config;
use talktime_auth::rotation::{KeyRotation, RotationMode};
use talktime_kit::{cli, db};

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
    /// Serves gRPC until SIGTERM or SIGINT.
    Serve,
    /// The keys that sign tokens (docs/runbooks/rotate-keys.md).
    #[command(subcommand)]
    Keys(KeysCommand),
    #[command(flatten)]
    Common(cli::CommonCommand),
}

/// The steps of a rotation, in their order.
#[derive(Subcommand)]
enum KeysCommand {
    /// Lists every key there has been.
    List,
    /// Generates the next key and publishes it; prints its id.
    Publish,
    /// Signs new tokens with a published key from now on.
    Sign(KeyArguments),
    /// Refuses every token of a key from now on.
    Retire(KeyArguments),
}

#[derive(clap::Args)]
struct KeyArguments {
    /// The key id as `list` prints it.
    #[arg(allow_hyphen_values = true)]
    key_id: String,
    /// Does not wait for everybody, since the key before has leaked: people are logged out.
    #[arg(long)]
    now: bool,
}

impl KeyArguments {
    fn mode(&self) -> RotationMode {
        if self.now {
            RotationMode::Now
        } else {
            RotationMode::Safe
        }
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
            run_keys_command(command, &KeyRotation::new(pool, &config.tokens)?).await
        }
        Command::Common(command) => cli::run(command, &service, SCHEMA).await,
    }
}

async fn run_keys_command(command: KeysCommand, rotation: &KeyRotation) -> anyhow::Result<()> {
    match command {
        KeysCommand::List => {
            for key in rotation.list_keys().await? {
                println!("{} {} since {}", key.key_id, key.stage(), key.stage_since());
            }
        }
        KeysCommand::Publish => println!("{}", rotation.publish_key().await?),
        KeysCommand::Sign(key) => rotation.sign_with(&key.key_id, key.mode()).await?,
        KeysCommand::Retire(key) => rotation.retire_key(&key.key_id, key.mode()).await?,
    }
    Ok(())
}
