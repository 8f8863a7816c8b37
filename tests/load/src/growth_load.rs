//! The requests of the measurement of growth: starts of calls by people who signed up, and minutes and pages of people
//! who have a history.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::ensure;
use hdrhistogram::Histogram;
use sqlx::PgPool;
use talktime_proto::access::v1::Workload;
use talktime_proto::calls::v1::ListCallsRequest;
use talktime_proto::calls::v1::calls_service_client::CallsServiceClient;
use talktime_proto::wallet::v1::charge_response::Outcome;
use talktime_proto::wallet::v1::wallet_service_client::WalletServiceClient;
use talktime_proto::wallet::v1::{ChargeBatchRequest, ChargeRequest, ListTransactionsRequest};
use tonic::transport::Channel;

use crate::LoadSettings;
use crate::call_worker::{self, CallStep, CallWorker, START_AND_END};
use crate::driver::{self, LoadWorker};
use crate::growth_data::{self, GrowthPeople};
use crate::stack::{BenchStack, request_of};

/// The measurements at each size.
pub(crate) const LABELS: [&str; 5] = [
    "start of a call, through the gateway",
    "minute charged, over gRPC",
    "page of transactions, of a month",
    "page of transactions, of all months",
    "page of calls, of a month",
];
/// Requests a second.
const STARTS: f64 = 20.0;
const MINUTES: f64 = 50.0;
const PAGES: f64 = 50.0;
/// First id of the calls whose minutes are charged, none of which exists.
const FIRST_CHARGED_CALL: i64 = 5_000_000_000;
const COINS_A_MINUTE: i64 = 10;
const PER_PAGE: i32 = 20;
/// Steps of a prime number reach everybody, and neighbours in the tables at different times.
const STEP: usize = 7_919;

/// The result of one measurement at one size.
pub(crate) struct MeasuredRequests {
    /// Durations in microseconds.
    pub(crate) latency: Histogram<u64>,
    /// Blocks of Postgres that a request has read, cached ones included. Unlike durations, they do not depend on what else
    /// the machine does.
    pub(crate) blocks: f64,
}

/// The clients of all measurements.
pub(crate) struct GrowthLoad {
    pace: LoadSettings,
    database: PgPool,
    callers: Vec<CallWorker>,
    chargers: Vec<MinuteWorker>,
    /// Readers of each kind of page.
    readers: Vec<Vec<PageReader>>,
}

impl GrowthLoad {
    pub(crate) async fn prepare(
        stack: &BenchStack,
        pace: LoadSettings,
        people: GrowthPeople,
    ) -> anyhow::Result<Self> {
        let of_calls = stack
            .connect_grpc(Workload::Calls, Workload::Wallet)
            .await?;
        let wallet = stack
            .connect_grpc(Workload::Gateway, Workload::Wallet)
            .await?;
        let calls = stack
            .connect_grpc(Workload::Gateway, Workload::Calls)
            .await?;
        let next_call = Arc::new(AtomicI64::new(FIRST_CHARGED_CALL));
        let charger = |number| MinuteWorker {
            wallet: WalletServiceClient::new(of_calls.clone()),
            people,
            next_call: next_call.clone(),
            turn: number,
        };
        let reader = |page, number| PageReader {
            wallet: WalletServiceClient::new(wallet.clone()),
            calls: CallsServiceClient::new(calls.clone()),
            people,
            page,
            turn: number,
        };
        let pages = [
            HistoryPage::RecentTransactions,
            HistoryPage::RegularTransactions,
            HistoryPage::RecentCalls,
        ];
        let readers = |page| {
            (0..pace.clients)
                .map(|number| reader(page, number))
                .collect()
        };
        Ok(Self {
            pace,
            database: stack.connect_database().await?,
            callers: CallWorker::prepare(stack, pace.clients).await?,
            chargers: (0..pace.clients).map(charger).collect(),
            readers: pages.map(readers).into(),
        })
    }

    /// Measures everything once; returns the results in the order of [`LABELS`].
    pub(crate) async fn measure(&mut self) -> anyhow::Result<Vec<MeasuredRequests>> {
        let mut measured = vec![self.measure_starts().await?];
        let (database, pace) = (&self.database, self.pace);
        measured.push(measure_at_rate(database, &mut self.chargers, pace, MINUTES).await?);
        for readers in &mut self.readers {
            measured.push(measure_at_rate(database, readers, pace, PAGES).await?);
        }
        Ok(measured)
    }

