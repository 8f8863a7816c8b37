//! The commands that the binary of every service has.

use crate::db::DatabasePool;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use serde::de::DeserializeOwned;

use crate::config::{self, ServiceConfig};
use crate::db::{self, DatabaseSchema};
use crate::messaging::{self, dead_letters, outbox};
use crate::operator::OperatorArgument;
use crate::restored;

/// Commands besides `serve`.
#[derive(Debug, Subcommand)]
pub enum CommonCommand {
    /// Brings the service's schema up to date, then ends. Safe to start many at once.
    Migrate,
    /// Lists and replays messages that could not be handled.
    #[command(subcommand)]
    DeadLetters(DeadLetterCommand),
    /// Publishes recent events again, for a JetStream that has lost them.
    Republish {
        /// How far back, in seconds.
        #[arg(long)]
        since_secs: u32,
        /// The operator who asks for it.
        #[command(flatten)]
        operator: OperatorArgument,
    },
    /// Makes the schema safe after Postgres was restored to a moment of the past, while nothing else runs
    /// (docs/runbooks/restore.md). Safe to run again, whatever interrupted it.
    Restored,
}

/// Commands for dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLetterCommand {
    /// Lists the dead letters that have not been replayed.
    List,
    /// Sends a dead letter to its consumer again; consumers that have handled it ignore it. Needs the
    /// password of the operator of NATS, since the event is of another service.
    Replay {
        /// The number that `list` shows.
        dead_letter_id: i64,
        /// The operator who asks for it.
        #[command(flatten)]
        operator: OperatorArgument,
    },
}

#[derive(Parser)]
#[command(version)]
struct CommandLine {
    #[command(subcommand)]
    command: ServeOrCommon,
}

#[derive(Subcommand)]
enum ServeOrCommon {
    /// Serves gRPC until SIGTERM or SIGINT.
    Serve,
    #[command(flatten)]
    Common(CommonCommand),
}

/// The `main` function of a service without commands of its own: reads the command line and the configuration,
/// and runs the command.
///
/// # Errors
/// The configuration is incomplete, or the command failed.
pub async fn main<Config, Serving>(
    schema: DatabaseSchema,
    serve: impl FnOnce(ServiceConfig, Config) -> Serving,
) -> anyhow::Result<()>
where
    Config: DeserializeOwned,
    Serving: Future<Output = anyhow::Result<()>>,
{
    let program = CommandLine::command().name(schema.name);
    let cli = CommandLine::from_arg_matches(&program.get_matches())?;
    let (service, own) = config::load::<Config>(schema.name)?;
    match cli.command {
        ServeOrCommon::Serve => serve(service, own).await,
        ServeOrCommon::Common(command) => run(command, &service, schema).await,
    }
}

/// Runs one of the common commands to its end.
///
/// # Errors
/// The database or NATS cannot be reached, the dead letter does not exist, or the operator is none.
pub async fn run(
    command: CommonCommand,
    config: &ServiceConfig,
    schema: DatabaseSchema,
) -> anyhow::Result<()> {
    match command {
        CommonCommand::Migrate => db::migrate(schema, &config.database.owner_url).await,
        CommonCommand::DeadLetters(command) => {
            dead_letters_command(command, config, &db::pool(schema, &config.database)?).await
        }
        CommonCommand::Republish {
            since_secs,
            operator,
        } => {
            let operator = operator.identify(&config.process)?;
            let pool = db::pool(schema, &config.database)?;
            let events = outbox::mark_unpublished(&pool, since_secs, operator).await?;
            println!("{events} events will be published again");
            Ok(())
        }
        CommonCommand::Restored => restored::make_safe(schema, config).await,
    }
}

async fn dead_letters_command(
    command: DeadLetterCommand,
    config: &ServiceConfig,
    pool: &DatabasePool,
) -> anyhow::Result<()> {
    match command {
        DeadLetterCommand::List => {
            for letter in dead_letters::list(pool).await? {
                println!("{letter}");
            }
        }
        DeadLetterCommand::Replay {
            dead_letter_id,
            operator,
        } => {
            let operator = operator.identify(&config.process)?;
            let nats = messaging::connect_as_operator(&config.nats).await?;
            dead_letters::replay(pool, &nats, dead_letter_id, operator).await?;
            println!("{dead_letter_id} was handed back to its consumer");
        }
    }
    Ok(())
}
