//! The way of a ring from its transaction to the listener's socket at another gateway.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use http::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use talktime_client::UserRole;
use tokio::time::timeout;

use crate::LoadSettings;
use crate::driver::{self, LoadWorker};
use crate::figures::{self, BenchFigure};
use crate::http::HttpConnection;
use crate::people;
use crate::report::quantile;
use crate::socket::LoadSocket;
use crate::stack::{self, BenchStack};

/// Rings a second.
const RATE: f64 = 100.0;
/// Pairs who ring in turn.
const PAIRS: usize = 32;
const RECEIVED_WITHIN: Duration = Duration::from_secs(5);

/// Measures rings whose listeners have their sockets at a second gateway, which is started for it.
pub(crate) async fn measure_delivery(
    stack: &BenchStack,
    database: &PgPool,
    pace: LoadSettings,
) -> anyhow::Result<()> {
    stack::start_second_gateway().await?;
    let mut pairs = prepare_pairs(stack).await?;
    let duration = pace.total_duration()?;
    let measured = driver::run_at_rate(&mut pairs, duration, RATE).await?;
    let received = pairs.into_iter().flat_map(|pair| pair.received).collect();
    let delays = compute_delays(database, received).await?;
    println!("\nRings delivered to sockets of another gateway");
    println!(
        "  rings                          {:>8.0} /s",
        measured.per_second
    );
    println!(
        "  from the beginning of the transaction to the listener's socket  p50 {:.1} ms  p99 {:.1} ms",
        quantile(&delays, 0.5),
        quantile(&delays, 0.99)
    );
    let rate = measured.per_second;
    let figure = BenchFigure::new("Rings", "delivered through another gateway", rate, "/s");
    figures::append(&[figure.with_latency(quantile(&delays, 0.5), quantile(&delays, 0.99))])
}

async fn prepare_pairs(stack: &BenchStack) -> anyhow::Result<Vec<RingingPair>> {
    let callers = people::sign_up(stack, UserRole::User, PAIRS).await?;
    let listeners = people::sign_up(stack, UserRole::Listener, PAIRS).await?;
    let second_url = stack::read_variable("GATEWAY_2_URL")?;
    let mut pairs = Vec::new();
    for (caller, listener) in callers.iter().zip(listeners) {
        let mut connection = HttpConnection::open(&stack.gateway_url, &caller.access_token).await?;
        let coins = json!({"amount_rupees": 150, "payment_method": "upi"});
        let path = "/calls/recharge";
        connection
            .request_ok(Method::POST, path, Some("bench"), Some(&coins))
            .await?;
        pairs.push(RingingPair {
            caller: connection,
            socket: LoadSocket::open(&second_url, "/ws/calls", &listener.access_token).await?,
            ring: json!({"listener_id": listener.user_id, "call_type": "audio", "ring": true}),
            received: Vec::new(),
        });
    }
    Ok(pairs)
}

/// A ring that has arrived at a socket.
struct ReceivedRing {
    call_id: i64,
    received_at: SystemTime,
}

/// A caller who rings, and takes the ring back once the listener's socket has received it.
struct RingingPair {
    caller: HttpConnection,
    socket: LoadSocket,
    ring: Value,
    received: Vec<ReceivedRing>,
}

impl LoadWorker for RingingPair {
    async fn execute(&mut self) -> anyhow::Result<u64> {
        let ringing = self
            .caller
            .request_ok(Method::POST, "/calls/start", None, Some(&self.ring));
        let receiving = timeout(RECEIVED_WITHIN, receive_ring(&mut self.socket));
        let (ringing, received) = tokio::join!(ringing, receiving);
        ringing?;
        let received = received.context("a ring was not received")??;
        let path = format!("/calls/{}/cancel", received.call_id);
        self.received.push(received);
        self.caller
            .request_ok(Method::POST, &path, None, None)
            .await?;
        Ok(1)
    }
}

/// Receives messages up to the next ring.
async fn receive_ring(socket: &mut LoadSocket) -> anyhow::Result<ReceivedRing> {
    loop {
        let text = socket.receive().await?;
        let received_at = SystemTime::now();
        let message: Value = serde_json::from_str(&text)?;
        if message["type"] == "call_ringing" {
            let call_id = message["data"]["call_id"].as_i64();
            return Ok(ReceivedRing {
                call_id: call_id.context("a ring has an id")?,
                received_at,
            });
        }
    }
}

/// Compares the times of receipt with those of the transactions. The database runs on this machine and has its clock.
async fn compute_delays(
    database: &PgPool,
    received: Vec<ReceivedRing>,
) -> anyhow::Result<Histogram<u64>> {
    let call_ids: Vec<i64> = received.iter().map(|ring| ring.call_id).collect();
    let begun_us: Vec<i64> = sqlx::query_scalar(
        "SELECT (extract(epoch FROM created_at) * 1000000)::bigint
         FROM unnest($1::bigint[]) WITH ORDINALITY AS ring (call_id, position)
         JOIN calls.user_calls USING (call_id) ORDER BY position",
    )
    .bind(&call_ids)
    .fetch_all(database)
    .await?;
    ensure!(begun_us.len() == received.len(), "a ring has no row");
    let mut delays = Histogram::new(3)?;
    for (ring, begun_us) in received.iter().zip(begun_us) {
        let received_us = ring.received_at.duration_since(UNIX_EPOCH)?.as_micros();
        let received_us = u64::try_from(received_us)?;
        delays.record(received_us.saturating_sub(u64::try_from(begun_us)?))?;
    }
    Ok(delays)
}
