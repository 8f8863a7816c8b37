//! Auth's binary: `serve`, the operator's `keys`, and the commands that every service has.

use clap::{Parser, Subcommand};
use talktime_auth::SCHEMA;
use talktime_auth::config::AuthConfig;
use talktime_auth::rotation::{KeyRotationMode, SigningKeyRotation};
use talktime_kit::{cli, db};

#[global_allocator]
static ALLOCATOR: talktime_kit::MiMalloc = talktime_kit::MiMalloc;

#[derive(Parser)]
#[command(about, version)]
struct AuthCommandLine {
    #[command(subcommand)]
    command: AuthCommand,
}

#[derive(Subcommand)]
enum AuthCommand {
    /// Serves gRPC until SIGTERM or SIGINT.
    Serve,
    /// The keys that sign tokens (docs/runbooks/rotate-keys.md).
    #[command(subcommand)]
    Keys(SigningKeysCommand),
    #[command(flatten)]
    Common(cli::CommonCommand),
}

/// The steps of a rotation, in their order.
#[derive(Subcommand)]
enum SigningKeysCommand {
    /// Lists every key there has been.
    List,
    /// Generates the next key and publishes it; prints its id.
    Publish,
    /// Signs new tokens with a published key from now on.
    Sign(SigningKeyArguments),
    /// Refuses every token of a key from now on.
    Retire(SigningKeyArguments),
}

#[derive(clap::Args)]
struct SigningKeyArguments {
    /// The key id as `list` prints it.
    #[arg(allow_hyphen_values = true)]
    key_id: String,
    /// Does not wait for everybody, since the key before has leaked: people are logged out.
    #[arg(long)]
    now: bool,
}

impl SigningKeyArguments {
    fn mode(&self) -> KeyRotationMode {
        if self.now {
            KeyRotationMode::Now
        } else {
            KeyRotationMode::Safe
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = AuthCommandLine::parse();
    let (service, config) = talktime_kit::config::load::<AuthConfig>(SCHEMA.name)?;
    match cli.command {
        AuthCommand::Serve => talktime_auth::serve(service, config).await,
        AuthCommand::Keys(command) => {
            let pool = db::pool(SCHEMA, &service.database)?;
            run_keys_command(command, &SigningKeyRotation::new(pool, &config.tokens)?).await
        }
        AuthCommand::Common(cli::CommonCommand::Restored) => {
            talktime_auth::restored::make_safe(&service, &config).await
        }
        AuthCommand::Common(command) => cli::run(command, &service, SCHEMA).await,
    }
}

async fn run_keys_command(
    command: SigningKeysCommand,
    rotation: &SigningKeyRotation,
) -> anyhow::Result<()> {
    match command {
        SigningKeysCommand::List => {
            for key in rotation.list_keys().await? {
                println!("{} {} since {}", key.key_id, key.stage(), key.stage_since());
            }
        }
        SigningKeysCommand::Publish => println!("{}", rotation.publish_key().await?),
        SigningKeysCommand::Sign(key) => rotation.sign_with(&key.key_id, key.mode()).await?,
        SigningKeysCommand::Retire(key) => rotation.retire_key(&key.key_id, key.mode()).await?,
    }
    Ok(())
}
