//! The people: who talks all the time, who calls again and again, who listens to a socket, who logs in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use talktime_client::{ApiClient, AppSocket, AppUser, UserRole, random_phone, random_username};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::edge::{Edge, variable};
use crate::tally::Tally;

const SIGN_UPS_AT_A_TIME: usize = 4;
/// 2,000 coins, which last for 200 minutes of audio.
const RECHARGE_RUPEES: u32 = 1_000;
const RATE_COINS: i64 = 10;
const HEARTBEAT_EVERY: Duration = Duration::from_secs(2);
const BETWEEN_CALLS: Duration = Duration::from_millis(400);
const SOCKET_RETRY: Duration = Duration::from_millis(100);
/// How long a socket may stay silent: heartbeats alone are heard more often.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// "Service restart": the client is to come back (contract of the sockets).
const RESTARTING: u16 = 1012;
const NOT_FOUND: u16 = 404;

/// How much is going on.
#[derive(Clone, Copy, Debug, Parser)]
#[command(name = "cargo dev roll", bin_name = "cargo dev roll")]
#[command(about = "Restarts every process under load, and says what people noticed")]
pub(crate) struct Options {
    /// Calls that last from the beginning to the end
    #[arg(long, default_value_t = 10)]
    pub(crate) long_calls: usize,
    /// Pairs that call again and again
    #[arg(long, default_value_t = 4)]
    pub(crate) short_callers: usize,
    /// Sockets that are open all the time
    #[arg(long, default_value_t = 10)]
    pub(crate) sockets: usize,
    /// Time between two logins, in milliseconds
    #[arg(long, default_value_t = 1_000)]
    pub(crate) login_every_ms: u64,
}

/// Two people.
struct Pair {
    caller: AppUser,
    listener: AppUser,
}

/// Everybody, before anything begins.
pub(crate) struct Crowd {
    long: Vec<(Pair, i64)>,
    short: Vec<Pair>,
}

/// Everybody, at it.
pub(crate) struct Busy {
    long: Vec<(Pair, i64)>,
    tasks: JoinSet<anyhow::Result<Books>>,
}

/// What calls came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Books {
    pub(crate) long_calls: usize,
    pub(crate) short_calls: u64,
    pub(crate) dropped: usize,
    pub(crate) minutes: i64,
    pub(crate) minutes_lost: i64,
}

/// Keys of requests that must not happen twice.
static NEXT_KEY: AtomicU64 = AtomicU64::new(0);

fn key() -> String {
    format!("roll-{}", NEXT_KEY.fetch_add(1, Ordering::Relaxed))
}

impl Crowd {
    /// Signs everybody up, and lets the long calls begin.
    pub(crate) async fn gather(edge: &Arc<Edge>, options: &Options) -> anyhow::Result<Self> {
        let pairs = options.long_calls + options.short_callers;
        let mut pairs: Vec<Pair> = stream::iter(0..pairs)
            .map(|_| meet(edge))
            .buffer_unordered(SIGN_UPS_AT_A_TIME)
            .try_collect()
            .await?;
        let short = pairs.split_off(options.long_calls);
        let mut long = Vec::new();
        for pair in pairs {
            let call_id = start(edge, &pair).await?;
            long.push((pair, call_id));
        }
        Ok(Self { long, short })
    }

    /// Begins the load, which goes on until `stop`; within a `LocalSet`.
    pub(crate) fn begin(
        self,
        edge: &Arc<Edge>,
        tally: &Arc<Tally>,
        options: &Options,
        stop: &CancellationToken,
    ) -> Busy {
        let mut tasks = JoinSet::new();
        let Self { long, short } = self;
        for (pair, _) in long.iter().take(options.sockets) {
            let (edge, tally) = (Arc::clone(edge), Arc::clone(tally));
            tasks.spawn_local(listen(edge, tally, pair.listener.clone(), stop.clone()));
        }
        for (pair, _) in &long {
            tasks.spawn_local(beat(Arc::clone(edge), pair.listener.clone(), stop.clone()));
        }
        for pair in short {
            tasks.spawn_local(call_again_and_again(Arc::clone(edge), pair, stop.clone()));
        }
        let every = Duration::from_millis(options.login_every_ms);
        tasks.spawn_local(log_in(
            Arc::clone(edge),
            Arc::clone(tally),
            every,
            stop.clone(),
        ));
        Busy { long, tasks }
    }
}

