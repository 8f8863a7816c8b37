//! Media of the platform: signals between two gateways, and reports of relays.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use http::Method;
use serde_json::{Value, json};
use talktime_client::{AppUser, UserRole};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::LoadSettings;
use crate::figures::{self, BenchFigure};
use crate::http::HttpConnection;
use crate::people;
use crate::relay_reports;
use crate::report::quantile;
use crate::socket::LoadSocket;
use crate::stack::{self, BenchStack};

const PREPARED_AT_A_TIME: usize = 16;
const RECEIVED_WITHIN: Duration = Duration::from_secs(10);
/// Time in which both sides of a pair send all their candidates.
const EXCHANGE: Duration = Duration::from_secs(1);
/// Coins of each caller for minutes of five seconds.
const RECHARGE_RUPEES: u32 = 1_000;

#[derive(Args)]
pub(crate) struct MediaOptions {
    /// Joined pairs that exchange candidates at the same time
    #[arg(long, default_value_t = 1_000)]
    pairs: usize,
    /// Candidates that each side sends within a second, each in a signal of its own
    #[arg(long, default_value_t = 10)]
    candidates: u64,
    /// Allocations a second whose traffic a relay reports
    #[arg(long, default_value_t = 2_000)]
    allocations: u64,
}

pub(crate) async fn run_bench(
    stack: &BenchStack,
    pace: LoadSettings,
    options: &MediaOptions,
) -> anyhow::Result<()> {
    relay_reports::measure_agent(stack, pace, options.allocations).await?;
    stack::start_second_gateway().await?;
    let mut pairs = prepare_pairs(stack, options.pairs).await?;
    let mut delays = Histogram::new(3)?;
    for _ in 0..pace.rounds {
        delays += &exchange_candidates(&mut pairs, options.candidates).await?;
    }
    println!("\nSignals between sockets of two gateways");
    println!(
        "  {} pairs, each side {} candidates within a second: {} signals, {} rounds",
        options.pairs,
        options.candidates,
        delays.len(),
        pace.rounds
    );
    println!(
        "  from the time at which a signal is due to its receipt  p50 {:.1} ms  p99 {:.1} ms",
        quantile(&delays, 0.5),
        quantile(&delays, 0.99)
    );
    let count = delays.len() as f64;
    let figure = BenchFigure::new("Signals", "between two gateways", count, "in all");
    figures::append(&[figure.with_latency(quantile(&delays, 0.5), quantile(&delays, 0.99))])
}

/// Makes calls whose two sides have their seats at different gateways.
async fn prepare_pairs(stack: &BenchStack, count: usize) -> anyhow::Result<Vec<SignalingPair>> {
    let callers = people::sign_up(stack, UserRole::User, count).await?;
    let listeners = people::sign_up(stack, UserRole::Listener, count).await?;
    let second_url = stack::read_variable("GATEWAY_2_URL")?;
    stream::iter(callers.into_iter().zip(listeners))
        .map(|(caller, listener)| prepare_pair(stack, &second_url, caller, listener))
        .buffer_unordered(PREPARED_AT_A_TIME)
        .try_collect()
        .await
        .context("preparing a pair")
}

async fn prepare_pair(
    stack: &BenchStack,
    second_url: &str,
    caller: AppUser,
    listener: AppUser,
) -> anyhow::Result<SignalingPair> {
    let mut by_caller = HttpConnection::open(&stack.gateway_url, &caller.access_token).await?;
    let mut by_listener = HttpConnection::open(second_url, &listener.access_token).await?;
    let coins = json!({"amount_rupees": RECHARGE_RUPEES, "payment_method": "upi"});
    let key = Some("bench");
    by_caller
        .request_ok(Method::POST, "/calls/recharge", key, Some(&coins))
        .await?;
    let ring = json!({
        "listener_id": listener.user_id, "call_type": "audio", "ring": true, "media": "platform",
    });
    let started = by_caller
        .request_ok(Method::POST, "/calls/start", key, Some(&ring))
        .await?;
    let started: Value = serde_json::from_slice(&started)?;
    let call_id = started["call_id"].as_i64().context("a call id")?;
    let path = format!("/calls/{call_id}/accept");
    by_listener
        .request_ok(Method::POST, &path, None, None)
        .await?;
    Ok(SignalingPair {
        sides: [
            SignalingSeat::join(&stack.gateway_url, &caller, call_id).await?,
            SignalingSeat::join(second_url, &listener, call_id).await?,
        ],
    })
}

/// The two sides of a call.
struct SignalingPair {
    sides: [SignalingSeat; 2],
}

