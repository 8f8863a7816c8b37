//! Profile's binary: `serve`, the operator's `grant-admin`, `revoke-admin` and `rebuild-feed`, and the
//! commands that every service has.

use clap::{Parser, Subcommand};
use talktime_kit::config::ServiceConfig;
use talktime_kit::grpc::client::PeerConnector;
use talktime_kit::identity::WorkloadIdentity;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::operator::OperatorArgument;
use talktime_kit::{Clock, cli, db};
use talktime_profile::SCHEMA;
use talktime_profile::admin_roles::{grant_admin, revoke_admin};
use talktime_profile::config::ProfileConfig;
use talktime_profile::jobs::feed_check::FeedConsistencyCheck;
use talktime_profile::peers::FeedSourceClients;

#[global_allocator]
static ALLOCATOR: talktime_kit::MiMalloc = talktime_kit::MiMalloc;

#[derive(Parser)]
#[command(about, version)]
struct ProfileCommandLine {
    #[command(subcommand)]
    command: ProfileCommand,
}

#[derive(Subcommand)]
enum ProfileCommand {
    /// Serves gRPC until SIGTERM or SIGINT.
    Serve,
    /// Grants the role admin to the user with this phone, with the rights of the schema's owner.
    GrantAdmin(AdminRoleArguments),
    /// Revokes the role admin of the user with this phone; their next request is refused.
    RevokeAdmin(AdminRoleArguments),
    /// Rebuilds the feed's read model from its sources, while it is read and written.
    RebuildFeed,
    #[command(flatten)]
    Common(cli::CommonCommand),
}

#[derive(clap::Args)]
struct AdminRoleArguments {
    /// E.164, such as +919876543210.
    phone: String,
    /// Kept in the audit log.
    #[command(flatten)]
    operator: OperatorArgument,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = ProfileCommandLine::parse();
    let (service, config) = talktime_kit::config::load::<ProfileConfig>(SCHEMA.name)?;
    match cli.command {
        ProfileCommand::Serve => Box::pin(talktime_profile::serve(service, config)).await,
        ProfileCommand::GrantAdmin(AdminRoleArguments { phone, operator }) => {
            let pool = db::owner_pool(SCHEMA, &service.database)?;
            let operator = operator.identify(&service.process)?;
            let user = grant_admin(&pool, &phone, operator, Clock::System.now()).await?;
            println!("{} (user {}) is an admin", user.username, user.user_id);
            Ok(())
        }
        ProfileCommand::RevokeAdmin(AdminRoleArguments { phone, operator }) => {
            let pool = db::owner_pool(SCHEMA, &service.database)?;
            let operator = operator.identify(&service.process)?;
            let user = revoke_admin(&pool, &phone, operator, Clock::System.now()).await?;
            println!("{} (user {}) is no admin", user.username, user.user_id);
            Ok(())
        }
        ProfileCommand::RebuildFeed => rebuild_feed(&service, &config).await,
        ProfileCommand::Common(command) => cli::run(command, &service, SCHEMA).await,
    }
}

async fn rebuild_feed(service: &ServiceConfig, config: &ProfileConfig) -> anyhow::Result<()> {
    let pool = db::pool(SCHEMA, &service.database)?;
    let identity = WorkloadIdentity::load(&service.process.identity, &ProcessLifecycle::default())?;
    let sources = FeedSourceClients::connect(&PeerConnector::new(identity), &config.peers)?;
    let report = FeedConsistencyCheck::new(pool, sources, config.feed)
        .rebuild()
        .await?;
    println!("{report}");
    Ok(())
}
