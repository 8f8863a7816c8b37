//! The users: long calls, repeated calls, sockets, and logins.

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

use crate::balancer::{GatewayBalancer, read_variable};
use crate::books::CallBooks;
use crate::tally::RequestTally;

const SIGN_UPS_AT_A_TIME: usize = 4;
/// 2,000 coins, which last for 200 minutes of audio.
const RECHARGE_RUPEES: u32 = 1_000;
const RATE_COINS: i64 = 10;
const HEARTBEAT_EVERY: Duration = Duration::from_secs(2);
/// Length of a short call, and of the pause after it.
const SHORT_CALL: Duration = Duration::from_millis(400);
const SOCKET_RETRY: Duration = Duration::from_millis(100);
/// Longest time without a message on a socket; heartbeats alone arrive more often.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Close code "service restart", after which the client reconnects (contract of the sockets).
const RESTARTING: u16 = 1012;
const NOT_FOUND: u16 = 404;

/// The amount of load.
#[derive(Clone, Copy, Debug, Parser)]
#[command(name = "cargo dev roll", bin_name = "cargo dev roll", version)]
#[command(about = "Restarts every process under load, and reports failures that clients noticed")]
pub(crate) struct RollOptions {
    /// Calls that last for the whole run
    #[arg(long, default_value_t = 10)]
    pub(crate) long_calls: usize,
    /// Pairs that call repeatedly
    #[arg(long, default_value_t = 4)]
    pub(crate) short_callers: usize,
    /// Sockets that stay open
    #[arg(long, default_value_t = 10)]
    pub(crate) sockets: usize,
    /// Time between two logins, in milliseconds
    #[arg(long, default_value_t = 1_000)]
    pub(crate) login_every_ms: u64,
}

/// A caller and a listener.
struct CallPair {
    caller: AppUser,
    listener: AppUser,
}

/// A pair on a call that lasts for the whole run.
struct LongCall {
    pair: CallPair,
    call_id: i64,
}

/// The users before the load starts.
pub(crate) struct PreparedLoad {
    long: Vec<LongCall>,
    short: Vec<CallPair>,
}

/// The users under load.
pub(crate) struct RunningLoad {
    long: Vec<LongCall>,
    tasks: JoinSet<anyhow::Result<CallBooks>>,
}

/// The next idempotency key.
static NEXT_KEY: AtomicU64 = AtomicU64::new(0);

fn next_key() -> String {
    format!("roll-{}", NEXT_KEY.fetch_add(1, Ordering::Relaxed))
}

impl PreparedLoad {
    /// Signs up all users and starts the long calls.
    pub(crate) async fn prepare(
        balancer: &Arc<GatewayBalancer>,
        options: &RollOptions,
    ) -> anyhow::Result<Self> {
        let pairs = options.long_calls + options.short_callers;
        let mut pairs: Vec<CallPair> = stream::iter(0..pairs)
            .map(|_| prepare_pair(balancer))
            .buffer_unordered(SIGN_UPS_AT_A_TIME)
            .try_collect()
            .await?;
        let short = pairs.split_off(options.long_calls);
        let mut long = Vec::new();
        for pair in pairs {
            let call_id = start_call(balancer, &pair).await?;
            long.push(LongCall { pair, call_id });
        }
        Ok(Self { long, short })
    }

    /// Starts the load, which continues until `stop`, in a `LocalSet`.
    pub(crate) fn start(
        self,
        balancer: &Arc<GatewayBalancer>,
        tally: &Arc<RequestTally>,
        options: &RollOptions,
        stop: &CancellationToken,
    ) -> RunningLoad {
        let mut tasks = JoinSet::new();
        let Self { long, short } = self;
        for LongCall { pair, .. } in long.iter().take(options.sockets) {
            let (balancer, tally) = (Arc::clone(balancer), Arc::clone(tally));
            tasks.spawn_local(receive_messages(
                balancer,
                tally,
                pair.listener.clone(),
                stop.clone(),
            ));
        }
        for LongCall { pair, .. } in &long {
            tasks.spawn_local(send_heartbeats(
                Arc::clone(balancer),
                pair.listener.clone(),
                stop.clone(),
            ));
        }
        for pair in short {
            tasks.spawn_local(call_repeatedly(Arc::clone(balancer), pair, stop.clone()));
        }
        let interval = Duration::from_millis(options.login_every_ms);
        tasks.spawn_local(log_in_repeatedly(
            Arc::clone(balancer),
            Arc::clone(tally),
            interval,
            stop.clone(),
        ));
        RunningLoad { long, tasks }
    }
}

