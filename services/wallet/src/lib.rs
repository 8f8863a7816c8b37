//! The wallet: coins and rupees, and nothing else moves them.
//!
//! [`domain`] decides, [`store`] keeps, [`ledger`] does one operation in one transaction,
//! [`grpc`] speaks to the other services.

pub mod config;
pub mod domain;
mod events;
mod grpc;
pub mod ledger;
mod observe;
pub mod store;

use sqlx::migrate::Migrator;
use talktime_kit::Service;
use talktime_kit::config::ServiceConfig;
use talktime_kit::db::Schema;
use talktime_kit::messaging::Consumer;
use talktime_proto::wallet::v1::wallet_service_server::{self, WalletServiceServer};
use tonic::service::Routes;

use crate::config::Config;
use crate::events::ProfileEvents;
use crate::grpc::WalletApi;
use crate::ledger::Ledger;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// The wallet's schema.
pub const SCHEMA: Schema = Schema {
    name: "wallet",
    migrations: &MIGRATIONS,
};

const PROFILE_EVENTS: Consumer = Consumer {
    name: "wallet-profile",
    filter: "events.profile.>",
};

/// Runs the wallet until a signal.
pub async fn serve(service: ServiceConfig, config: Config) -> anyhow::Result<()> {
    config.check(service.process.environment)?;
    let service = Service::start(service, SCHEMA).await?;
    observe::begin();
    let ledger = Ledger::new(
        service.db.clone(),
        service.relay.clone(),
        service.clock.clone(),
        config.rate_card,
    );
    service.consume(PROFILE_EVENTS, ProfileEvents::new(service.clock.clone()));
    let routes = Routes::new(WalletServiceServer::new(WalletApi::new(ledger)));
    service
        .serve(routes, &[wallet_service_server::SERVICE_NAME])
        .await
}

/// Compares journal, transfers, wallets and histories with one another; an error names what differs.
pub async fn verify(service: &ServiceConfig) -> anyhow::Result<()> {
    let pool = talktime_kit::db::pool(SCHEMA.name, &service.database)?;
    let mut connection = pool.acquire().await?;
    let differences = store::accounts::differences(&mut connection).await?;
    anyhow::ensure!(differences.is_empty(), "{}", differences.join("\n"));
    println!("journal, transfers, wallets and histories agree");
    Ok(())
}
