//! The wallet, compared with pgbench writing the same rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use serde_json::{Value, json};
use sqlx::Executor;
use talktime_client::{AppUser, UserRole};
use talktime_proto::access::v1::Workload;
use talktime_proto::wallet::v1::charge_response::Outcome;
use talktime_proto::wallet::v1::wallet_service_client::WalletServiceClient;
use talktime_proto::wallet::v1::{
    ChargeBatchRequest, ChargeRequest, ChargeResponse, RechargeRequest,
};
use tonic::transport::Channel;

use crate::LoadSettings;
use crate::driver::{self, LoadWorker};
use crate::http::HttpConnection;
use crate::people;
use crate::pgbench::PgbenchScript;
use crate::report::{RateReport, ReportLine};
use crate::stack::{BenchStack, request_of};

/// Users with coins, as many as pgbench has.
const PAYERS: i64 = 1_000;
/// First user id, far above those of registered users.
const FIRST_PAYER: i64 = 1_000_000_000;
/// The largest amount of the rate card, and the number of recharges of each user.
const RECHARGE_PAISE: i64 = 100_000;
const RECHARGES: usize = 10;
const SETUP_AT_A_TIME: usize = 64;
/// Minutes in one batch, as the biller of calls sends them.
const BATCH: usize = 500;
const BATCHES_AT_A_TIME: usize = 2;
const COINS_A_MINUTE: i64 = 1;

/// Ids of calls that do not exist, each used once.
#[derive(Clone)]
struct CallIds(Arc<AtomicI64>);

impl CallIds {
    fn next_id(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

pub(crate) async fn run_bench(stack: &BenchStack, pace: LoadSettings) -> anyhow::Result<()> {
    let database = stack.connect_database().await?;
    database
        .execute(include_str!("../pgbench/wallet_tables.sql"))
        .await?;
    let gateway = stack
        .connect_grpc(Workload::Gateway, Workload::Wallet)
        .await?;
    give_coins(&WalletServiceClient::new(gateway)).await?;
    let calls = stack
        .connect_grpc(Workload::Calls, Workload::Wallet)
        .await?;
    let wallet = WalletServiceClient::new(calls);
    let calls = CallIds(Arc::new(AtomicI64::new(FIRST_PAYER)));
    let charges = measure_charges(stack, pace, &wallet, &calls).await?;
    charges.publish()?;
    let recharges = measure_recharges(stack, pace).await?;
    recharges.publish()
}

/// Gives users as many coins as the measurements may spend.
async fn give_coins(wallet: &WalletServiceClient<Channel>) -> anyhow::Result<()> {
    stream::iter(0..PAYERS)
        .map(|payer| recharge_repeatedly(wallet.clone(), FIRST_PAYER + payer))
        .buffer_unordered(SETUP_AT_A_TIME)
        .try_collect()
        .await
        .context("giving people coins")
}

async fn recharge_repeatedly(
    mut wallet: WalletServiceClient<Channel>,
    user_id: i64,
) -> anyhow::Result<()> {
    for _ in 0..RECHARGES {
        let request = RechargeRequest {
            user_id,
            amount_paise: RECHARGE_PAISE,
            payment_method: "upi".to_owned(),
            ..RechargeRequest::default()
        };
        wallet.recharge(request_of(user_id, request)).await?;
    }
    Ok(())
}

async fn measure_charges(
    stack: &BenchStack,
    pace: LoadSettings,
    wallet: &WalletServiceClient<Channel>,
    calls: &CallIds,
) -> anyhow::Result<RateReport> {
    let pgbench = PgbenchScript::new(stack, include_str!("../pgbench/charge.sql"))?;
    let mut reference = ReportLine::new("pgbench, one charge's rows in a transaction");
    let mut batches = ReportLine::new(&format!("ChargeBatch over gRPC, {BATCH} minutes each"));
    let mut chargers = prepare_chargers(wallet, calls);
    for _ in 0..pace.rounds {
        reference.add_rate(pgbench.run(pace.clients, pace.duration()).await?);
        batches.add_round(&driver::run_flat_out(&mut chargers, pace.duration()).await?);
    }
    let title = format!(
        "Minutes charged, {} transactions or {BATCHES_AT_A_TIME} batches at a time",
        pace.clients
    );
    Ok(RateReport::new(&title, vec![reference, batches]))
}

fn prepare_chargers(wallet: &WalletServiceClient<Channel>, calls: &CallIds) -> Vec<ChargeWorker> {
    let charger = |_| ChargeWorker {
        wallet: wallet.clone(),
        calls: calls.clone(),
    };
    (0..BATCHES_AT_A_TIME).map(charger).collect()
}

/// Charges first minutes of calls that do not exist.
struct ChargeWorker {
    wallet: WalletServiceClient<Channel>,
    calls: CallIds,
}

impl ChargeWorker {
    fn build_charge(&self) -> ChargeRequest {
        let call_id = self.calls.next_id();
        ChargeRequest {
            call_id,
            minute: 1,
            user_id: FIRST_PAYER + call_id % PAYERS,
            coins: COINS_A_MINUTE,
            ..ChargeRequest::default()
        }
    }
}

impl LoadWorker for ChargeWorker {
    async fn execute(&mut self) -> anyhow::Result<u64> {
        let charges = (0..BATCH).map(|_| self.build_charge()).collect();
        let request = ChargeBatchRequest { charges };
        let charged = self.wallet.charge_batch(request).await?.into_inner();
        ensure!(charged.outcomes.iter().all(is_charged), "not all charged");
        Ok(u64::try_from(charged.outcomes.len())?)
    }
}

fn is_charged(response: &ChargeResponse) -> bool {
    matches!(response.outcome, Some(Outcome::Charged(_)))
}

async fn measure_recharges(stack: &BenchStack, pace: LoadSettings) -> anyhow::Result<RateReport> {
    let pgbench = PgbenchScript::new(stack, include_str!("../pgbench/recharge.sql"))?;
    let mut reference = ReportLine::new("pgbench, one recharge's rows in a transaction");
    let mut platform_line = ReportLine::new("POST /calls/recharge through the gateway");
    let people = people::sign_up(stack, UserRole::User, pace.clients).await?;
    let mut buyers = Vec::new();
    for person in &people {
        buyers.push(RechargeWorker::new(stack, person).await?);
    }
    for _ in 0..pace.rounds {
        reference.add_rate(pgbench.run(pace.clients, pace.duration()).await?);
        platform_line.add_round(&driver::run_flat_out(&mut buyers, pace.duration()).await?);
    }
    let title = format!("Recharges, {} requests at a time", pace.clients);
    Ok(RateReport::new(&title, vec![reference, platform_line]))
}

/// Buys coins repeatedly.
struct RechargeWorker {
    connection: HttpConnection,
    bought: u64,
    body: Value,
}

impl RechargeWorker {
    async fn new(stack: &BenchStack, person: &AppUser) -> anyhow::Result<Self> {
        Ok(Self {
            connection: HttpConnection::open(&stack.gateway_url, &person.access_token).await?,
            bought: 0,
            body: json!({"amount_rupees": 150, "payment_method": "upi"}),
        })
    }
}

impl LoadWorker for RechargeWorker {
    async fn execute(&mut self) -> anyhow::Result<u64> {
        self.bought += 1;
        let key = format!("bench-{}", self.bought);
        let path = "/calls/recharge";
        self.connection
            .request_ok(Method::POST, path, Some(&key), Some(&self.body))
            .await?;
        Ok(1)
    }
}