impl Busy {
    /// Waits for everybody to stop, ends the long calls, and counts.
    pub(crate) async fn close(mut self, edge: &Edge) -> anyhow::Result<Books> {
        let mut books = Books {
            long_calls: self.long.len(),
            ..Books::default()
        };
        while let Some(done) = self.tasks.join_next().await {
            let share = done??;
            books.short_calls += share.short_calls;
            books.minutes += share.minutes;
            books.minutes_lost += share.minutes_lost;
        }
        for (pair, call_id) in &self.long {
            let ongoing = edge.must(|app| app.get("/calls/ongoing").as_user(&pair.caller));
            if ongoing.await?["call_id"].as_i64() != Some(*call_id) {
                books.dropped += 1;
                edge.noticed(format!("call {call_id} was dropped"));
                continue;
            }
            end(edge, &pair.caller, *call_id, &mut books).await?;
        }
        Ok(books)
    }
}

async fn meet(edge: &Arc<Edge>) -> anyhow::Result<Pair> {
    let caller = sign_up(edge, UserRole::User).await?;
    let listener = sign_up(edge, UserRole::Listener).await?;
    let key = key();
    let body = json!({"amount_rupees": RECHARGE_RUPEES, "payment_method": "upi"});
    edge.must(|app| {
        let ask = app.post("/calls/recharge").as_user(&caller);
        ask.header("idempotency-key", &key).json(&body)
    })
    .await?;
    Ok(Pair { caller, listener })
}

/// As a phone does it: a one-time password, its verification, the registration.
async fn sign_up(edge: &Edge, role: UserRole) -> anyhow::Result<AppUser> {
    let phone = random_phone();
    let body = json!({"phone": phone});
    edge.must(|app| app.post("/auth/request_otp").json(&body))
        .await?;
    let otp = edge.inbox.read_otp(&phone).await?;
    let body = json!({"phone": phone, "otp": otp});
    let verified = edge
        .must(|app| app.post("/auth/verify").json(&body))
        .await?;
    let username = random_username(role.name());
    let body = json!({
        "registration_token": verified["registration_token"],
        "username": username,
        "sex": "female",
        "dob": "1995-06-15",
        "role": role.name(),
        "interests": [],
    });
    let registered = edge
        .must(|app| app.post("/auth/register").json(&body))
        .await?;
    let token = |name: &str| registered[name].as_str().map(str::to_owned);
    Ok(AppUser {
        user_id: registered["user_id"].as_i64().context("a user id")?,
        phone,
        username,
        access_token: token("access_token").context("an access token")?,
        refresh_token: token("refresh_token").context("a refresh token")?,
    })
}

async fn start(edge: &Edge, pair: &Pair) -> anyhow::Result<i64> {
    let key = key();
    let body = json!({"listener_id": pair.listener.user_id, "call_type": "audio"});
    let started = edge
        .must(|app| {
            let ask = app.post("/calls/start").as_user(&pair.caller);
            ask.header("idempotency-key", &key).json(&body)
        })
        .await?;
    started["call_id"].as_i64().context("a call id")
}

