//! Auth's binary: `serve`, the operator's `keys`, and the commands that every service has.

use chrono::{DateTime, Utc};
use clap::{Parser, Subcommand};
use talktime_auth::SCHEMA;
use talktime_auth::config::AuthConfig;
use talktime_auth::rotation::{KeyRotationMode, SigningKeyRotation};
use talktime_auth::store::audit_log::{self, AuditAction, AuditLogEntry};
use talktime_kit::config::ServiceConfig;
use talktime_kit::db::DatabasePool;
use talktime_kit::operator::OperatorArgument;
use talktime_kit::{Clock, cli, db, partitions};

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
    /// Detaches old months from the audit log, so that they can be copied elsewhere and dropped
    /// (docs/runbooks/partitions.md).
    Archive {
        /// The first month that stays, such as `2025-01`.
        #[arg(long, value_parser = partitions::parse_month)]
        before: DateTime<Utc>,
        #[command(flatten)]
        operator: OperatorArgument,
    },
    #[command(flatten)]
    Common(cli::CommonCommand),
}

/// The steps of a rotation, in their order.
#[derive(Subcommand)]
enum SigningKeysCommand {
    /// Lists every key there has been.
    List,
    /// Generates the next key and publishes it; prints its id.
    Publish {
        #[command(flatten)]
        operator: OperatorArgument,
    },
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
    #[command(flatten)]
    operator: OperatorArgument,
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
    let environment = service.process.environment;
    config
        .redis
        .check(environment, "TALKTIME_AUTH__REDIS__URL")?;
    match cli.command {
        AuthCommand::Serve => talktime_auth::serve(service, config).await,
        AuthCommand::Keys(command) => {
            let pool = db::pool(SCHEMA, &service.database)?;
            run_keys_command(command, &service, pool, &config).await
        }
        AuthCommand::Archive { before, operator } => {
            let operator = operator.identify(&service.process)?;
            archive_audit_log(&service, before, operator).await
        }
        AuthCommand::Common(cli::CommonCommand::Restored) => {
            talktime_auth::restored::make_safe(&service, &config).await
        }
        AuthCommand::Common(command) => cli::run(command, &service, SCHEMA).await,
    }
}

/// Detaches months. Each is a transaction of its own, so the command is in the log before the first one.
async fn archive_audit_log(
    service: &ServiceConfig,
    before: DateTime<Utc>,
    operator: &str,
) -> anyhow::Result<()> {
    let detail = format!("archive --before {} by {operator}", before.format("%Y-%m"));
    let entry = AuditLogEntry::new(AuditAction::OperatorActed, Clock::System.now());
    let owner = db::owner_pool(SCHEMA, &service.database)?;
    let mut tx = owner.begin().await?;
    audit_log::record(&mut tx, entry.with_detail(detail)).await?;
    tx.commit().await?;
    let owner_url = &service.database.owner_url;
    for month in partitions::detach_months(owner_url, audit_log::TABLE, before).await? {
        println!("{month}");
    }
    Ok(())
}

async fn run_keys_command(
    command: SigningKeysCommand,
    service: &ServiceConfig,
    pool: DatabasePool,
    config: &AuthConfig,
) -> anyhow::Result<()> {
    let rotation = SigningKeyRotation::new(pool, &config.tokens)?;
    match command {
        SigningKeysCommand::List => {
            for key in rotation.list_keys().await? {
                println!("{} {} since {}", key.key_id, key.stage(), key.stage_since());
            }
            Ok(())
        }
        SigningKeysCommand::Publish { operator } => {
            let operator = operator.identify(&service.process)?;
            println!("{}", rotation.publish_key(operator).await?);
            Ok(())
        }
        SigningKeysCommand::Sign(key) => {
            let operator = key.operator.identify(&service.process)?;
            let (key_id, mode) = (&key.key_id, key.mode());
            rotation.sign_with(key_id, mode, operator).await
        }
        SigningKeysCommand::Retire(key) => {
            let operator = key.operator.identify(&service.process)?;
            let (key_id, mode) = (&key.key_id, key.mode());
            rotation.retire_key(key_id, mode, operator).await
        }
    }
}