    /// Measures starts. The blocks are those of the ends as well.
    async fn measure_starts(&mut self) -> anyhow::Result<MeasuredRequests> {
        call_worker::choose_steps(&mut self.callers, START_AND_END).await?;
        driver::run_at_rate(&mut self.callers, self.pace.duration(), STARTS).await?;
        // The first round only warmed up.
        call_worker::choose_steps(&mut self.callers, START_AND_END).await?;
        let duration = self.pace.total_duration()?;
        let before = count_blocks(&self.database).await?;
        driver::run_at_rate(&mut self.callers, duration, STARTS).await?;
        let latency = call_worker::sum_latencies(&self.callers, CallStep::Start);
        let blocks = count_blocks(&self.database).await? - before;
        Ok(MeasuredRequests::new(latency, blocks))
    }
}

impl MeasuredRequests {
    fn new(latency: Histogram<u64>, blocks: i64) -> Self {
        let blocks = blocks as f64 / latency.len() as f64;
        Self { latency, blocks }
    }
}

/// Measures after a round that only warms up, since the database has written much and read little before.
async fn measure_at_rate<W: LoadWorker>(
    database: &PgPool,
    workers: &mut Vec<W>,
    pace: LoadSettings,
    per_second: f64,
) -> anyhow::Result<MeasuredRequests> {
    driver::run_at_rate(workers, pace.duration(), per_second).await?;
    let before = count_blocks(database).await?;
    let measured = driver::run_at_rate(workers, pace.total_duration()?, per_second).await?;
    let blocks = count_blocks(database).await? - before;
    Ok(MeasuredRequests::new(measured.latency, blocks))
}

/// Counts the blocks that all sessions have read. A session that works reports them every second.
async fn count_blocks(database: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT blks_hit + blks_read FROM pg_stat_database WHERE datname = current_database()",
    )
    .fetch_one(database)
    .await
}

/// Charges a single minute of a caller of the present month.
struct MinuteWorker {
    wallet: WalletServiceClient<Channel>,
    people: GrowthPeople,
    next_call: Arc<AtomicI64>,
    turn: usize,
}

impl LoadWorker for MinuteWorker {
    async fn execute(&mut self) -> anyhow::Result<u64> {
        self.turn += STEP;
        let charge = ChargeRequest {
            call_id: self.next_call.fetch_add(1, Ordering::Relaxed),
            minute: 1,
            user_id: self.people.recent_caller(self.turn),
            coins: COINS_A_MINUTE,
            ..ChargeRequest::default()
        };
        let charges = vec![charge];
        let charged = self.wallet.charge_batch(ChargeBatchRequest { charges });
        let outcomes = charged.await?.into_inner().outcomes;
        let is_charged = matches!(outcomes[0].outcome, Some(Outcome::Charged(_)));
        ensure!(is_charged, "a minute was not charged: {outcomes:?}");
        Ok(1)
    }
}

/// A kind of page.
#[derive(Clone, Copy)]
enum HistoryPage {
    /// Transactions of a caller of the present month alone.
    RecentTransactions,
    /// Transactions of a caller of every month.
    RegularTransactions,
    /// Calls of a caller of the present month alone.
    RecentCalls,
}

/// Loads the first page of one person after the other.
struct PageReader {
    wallet: WalletServiceClient<Channel>,
    calls: CallsServiceClient<Channel>,
    people: GrowthPeople,
    page: HistoryPage,
    turn: usize,
}

impl LoadWorker for PageReader {
    async fn execute(&mut self) -> anyhow::Result<u64> {
        self.turn += STEP;
        let lines = match self.page {
            HistoryPage::RecentTransactions => {
                let user_id = self.people.recent_caller(self.turn);
                self.count_transactions(user_id).await?
            }
            HistoryPage::RegularTransactions => {
                let user_id = growth_data::regular_caller(self.turn);
                self.count_transactions(user_id).await?
            }
            HistoryPage::RecentCalls => self.count_calls().await?,
        };
        ensure!(lines > 0, "a person has no history");
        Ok(1)
    }
}

impl PageReader {
    async fn count_transactions(&mut self, user_id: i64) -> anyhow::Result<usize> {
        let request = ListTransactionsRequest {
            user_id,
            page: 1,
            per_page: PER_PAGE,
            ..ListTransactionsRequest::default()
        };
        let request = request_of(user_id, request);
        let listed = self.wallet.list_transactions(request).await?;
        Ok(listed.into_inner().transactions.len())
    }

    async fn count_calls(&mut self) -> anyhow::Result<usize> {
        let request = ListCallsRequest {
            user_id: self.people.recent_caller(self.turn),
            page: 1,
            per_page: PER_PAGE,
            ..ListCallsRequest::default()
        };
        let request = request_of(request.user_id, request);
        let listed = self.calls.list_calls(request).await?;
        Ok(listed.into_inner().calls.len())
    }
}
