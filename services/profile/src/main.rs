//! Profile's binary: `serve`, the operator's `grant-admin` and `revoke-admin`, and the commands that
//! every service has.

use clap::{Parser, Subcommand};
use talktime_kit::{Clock, cli, db};
use talktime_profile::SCHEMA;
use talktime_profile::config::Config;
use talktime_profile::feed_check::FeedCheck;
use talktime_profile::owners::Owners;
use talktime_profile::people::{grant_admin, revoke_admin};

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
    /// Makes the user with this phone an admin.
    GrantAdmin(PhoneAndOperator),
    /// Takes the role of an admin from the user with this phone; their next request is refused.
    RevokeAdmin(PhoneAndOperator),
    /// Writes the feed's read model anew from what its owners say, while it is read and written.
    RebuildFeed,
    #[command(flatten)]
    Common(cli::Command),
}

#[derive(clap::Args)]
struct PhoneAndOperator {
    /// E.164, such as +919876543210.
    phone: String,
    /// Who does this, for the audit log.
    #[arg(long, env = "USER", default_value = "unknown")]
    operator: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let (service, config) = talktime_kit::config::load::<Config>(SCHEMA.name)?;
    match cli.command {
        Command::Serve => talktime_profile::serve(service, config).await,
        Command::GrantAdmin(PhoneAndOperator { phone, operator }) => {
            let pool = db::pool(SCHEMA, &service.database)?;
            let user = grant_admin(&pool, &phone, &operator, Clock::System.now()).await?;
            println!("{} (user {}) is an admin", user.username, user.user_id);
            Ok(())
        }
        Command::RevokeAdmin(PhoneAndOperator { phone, operator }) => {
            let pool = db::pool(SCHEMA, &service.database)?;
            let user = revoke_admin(&pool, &phone, &operator, Clock::System.now()).await?;
            println!("{} (user {}) is no admin", user.username, user.user_id);
            Ok(())
        }
        Command::RebuildFeed => {
            let pool = db::pool(SCHEMA, &service.database)?;
            let owners = Owners::connect(&config.peers)?;
            let checked = FeedCheck::new(pool, owners, config.feed).rebuild().await?;
            println!("{checked}");
            Ok(())
        }
        Command::Common(command) => cli::run(command, &service, SCHEMA).await,
    }
}