impl RunningLoad {
    /// Waits for all tasks, ends the long calls, and returns the figures.
    pub(crate) async fn finish(mut self, balancer: &GatewayBalancer) -> anyhow::Result<CallBooks> {
        let mut books = CallBooks {
            long_calls: self.long.len(),
            ..CallBooks::default()
        };
        while let Some(done) = self.tasks.join_next().await {
            let share = done??;
            books.short_calls += share.short_calls;
            books.minutes += share.minutes;
            books.minutes_lost += share.minutes_lost;
        }
        for LongCall { pair, call_id } in &self.long {
            let ongoing =
                balancer.request_ok(|app| app.get("/calls/ongoing").as_user(&pair.caller));
            if ongoing.await?["call_id"].as_i64() != Some(*call_id) {
                books.dropped += 1;
                balancer.record_failure(format!("call {call_id} was dropped"));
                continue;
            }
            end_call(balancer, &pair.caller, *call_id, &mut books).await?;
        }
        Ok(books)
    }
}

async fn prepare_pair(balancer: &Arc<GatewayBalancer>) -> anyhow::Result<CallPair> {
    let caller = sign_up(balancer, UserRole::User).await?;
    let listener = sign_up(balancer, UserRole::Listener).await?;
    let key = next_key();
    let body = json!({"amount_rupees": RECHARGE_RUPEES, "payment_method": "upi"});
    balancer
        .request_ok(|app| {
            let request = app.post("/calls/recharge").as_user(&caller);
            request.header("idempotency-key", &key).json(&body)
        })
        .await?;
    Ok(CallPair { caller, listener })
}