/// Ends a call and holds its receipt against what it must say: every begun minute is paid.
async fn end(edge: &Edge, person: &AppUser, call_id: i64, books: &mut Books) -> anyhow::Result<()> {
    let body = json!({"call_id": call_id});
    let ended = edge.ask(|app| app.post("/calls/end").as_user(person).json(&body));
    let ended = ended.await?;
    // Ended by an earlier try, whose answer got lost.
    if ended.status != NOT_FOUND {
        ended
            .into_body()
            .inspect_err(|error| edge.noticed(format!("{error:#}")))?;
    }
    let receipt = settled(edge, person, call_id).await?;
    let number = |name: &str| receipt[name].as_i64().context("a number");
    let minute_secs: i64 = variable("MINUTE_SECS")?.parse()?;
    let due = (number("duration_seconds")? + minute_secs - 1) / minute_secs;
    let paid = number("coins_spent")? / RATE_COINS;
    books.minutes += paid;
    books.minutes_lost += due.max(1) - paid;
    if due.max(1) != paid {
        edge.noticed(format!("call {call_id}: {due} minutes, {paid} paid"));
    }
    if receipt["status"] != "completed" {
        edge.noticed(format!("call {call_id} ended as {}", receipt["status"]));
    }
    Ok(())
}

/// The call's receipt, once the books are closed.
async fn settled(edge: &Edge, person: &AppUser, call_id: i64) -> anyhow::Result<Value> {
    let path = format!("/calls/{call_id}");
    talktime_client::poll_until("a settlement", Duration::from_secs(20), async || {
        let receipt = edge.must(|app| app.get(&path).as_user(person)).await?;
        let is_settled = receipt["listener_money_earned"].as_f64() > Some(0.0);
        Ok(is_settled.then_some(receipt))
    })
    .await
}

async fn call_again_and_again(
    edge: Arc<Edge>,
    pair: Pair,
    stop: CancellationToken,
) -> anyhow::Result<Books> {
    let mut books = Books::default();
    while !stop.is_cancelled() {
        let call_id = start(&edge, &pair).await?;
        tokio::time::sleep(BETWEEN_CALLS).await;
        end(&edge, &pair.caller, call_id, &mut books).await?;
        books.short_calls += 1;
        tokio::time::sleep(BETWEEN_CALLS).await;
    }
    Ok(books)
}

async fn beat(edge: Arc<Edge>, person: AppUser, stop: CancellationToken) -> anyhow::Result<Books> {
    while !stop.is_cancelled() {
        edge.must(|app| app.post("/users/me/heartbeat").as_user(&person))
            .await?;
        edge.must(|app| app.get("/wallet/balance").as_user(&person))
            .await?;
        tokio::time::sleep(HEARTBEAT_EVERY).await;
    }
    Ok(Books::default())
}

async fn log_in(
    edge: Arc<Edge>,
    tally: Arc<Tally>,
    every: Duration,
    stop: CancellationToken,
) -> anyhow::Result<Books> {
    while !stop.is_cancelled() {
        sign_up(&edge, UserRole::User).await?;
        tally.logged_in();
        tokio::time::sleep(every).await;
    }
    Ok(Books::default())
}

/// Stays on a socket, and comes back when the gateway restarts.
async fn listen(
    edge: Arc<Edge>,
    tally: Arc<Tally>,
    person: AppUser,
    stop: CancellationToken,
) -> anyhow::Result<Books> {
    while !stop.is_cancelled() {
        let away_since = Instant::now();
        let mut socket = open(edge.app(), &person, away_since).await?;
        tally.came_back(away_since.elapsed());
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(Books::default()),
                next = socket.receive_or_close(SILENCE_MAX) => match next {
                    Ok(Ok(_)) => tally.heard(),
                    Ok(Err(closed)) => {
                        tally.closed(closed.code);
                        if closed.code != RESTARTING {
                            tally.noticed(format!("a socket closed: {closed:?}"));
                        }
                        break;
                    }
                    Err(error) => {
                        tally.noticed(format!("{error:#}"));
                        break;
                    }
                },
            }
        }
    }
    Ok(Books::default())
}

/// Opens a socket; a gateway that has just stopped is tried again a moment later.
async fn open(app: &ApiClient, person: &AppUser, since: Instant) -> anyhow::Result<AppSocket> {
    loop {
        match app.connect_socket("/ws/presence", person).await {
            Ok(socket) => return Ok(socket),
            Err(error) if since.elapsed() > SILENCE_MAX => return Err(error),
            Err(_) => tokio::time::sleep(SOCKET_RETRY).await,
        }
    }
}
