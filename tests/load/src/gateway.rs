//! Common reads through the gateway, compared with a bare axum handler and with gRPC: the share of the gateway in the
//! duration of a request.

use std::process::Stdio;

use anyhow::{Context, ensure};
use http::Method;
use talktime_client::{AppUser, UserRole};
use talktime_proto::access::v1::Workload;
use talktime_proto::wallet::v1::GetBalanceRequest;
use talktime_proto::wallet::v1::wallet_service_client::WalletServiceClient;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::Channel;

use crate::LoadSettings;
use crate::driver::{self, LoadWorker};
use crate::http::HttpConnection;
use crate::people;
use crate::report::{RateReport, ReportLine, quantile};
use crate::stack::{BenchStack, request_of};

/// Number of users, so many that none reaches the feed's limit of 100 a minute.
const PEOPLE: usize = 512;
const READS: [&str; 5] = [
    "/wallet/balance",
    "/users/me",
    "/users/me/status",
    "/calls/ongoing",
    "/feed/listeners?per_page=20",
];

pub(crate) async fn run_bench(stack: &BenchStack, pace: LoadSettings) -> anyhow::Result<()> {
    let people = people::sign_up(stack, UserRole::User, PEOPLE).await?;
    let bare = BareServer::start().await?;
    measure_throughput(stack, pace, &people, &bare).await?;
    measure_share(stack, pace, &people[0], &bare).await
}

async fn measure_throughput(
    stack: &BenchStack,
    pace: LoadSettings,
    people: &[AppUser],
    bare: &BareServer,
) -> anyhow::Result<()> {
    let mut reference = ReportLine::new("a bare axum handler");
    let mut grpc = ReportLine::new("GetBalance over gRPC");
    let mut lines = READS.map(|path| ReportLine::new(&format!("GET {path}")));
    let mut handlers = prepare_readers(&bare.url, people, pace.clients, "/").await?;
    let mut balances = prepare_balance_readers(stack, people, pace.clients).await?;
    for _ in 0..pace.rounds {
        reference.add_round(&driver::run_flat_out(&mut handlers, pace.duration()).await?);
        grpc.add_round(&driver::run_flat_out(&mut balances, pace.duration()).await?);
        for (line, path) in lines.iter_mut().zip(READS) {
            let mut readers =
                prepare_readers(&stack.gateway_url, people, pace.clients, path).await?;
            line.add_round(&driver::run_flat_out(&mut readers, pace.duration()).await?);
        }
    }
    let title = format!("Reads through the gateway, {} at a time", pace.clients);
    let lines = [reference, grpc].into_iter().chain(lines).collect();
    RateReport::new(&title, lines).publish()
}

/// Measures one request at a time, so that none waits for others.
async fn measure_share(
    stack: &BenchStack,
    pace: LoadSettings,
    person: &AppUser,
    bare: &BareServer,
) -> anyhow::Result<()> {
    let people = std::slice::from_ref(person);
    let mut handlers = prepare_readers(&bare.url, people, 1, "/").await?;
    let mut balances = prepare_balance_readers(stack, people, 1).await?;
    let mut reads = prepare_readers(&stack.gateway_url, people, 1, READS[0]).await?;
    let mut reference = ReportLine::new("a bare axum handler");
    let mut grpc = ReportLine::new("GetBalance over gRPC");
    let mut rest_line = ReportLine::new(&format!("GET {}", READS[0]));
    for _ in 0..pace.rounds {
        reference.add_round(&driver::run_flat_out(&mut handlers, pace.duration()).await?);
        grpc.add_round(&driver::run_flat_out(&mut balances, pace.duration()).await?);
        rest_line.add_round(&driver::run_flat_out(&mut reads, pace.duration()).await?);
    }
    let p50 = |line: &ReportLine| quantile(line.latency(), 0.5);
    let (alone, through) = (p50(&grpc), p50(&rest_line));
    let own_ms = through - alone;
    let bare_ms = p50(&reference);
    RateReport::new("One read at a time", vec![reference, grpc, rest_line]).publish()?;
    println!(
        "  the gateway's own share: {own_ms:.2} of {through:.2} ms ({:.0} %); a bare handler takes {bare_ms:.2} ms",
        100.0 * own_ms / through
    );
    Ok(())
}

async fn prepare_readers(
    url: &str,
    people: &[AppUser],
    count: usize,
    path: &'static str,
) -> anyhow::Result<Vec<GatewayReader>> {
    let mut readers = Vec::new();
    for index in 0..count {
        // A reader switches to the next user after each answer, so that there are not too many workers.
        let mut connections = Vec::new();
        for person in people.iter().skip(index).step_by(count) {
            connections.push(HttpConnection::open(url, &person.access_token).await?);
        }
        readers.push(GatewayReader {
            connections,
            path,
            next: 0,
        });
    }
    Ok(readers)
}

/// Reads as one user after another.
struct GatewayReader {
    connections: Vec<HttpConnection>,
    path: &'static str,
    next: usize,
}

impl LoadWorker for GatewayReader {
    async fn execute(&mut self) -> anyhow::Result<u64> {
        self.next = (self.next + 1) % self.connections.len();
        let connection = &mut self.connections[self.next];
        connection
            .request_ok(Method::GET, self.path, None, None)
            .await?;
        Ok(1)
    }
}

async fn prepare_balance_readers(
    stack: &BenchStack,
    people: &[AppUser],
    count: usize,
) -> anyhow::Result<Vec<BalanceReader>> {
    let wallet = stack
        .connect_grpc(Workload::Gateway, Workload::Wallet)
        .await?;
    let wallet = WalletServiceClient::new(wallet);
    let users: Vec<i64> = people.iter().map(|person| person.user_id).collect();
    let create_reader = |index| BalanceReader {
        wallet: wallet.clone(),
        users: users.clone(),
        next: index,
    };
    Ok((0..count).map(create_reader).collect())
}

struct BalanceReader {
    wallet: WalletServiceClient<Channel>,
    users: Vec<i64>,
    next: usize,
}

impl LoadWorker for BalanceReader {
    async fn execute(&mut self) -> anyhow::Result<u64> {
        self.next = (self.next + 1) % self.users.len();
        let user_id = self.users[self.next];
        self.wallet
            .get_balance(request_of(user_id, GetBalanceRequest { user_id }))
            .await?;
        Ok(1)
    }
}

/// A server with a fixed answer, in a process of its own like the gateway.
struct BareServer {
    url: String,
    _process: Child,
}

impl BareServer {
    async fn start() -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("bare-handler")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().context("its output is piped")?;
        let mut url = String::new();
        BufReader::new(output).read_line(&mut url).await?;
        let url = url.trim().to_owned();
        ensure!(
            url.starts_with("http://"),
            "the bare handler printed {url:?}"
        );
        Ok(Self {
            url,
            _process: process,
        })
    }
}

/// Runs the process of [`BareServer`]: prints its address and answers like the wallet.
pub(crate) async fn serve_bare_handler() -> anyhow::Result<()> {
    let answer = r#"{"user_id":1,"balance_coins":0,"withdrawable_money":0,"total_earned":0,"total_withdrawn":0,"pending_withdrawals":0}"#;
    let handler =
        move || async move { ([(http::header::CONTENT_TYPE, "application/json")], answer) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let router = axum::Router::new().route("/", axum::routing::get(handler));
    axum::serve(listener, router).await?;
    Ok(())
}