/// Signs up a user: one-time password, verification, registration.
async fn sign_up(balancer: &GatewayBalancer, role: UserRole) -> anyhow::Result<AppUser> {
    let phone = random_phone();
    let body = json!({"phone": phone});
    balancer
        .request_ok(|app| app.post("/auth/request_otp").json(&body))
        .await?;
    let otp = balancer.inbox.read_otp(&phone).await?;
    let body = json!({"phone": phone, "otp": otp});
    let verified = balancer
        .request_ok(|app| app.post("/auth/verify").json(&body))
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
    let registered = balancer
        .request_ok(|app| app.post("/auth/register").json(&body))
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

async fn start_call(balancer: &GatewayBalancer, pair: &CallPair) -> anyhow::Result<i64> {
    let key = next_key();
    let body = json!({"listener_id": pair.listener.user_id, "call_type": "audio"});
    let started = balancer
        .request_ok(|app| {
            let request = app.post("/calls/start").as_user(&pair.caller);
            request.header("idempotency-key", &key).json(&body)
        })
        .await?;
    started["call_id"].as_i64().context("a call id")
}

/// Ends a call and checks that its receipt contains every begun minute as paid.
async fn end_call(
    balancer: &GatewayBalancer,
    person: &AppUser,
    call_id: i64,
    books: &mut CallBooks,
) -> anyhow::Result<()> {
    let body = json!({"call_id": call_id});
    let ended = balancer.request(|app| app.post("/calls/end").as_user(person).json(&body));
    let ended = ended.await?;
    // 404 means that an earlier attempt, whose answer was lost, has ended the call.
    if ended.status != NOT_FOUND {
        ended
            .into_body()
            .inspect_err(|error| balancer.record_failure(format!("{error:#}")))?;
    }
    let receipt = wait_for_receipt(balancer, person, call_id).await?;
    let number = |name: &str| receipt[name].as_i64().context("a number");
    let minute_secs: i64 = read_variable("MINUTE_SECS")?.parse()?;
    let due = (number("duration_seconds")? + minute_secs - 1) / minute_secs;
    let paid = number("coins_spent")? / RATE_COINS;
    books.minutes += paid;
    books.minutes_lost += due.max(1) - paid;
    if due.max(1) != paid {
        balancer.record_failure(format!("call {call_id}: {due} minutes, {paid} paid"));
    }
    if receipt["status"] != "completed" {
        balancer.record_failure(format!("call {call_id} ended as {}", receipt["status"]));
    }
    Ok(())
}

/// Waits for the receipt of the settled call.
async fn wait_for_receipt(
    balancer: &GatewayBalancer,
    person: &AppUser,
    call_id: i64,
) -> anyhow::Result<Value> {
    let path = format!("/calls/{call_id}");
    talktime_client::poll_until("settlement", Duration::from_secs(20), async || {
        let receipt = balancer
            .request_ok(|app| app.get(&path).as_user(person))
            .await?;
        let is_settled = receipt["listener_money_earned"].as_f64() > Some(0.0);
        Ok(is_settled.then_some(receipt))
    })
    .await
}

async fn call_repeatedly(
    balancer: Arc<GatewayBalancer>,
    pair: CallPair,
    stop: CancellationToken,
) -> anyhow::Result<CallBooks> {
    let mut books = CallBooks::default();
    while !stop.is_cancelled() {
        let call_id = start_call(&balancer, &pair).await?;
        tokio::time::sleep(SHORT_CALL).await;
        end_call(&balancer, &pair.caller, call_id, &mut books).await?;
        books.short_calls += 1;
        tokio::time::sleep(SHORT_CALL).await;
    }
    Ok(books)
}

async fn send_heartbeats(
    balancer: Arc<GatewayBalancer>,
    person: AppUser,
    stop: CancellationToken,
) -> anyhow::Result<CallBooks> {
    while !stop.is_cancelled() {
        balancer
            .request_ok(|app| app.post("/users/me/heartbeat").as_user(&person))
            .await?;
        balancer
            .request_ok(|app| app.get("/wallet/balance").as_user(&person))
            .await?;
        tokio::time::sleep(HEARTBEAT_EVERY).await;
    }
    Ok(CallBooks::default())
}

async fn log_in_repeatedly(
    balancer: Arc<GatewayBalancer>,
    tally: Arc<RequestTally>,
    every: Duration,
    stop: CancellationToken,
) -> anyhow::Result<CallBooks> {
    while !stop.is_cancelled() {
        sign_up(&balancer, UserRole::User).await?;
        tally.record_login();
        tokio::time::sleep(every).await;
    }
    Ok(CallBooks::default())
}

/// Receives messages of a socket, and reconnects when the gateway restarts.
async fn receive_messages(
    balancer: Arc<GatewayBalancer>,
    tally: Arc<RequestTally>,
    person: AppUser,
    stop: CancellationToken,
) -> anyhow::Result<CallBooks> {
    while !stop.is_cancelled() {
        let away_since = Instant::now();
        let mut socket = open_socket(balancer.app(), &person, away_since).await?;
        tally.record_reconnect(away_since.elapsed());
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(CallBooks::default()),
                next = socket.receive_or_close(SILENCE_MAX) => match next {
                    Ok(Ok(_)) => tally.record_message(),
                    Ok(Err(closed)) => {
                        tally.record_close(closed.code);
                        if closed.code != RESTARTING {
                            tally.record_failure(format!("a socket closed: {closed:?}"));
                        }
                        break;
                    }
                    Err(error) => {
                        tally.record_failure(format!("{error:#}"));
                        break;
                    }
                },
            }
        }
    }
    Ok(CallBooks::default())
}

/// Opens a socket; retries while a gateway has just stopped.
async fn open_socket(
    app: &ApiClient,
    person: &AppUser,
    since: Instant,
) -> anyhow::Result<AppSocket> {
    loop {
        match app.connect_socket("/ws/presence", person).await {
            Ok(socket) => return Ok(socket),
            Err(error) if since.elapsed() > SILENCE_MAX => return Err(error),
            Err(_) => tokio::time::sleep(SOCKET_RETRY).await,
        }
    }
}
