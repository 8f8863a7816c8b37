//! The wallet service. It alone moves coins and rupees.
//!
//! [`domain`] holds the rules, [`store`] the SQL statements and [`ledger`] the operations, each of which is
//! one transaction. [`grpc`] serves the other services, [`provider`] talks to payment providers, [`sealing`]
//! encrypts bank details, [`anchors`] keeps signed ends of chains outside the database, [`payouts`] writes the list that an operator takes to the bank, and [`jobs`] holds
//! the periodic work.

#![allow(
    missing_docs,
    reason = "this crate is not published, and a comment that repeats a name explains nothing"
)]

pub mod anchors;
pub mod config;
mod consumers;
pub mod domain;
mod events;
mod grpc;
mod jobs;
pub mod ledger;
mod metrics;
pub mod payouts;
pub mod provider;
pub mod restored;
pub mod sealing;
pub mod store;

use sqlx::migrate::Migrator;
use talktime_kit::config::ServiceConfig;
use talktime_kit::db::{
    self, DatabasePool, DatabaseSchema, PgConnection, PlanCacheMode, StandbyReads,
};
use talktime_kit::export::{self, export_service};
use talktime_kit::messaging::Relay;
use talktime_kit::operator::record_intention;
use talktime_kit::{Clock, RunningService};
use talktime_proto::events::consumers::WALLET_PROFILE;
use talktime_proto::wallet::v1::wallet_service_server::{self, WalletServiceServer};
use tonic::service::Routes;

use crate::anchors::AnchorLog;
use crate::config::WalletConfig;
use crate::consumers::WalletEventHandler;
use crate::grpc::WalletGrpcApi;
use crate::jobs::anchor_chains::start_anchoring;
use crate::jobs::delete_old::start_deletions;
use crate::jobs::reconcile_orders::start_reconciliation;
use crate::jobs::sum_histories::start_summing;
use crate::jobs::verify_books::start_verification;
use crate::ledger::{BalanceReader, LedgerParts, RechargeProcessor, WalletLedger};
use crate::sealing::BankDetailsSealer;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// The wallet's schema.
pub const SCHEMA: DatabaseSchema = DatabaseSchema {
    name: "wallet",
    migrations: &MIGRATIONS,
    plan_cache_mode: PlanCacheMode::ForceGeneric,
};

/// Runs the wallet until a signal.
pub async fn serve(service: ServiceConfig, config: WalletConfig) -> anyhow::Result<()> {
    config.check(service.process.environment)?;
    let service = RunningService::start(service, SCHEMA).await?;
    metrics::register_metrics();
    let (db, clock) = (service.db.clone(), service.clock.clone());
    let ledger = build_ledger(
        service.reads.clone(),
        db.clone(),
        service.relay.clone(),
        &config,
    )?;
    start_reconciliation(&service.lifecycle, ledger.clone());
    start_deletions(&service.lifecycle, ledger.clone());
    start_summing(&service.lifecycle, ledger.clone());
    start_verification(&service.lifecycle, db.clone(), config.verify_every());
    if let Some(anchors) = &config.anchors {
        let log = AnchorLog::open(anchors)?;
        start_anchoring(&service.lifecycle, db, log, clock.clone(), anchors.every());
    }
    service.consume(WALLET_PROFILE, WalletEventHandler::new(clock));
    let export = export_service(service.db.clone(), store::export::SECTIONS);
    let balances = BalanceReader::start(&service.lifecycle, ledger.clone());
    let recharges = RechargeProcessor::start(&service.lifecycle, ledger.clone());
    let api = WalletGrpcApi::new(ledger, balances, recharges);
    let routes = Routes::new(WalletServiceServer::new(api)).add_service(export);
    let names = [wallet_service_server::SERVICE_NAME, export::SERVICE_NAME];
    let users = service.guard_users(&config.peers.auth)?;
    service.serve(routes, &names, users).await
}

