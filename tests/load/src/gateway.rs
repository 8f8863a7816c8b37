//! Common reads through the gateway, beside a bare axum handler and beside the service's own gRPC: what
//! of an answer's time is the gateway's.

use std::process::Stdio;

use anyhow::{Context, ensure};
use http::Method;
use talktime_client::{AppUser, UserRole};
use talktime_proto::wallet::v1::GetBalanceRequest;
use talktime_proto::wallet::v1::wallet_service_client::WalletServiceClient;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::Channel;

use crate::Pace;
use crate::driver::{self, Worker};
use crate::http::Connection;
use crate::people;
use crate::report::{Line, Report, quantile};
use crate::stack::Stack;

/// Enough that the feed's limit of 100 a minute stops none of them.
const PEOPLE: usize = 512;
const READS: [&str; 5] = [
    "/wallet/balance",
    "/users/me",
    "/users/me/status",
    "/calls/ongoing",
    "/feed/listeners?per_page=20",
];

pub(crate) async fn bench(stack: &Stack, pace: Pace) -> anyhow::Result<()> {
    let people = people::sign_up(stack, UserRole::User, PEOPLE).await?;
    let bare = Bare::start().await?;
    throughput(stack, pace, &people, &bare).await?;
    share(stack, pace, &people[0], &bare).await
}

async fn throughput(
    stack: &Stack,
    pace: Pace,
    people: &[AppUser],
    bare: &Bare,
) -> anyhow::Result<()> {
    let mut opponent = Line::new("a bare axum handler");
    let mut grpc = Line::new("GetBalance over gRPC");
    let mut lines = READS.map(|path| Line::new(&format!("GET {path}")));
    let mut handlers = readers(&bare.url, people, pace.clients, "/").await?;
    let mut balances = askers(stack, people, pace.clients).await?;
    for _ in 0..pace.rounds {
        opponent.add(&driver::flat_out(&mut handlers, pace.duration()).await?);
        grpc.add(&driver::flat_out(&mut balances, pace.duration()).await?);
        for (line, path) in lines.iter_mut().zip(READS) {
            let mut readers = readers(&stack.gateway_url, people, pace.clients, path).await?;
            line.add(&driver::flat_out(&mut readers, pace.duration()).await?);
        }
    }
    let title = format!("Reads through the gateway, {} at a time", pace.clients);
    let lines = [opponent, grpc].into_iter().chain(lines).collect();
    println!("{}", Report::new(&title, lines));
    Ok(())
}

/// One at a time, so that nobody waits for anybody else.
async fn share(stack: &Stack, pace: Pace, person: &AppUser, bare: &Bare) -> anyhow::Result<()> {
    let people = std::slice::from_ref(person);
    let mut handlers = readers(&bare.url, people, 1, "/").await?;
    let mut balances = askers(stack, people, 1).await?;
    let mut reads = readers(&stack.gateway_url, people, 1, READS[0]).await?;
    let mut opponent = Line::new("a bare axum handler");
    let mut grpc = Line::new("GetBalance over gRPC");
    let mut rest = Line::new(&format!("GET {}", READS[0]));
    for _ in 0..pace.rounds {
        opponent.add(&driver::flat_out(&mut handlers, pace.duration()).await?);
        grpc.add(&driver::flat_out(&mut balances, pace.duration()).await?);
        rest.add(&driver::flat_out(&mut reads, pace.duration()).await?);
    }
    let p50 = |line: &Line| quantile(line.latency(), 0.5);
    let (alone, through) = (p50(&grpc), p50(&rest));
    let own_ms = through - alone;
    let bare_ms = p50(&opponent);
    println!(
        "{}",
        Report::new("One read at a time", vec![opponent, grpc, rest])
    );
    println!(
        "  the gateway's own share: {own_ms:.2} of {through:.2} ms ({:.0} %); a bare handler takes {bare_ms:.2} ms",
        100.0 * own_ms / through
    );
    Ok(())
}

async fn readers(
    url: &str,
    people: &[AppUser],
    count: usize,
    path: &'static str,
) -> anyhow::Result<Vec<Reader>> {
    let mut readers = Vec::new();
    for index in 0..count {
        // A reader goes from person to person with each answer: a connection each would be too many.
        let mut connections = Vec::new();
        for person in people.iter().skip(index).step_by(count) {
            connections.push(Connection::open(url, &person.access_token).await?);
        }
        readers.push(Reader {
            connections,
            path,
            next: 0,
        });
    }
    Ok(readers)
}

/// Asks as one person after the other.
struct Reader {
    connections: Vec<Connection>,
    path: &'static str,
    next: usize,
}

impl Worker for Reader {
    async fn ask(&mut self) -> anyhow::Result<u64> {
        self.next = (self.next + 1) % self.connections.len();
        let connection = &mut self.connections[self.next];
        connection.must(Method::GET, self.path, None, None).await?;
        Ok(1)
    }
}

async fn askers(stack: &Stack, people: &[AppUser], count: usize) -> anyhow::Result<Vec<Asker>> {
    let wallet = WalletServiceClient::new(stack.grpc("wallet").await?);
    let users: Vec<i64> = people.iter().map(|person| person.user_id).collect();
    let asker = |index| Asker {
        wallet: wallet.clone(),
        users: users.clone(),
        next: index,
    };
    Ok((0..count).map(asker).collect())
}

struct Asker {
    wallet: WalletServiceClient<Channel>,
    users: Vec<i64>,
    next: usize,
}

impl Worker for Asker {
    async fn ask(&mut self) -> anyhow::Result<u64> {
        self.next = (self.next + 1) % self.users.len();
        let user_id = self.users[self.next];
        self.wallet
            .get_balance(GetBalanceRequest { user_id })
            .await?;
        Ok(1)
    }
}

/// A server that does nothing but answer, in a process of its own as the gateway is.
struct Bare {
    url: String,
    _process: Child,
}

impl Bare {
    async fn start() -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("bare-handler")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().context("its output is ours")?;
        let mut url = String::new();
        BufReader::new(output).read_line(&mut url).await?;
        let url = url.trim().to_owned();
        ensure!(url.starts_with("http://"), "the bare handler said {url:?}");
        Ok(Self {
            url,
            _process: process,
        })
    }
}

/// The program of [`Bare`]: says where it is, and answers what the wallet would.
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