/// A socket with a seat.
struct SignalingSeat {
    socket: LoadSocket,
    call_id: i64,
    epoch: i64,
}

/// The times at which a side sends its candidates.
#[derive(Clone, Copy)]
struct SendingSchedule {
    begin: Instant,
    interval: Duration,
    count: u64,
}

impl SendingSchedule {
    fn due(self, index: u64) -> Instant {
        self.begin + self.interval.mul_f64(index as f64)
    }
}

impl SignalingSeat {
    /// Takes the seat, and reports a connection, so that the call goes on.
    async fn join(gateway_url: &str, user: &AppUser, call_id: i64) -> anyhow::Result<Self> {
        let mut socket = LoadSocket::open(gateway_url, "/ws/calls", &user.access_token).await?;
        let join = json!({"type": "join", "data": {"call_id": call_id}});
        socket.send(join.to_string()).await?;
        let joined = timeout(RECEIVED_WITHIN, receive_type(&mut socket, "joined")).await;
        let joined = joined.context("no seat")??;
        let epoch = joined["data"]["epoch"].as_i64().context("an epoch")?;
        let report = json!({
            "type": "media",
            "data": {"call_id": call_id, "epoch": epoch, "state": "connected"},
        });
        socket.send(report.to_string()).await?;
        Ok(Self {
            socket,
            call_id,
            epoch,
        })
    }

    /// Sends candidates and receives those of the other side, which has the same schedule.
    async fn exchange(&mut self, schedule: SendingSchedule) -> anyhow::Result<Histogram<u64>> {
        let mut delays = Histogram::new(3)?;
        let mut sent = 0;
        let until = schedule.due(schedule.count) + RECEIVED_WITHIN;
        while sent < schedule.count || delays.len() < schedule.count {
            ensure!(Instant::now() < until, "a signal was not received");
            let due = schedule.due(sent).min(until);
            tokio::select! {
                () = tokio::time::sleep_until(due.into()), if sent < schedule.count => {
                    self.send_candidate(sent).await?;
                    sent += 1;
                }
                received = timeout(RECEIVED_WITHIN, self.socket.receive()) => {
                    let text = received.context("a signal was not received")??;
                    if let Some(index) = parse_candidate(&text) {
                        let delay = Instant::now().saturating_duration_since(schedule.due(index));
                        delays.record(u64::try_from(delay.as_micros())?)?;
                    }
                }
            }
        }
        Ok(delays)
    }

    /// Sends a candidate that has its index as its foundation.
    async fn send_candidate(&mut self, index: u64) -> anyhow::Result<()> {
        let candidate = format!(
            "candidate:{index} 1 udp 41885439 203.0.113.9 50000 typ relay raddr 0.0.0.0 rport 0"
        );
        let signal = json!({
            "type": "signal",
            "data": {
                "call_id": self.call_id, "epoch": self.epoch,
                "candidates": [{"candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0}],
            },
        });
        self.socket.send(signal.to_string()).await
    }
}

/// Returns the index of the candidate of a signal.
fn parse_candidate(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("\"candidate:")?;
    rest.split(' ').next()?.parse().ok()
}

async fn receive_type(socket: &mut LoadSocket, r#type: &str) -> anyhow::Result<Value> {
    loop {
        let message: Value = serde_json::from_str(&socket.receive().await?)?;
        ensure!(message["type"] != "error", "refused: {message}");
        if message["type"] == r#type {
            return Ok(message);
        }
    }
}

/// Lets all pairs exchange candidates at the same time; returns the delays.
async fn exchange_candidates(
    pairs: &mut Vec<SignalingPair>,
    count: u64,
) -> anyhow::Result<Histogram<u64>> {
    let interval = EXCHANGE.div_f64(count as f64);
    let total = pairs.len();
    let begin = Instant::now() + EXCHANGE;
    let mut running = JoinSet::new();
    for (index, mut pair) in pairs.drain(..).enumerate() {
        let schedule = SendingSchedule {
            begin: begin + interval.mul_f64(index as f64 / total as f64),
            interval,
            count,
        };
        running.spawn(async move {
            let [first, second] = &mut pair.sides;
            let both = tokio::try_join!(first.exchange(schedule), second.exchange(schedule))?;
            Ok::<_, anyhow::Error>((pair, both))
        });
    }
    let mut delays = Histogram::new(3)?;
    while let Some(exchanged) = running.join_next().await {
        let (pair, (first, second)) = exchanged??;
        pairs.push(pair);
        delays += &first;
        delays += &second;
    }
    Ok(delays)
}