fn build_ledger(
    reads: StandbyReads,
    db: DatabasePool,
    relay: Relay,
    config: &WalletConfig,
) -> anyhow::Result<WalletLedger> {
    Ok(WalletLedger::new(LedgerParts {
        db,
        reads,
        relay,
        clock: Clock::System,
        terms: config.terms(),
        sealer: BankDetailsSealer::new(&config.bank_details)?,
        provider: config.provider()?,
    }))
}

/// Compares journal, transfers, wallets, histories and the provider's reports, walks the chains, and compares them with
/// their anchors; an error names the differences.
pub async fn verify(service: &ServiceConfig, config: &WalletConfig) -> anyhow::Result<()> {
    let pool = db::pool(SCHEMA, &service.database)?;
    let mut connection = pool.open_session().await?;
    let differences = store::accounts::find_differences(&mut connection).await?;
    anyhow::ensure!(differences.is_empty(), "{}", differences.join("\n"));
    println!("journal, transfers, wallets and histories agree, and every chain is whole");
    println!("payments are as reported, and payouts and forfeits have their causes");
    let debt_coins = store::audits::sum_closed_debt_coins(&mut connection).await?;
    println!("deleted accounts owe {debt_coins} coins");
    match &config.anchors {
        None => println!("chains are not anchored"),
        Some(anchors) => verify_anchors(&mut connection, &AnchorLog::open(anchors)?).await?,
    }
    Ok(())
}

async fn verify_anchors(connection: &mut PgConnection, log: &AnchorLog) -> anyhow::Result<()> {
    let report = log.verify(connection).await?;
    let differences = report.differences;
    anyhow::ensure!(differences.is_empty(), "{}", differences.join("\n"));
    let (anchors, earlier) = (report.anchors, report.anchors_before_restoration);
    if let Some(newest_at) = report.newest_at {
        println!("{anchors} anchors are signed and in order, the newest one of {newest_at}");
        println!("chains are as anchored; {earlier} anchors are from before a restoration");
    } else {
        println!("there is no anchor yet");
    }
    Ok(())
}

/// Seals bank details again that another key than the configured one sealed. That takes many transactions, so the operator
/// is recorded before the first one.
pub async fn rotate_bank_details(
    service: &ServiceConfig,
    config: &WalletConfig,
    operator: &str,
) -> anyhow::Result<()> {
    let pool = db::pool(SCHEMA, &service.database)?;
    let sealer = BankDetailsSealer::new(&config.bank_details)?;
    record_intention(&pool, operator, "rotate-bank-details").await?;
    let rotated = ledger::bank::reseal_bank_details(&pool, &sealer).await?;
    println!("{rotated} rows are sealed with key {} now", sealer.key_id());
    Ok(())
}

/// Prints as CSV what is to be paid out by hand: the withdrawals in processing that no earlier batch has, as a new batch,
/// or what is left of the batch of this number.
pub async fn export_payouts(
    service: &ServiceConfig,
    config: &WalletConfig,
    operator: &str,
    batch_id: Option<i64>,
) -> anyhow::Result<()> {
    let pool = db::pool(SCHEMA, &service.database)?;
    let reads = StandbyReads::of_primary(pool.clone());
    let ledger = build_ledger(reads, pool.clone(), Relay::default(), config)?;
    let batch = match batch_id {
        Some(batch_id) => {
            // A new batch names its operator. An old one that is printed again names only the first.
            let command = format!("export-payouts --batch {batch_id}");
            record_intention(&pool, operator, &command).await?;
            Some(ledger.load_batch(batch_id).await?)
        }
        None => ledger.export_payouts(operator).await?,
    };
    if let Some(batch) = batch {
        eprintln!("batch {}: {} payouts", batch.batch_id, batch.payouts.len());
        return payouts::write_csv(&batch, std::io::stdout().lock());
    }
    eprintln!("there is nothing to pay that no batch has yet");
    if let Some(last) = ledger.find_last_batch().await? {
        let (batch_id, by, at) = (last.batch_id, last.exported_by, last.exported_at);
        eprintln!(
            "{by} exported the last batch, {batch_id}, at {at}; --batch {batch_id} prints it again"
        );
    }
    Ok(())
}
