//! Calls beside pgbench writing the same rows; and how late minutes are billed.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use http::Method;
use serde_json::{Value, json};
use sqlx::{Executor, PgPool};
use talktime_client::UserRole;
use talktime_proto::calls::v1::calls_service_client::CallsServiceClient;
use talktime_proto::calls::v1::{CallType, StartCallRequest};
use talktime_proto::presence::v1::HeartbeatManyRequest;
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use talktime_proto::wallet::v1::RechargeRequest;
use talktime_proto::wallet::v1::wallet_service_client::WalletServiceClient;
use tokio_util::task::AbortOnDropHandle;
use tonic::Code;
use tonic::transport::Channel;

use crate::Pace;
use crate::driver::{self, Worker};
use crate::http::Connection;
use crate::people;
use crate::pgbench::Pgbench;
use crate::report::{Line, Report, quantile};
use crate::stack::Stack;

/// Far above the ids that registration gives. Even ids call, odd ones listen.
const FIRST: i64 = 2_000_000_000;
const START_AGAIN: Duration = Duration::from_millis(100);
const STARTS_AT_A_TIME: usize = 48;
/// The largest step of the rate card.
const RECHARGE_PAISE: i64 = 100_000;
/// Coins for thousands of calls by each caller.
const RECHARGES: usize = 20;
/// As an app does.
const SIGN_EVERY: Duration = Duration::from_secs(30);
const SIGNS_AT_A_TIME: usize = 200;
const CATCH_UP_MAX: Duration = Duration::from_mins(2);
const CATCH_UP_POLL: Duration = Duration::from_millis(200);
/// Of the top rate, for latencies as people meet them.
const EASY_SHARE: f64 = 0.5;

#[derive(Args)]
pub(crate) struct CallsOptions {
    /// Calls that are live while minutes are billed
    #[arg(long, default_value_t = 10_000)]
    live: i64,
}

pub(crate) async fn bench(stack: &Stack, pace: Pace, options: &CallsOptions) -> anyhow::Result<()> {
    let database = stack.database().await?;
    database
        .execute(include_str!("../pgbench/call_tables.sql"))
        .await?;
    pairs(stack, pace).await?;
    minutes(stack, &database, pace, options.live).await
}

async fn pairs(stack: &Stack, pace: Pace) -> anyhow::Result<()> {
    let pgbench = Pgbench::new(stack, include_str!("../pgbench/call.sql"))?;
    let mut opponent = Line::new("pgbench, one call's rows in a transaction");
    let mut ours = Line::new("POST /calls/start and /calls/end, both answered");
    let mut callers = callers(stack, pace.clients).await?;
    for _ in 0..pace.rounds {
        opponent.rate(pgbench.run(pace.clients, pace.duration()).await?);
        ours.add(&driver::flat_out(&mut callers, pace.duration()).await?);
    }
    let top = ours.median();
    println!(
        "{}",
        Report::new("Calls started and ended", vec![opponent, ours])
    );
    print_latencies("at the top rate", &mut callers);
    driver::at_rate(&mut callers, pace.duration(), top * EASY_SHARE).await?;
    print_latencies("at half the top rate", &mut callers);
    Ok(())
}

async fn callers(stack: &Stack, count: usize) -> anyhow::Result<Vec<Caller>> {
    let people = people::sign_up(stack, UserRole::User, count).await?;
    let listeners = people::sign_up(stack, UserRole::Listener, count).await?;
    let mut callers = Vec::new();
    for (person, listener) in people.iter().zip(listeners) {
        let mut connection = Connection::open(&stack.gateway_url, &person.access_token).await?;
        let coins = json!({"amount_rupees": 1000, "payment_method": "upi"});
        for step in 0..RECHARGES {
            let (path, key) = ("/calls/recharge", format!("bench-{step}"));
            connection
                .must(Method::POST, path, Some(&key), Some(&coins))
                .await?;
        }
        callers.push(Caller {
            connection,
            start: json!({"listener_id": listener.user_id, "call_type": "audio"}),
            starts: Histogram::new(3)?,
            ends: Histogram::new(3)?,
        });
    }
    Ok(callers)
}

/// Calls the same listener again and again.
struct Caller {
    connection: Connection,
    start: Value,
    starts: Histogram<u64>,
    ends: Histogram<u64>,
}

impl Worker for Caller {
    async fn ask(&mut self) -> anyhow::Result<u64> {
        let begun = Instant::now();
        let path = "/calls/start";
        let started = self
            .connection
            .must(Method::POST, path, None, Some(&self.start))
            .await?;
        self.starts
            .record(u64::try_from(begun.elapsed().as_micros())?)?;
        let started: Value = serde_json::from_slice(&started)?;
        let begun = Instant::now();
        let end = json!({"call_id": started["call_id"]});
        self.connection
            .must(Method::POST, "/calls/end", None, Some(&end))
            .await?;
        self.ends
            .record(u64::try_from(begun.elapsed().as_micros())?)?;
        Ok(1)
    }
}

/// Of the calls since the last time.
fn print_latencies(when: &str, callers: &mut [Caller]) {
    for (what, of) in [
        (
            "start",
            (|caller| &mut caller.starts) as fn(&mut Caller) -> &mut Histogram<u64>,
        ),
        ("end", |caller| &mut caller.ends),
    ] {
        let mut all = Histogram::<u64>::new(3).expect("three digits are allowed");
        for caller in &mut *callers {
            all += &*of(caller);
            of(caller).reset();
        }
        let (p50, p99) = (quantile(&all, 0.5), quantile(&all, 0.99));
        println!("  {what:<6} {when:<22} p50 {p50:>6.1} ms  p99 {p99:>6.1} ms");
    }
}

/// Starts calls and leaves them to the biller.
async fn minutes(stack: &Stack, database: &PgPool, pace: Pace, live: i64) -> anyhow::Result<()> {
    seed_pairs(database, live).await?;
    let presence = PresenceServiceClient::new(stack.grpc("presence").await?);
    let _alive = AbortOnDropHandle::new(tokio::spawn(stay_alive(presence, live)));
    let wallet = WalletServiceClient::new(stack.grpc("wallet").await?);
    let calls = CallsServiceClient::new(stack.grpc("calls").await?);
    let begun = Instant::now();
    stream::iter(0..live)
        .map(|pair| recharge_and_start(wallet.clone(), calls.clone(), FIRST + 2 * pair))
        .buffer_unordered(STARTS_AT_A_TIME)
        .try_collect::<()>()
        .await
        .context("starting calls")?;
    let started_in = begun.elapsed();
    let caught_up_in = catch_up(database).await?;
    let window = pace.duration() * u32::try_from(pace.rounds)?;
    tokio::time::sleep(window).await;
    println!("\nMinutes billed while {live} calls are live");
    println!(
        "  calls started over gRPC    {:>8.0} /s, and {:.1} s later no minute was late",
        live as f64 / started_in.as_secs_f64(),
        caught_up_in.as_secs_f64()
    );
    print_billing(database, window).await
}

/// Everybody shows a sign of life now and then, or their calls would end as silent ones.
async fn stay_alive(
    mut presence: PresenceServiceClient<Channel>,
    pairs: i64,
) -> anyhow::Result<()> {
    let everybody: Vec<i64> = (FIRST..FIRST + 2 * pairs).collect();
    let chunks = everybody.chunks(SIGNS_AT_A_TIME).cycle();
    let pause = SIGN_EVERY / u32::try_from(everybody.len().div_ceil(SIGNS_AT_A_TIME))?;
    let mut pace = tokio::time::interval(pause);
    for user_ids in chunks {
        pace.tick().await;
        let user_ids = user_ids.to_vec();
        presence
            .heartbeat_many(HeartbeatManyRequest {
                user_ids,
                ..HeartbeatManyRequest::default()
            })
            .await?;
    }
    Ok(())
}

/// Waits until what became late while calls were started as fast as they could be is billed.
async fn catch_up(database: &PgPool) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    while late_calls(database).await? > 0 {
        ensure!(
            begun.elapsed() < CATCH_UP_MAX,
            "the biller does not catch up"
        );
        tokio::time::sleep(CATCH_UP_POLL).await;
    }
    Ok(begun.elapsed())
}

/// Calls whose next minute began more than a second ago and is not billed.
async fn late_calls(database: &PgPool) -> anyhow::Result<i64> {
    sqlx::query_scalar(
        "SELECT count(*) FROM calls.user_calls
         WHERE user_id >= $1 AND phase = 'active'
           AND start_time + make_interval(secs => minutes_billed * minute_secs)
               < now() - interval '1 second'",
    )
    .bind(FIRST)
    .fetch_one(database)
    .await
    .context("looking for late minutes")
}

/// By statement: signing up twenty thousand people would take longer than all the rest.
async fn seed_pairs(database: &PgPool, pairs: i64) -> anyhow::Result<()> {
    for statement in [
        "INSERT INTO profile.users (user_id, username, phone, sex, dob)
         OVERRIDING SYSTEM VALUE
         SELECT id, 'bench_' || id, '+1' || id, 'other', '1990-01-01'
         FROM generate_series($1::bigint, $1 + 2 * $2 - 1) AS id",
        "INSERT INTO profile.user_roles (user_id, role)
         SELECT id, CASE WHEN id % 2 = 0 THEN 'user' ELSE 'listener' END
         FROM generate_series($1::bigint, $1 + 2 * $2 - 1) AS id",
        "INSERT INTO presence.user_status
             (user_id, username, is_online, last_seen, created_at, updated_at)
         SELECT id, 'bench_' || id, true, now(), now(), now()
         FROM generate_series($1::bigint, $1 + 2 * $2 - 1) AS id",
    ] {
        sqlx::query(statement)
            .bind(FIRST)
            .bind(pairs)
            .execute(database)
            .await?;
    }
    Ok(())
}

async fn recharge_and_start(
    mut wallet: WalletServiceClient<Channel>,
    mut calls: CallsServiceClient<Channel>,
    caller_id: i64,
) -> anyhow::Result<()> {
    let recharge = RechargeRequest {
        user_id: caller_id,
        amount_paise: RECHARGE_PAISE,
        payment_method: "upi".to_owned(),
        ..RechargeRequest::default()
    };
    wallet.recharge(recharge).await?;
    let start = StartCallRequest {
        caller_id,
        listener_id: caller_id + 1,
        call_type: CallType::Audio.into(),
        ..StartCallRequest::default()
    };
    // No call begins while minutes are late.
    while let Err(status) = calls.start_call(start.clone()).await {
        ensure!(status.code() == Code::Unavailable, "{status}");
        tokio::time::sleep(START_AGAIN).await;
    }
    Ok(())
}

/// What was billed in the last `window`, and how long after each minute's beginning.
async fn print_billing(database: &PgPool, window: Duration) -> anyhow::Result<()> {
    let (billed, p50, p99, worst): (i64, f64, f64, f64) = sqlx::query_as(
        "SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY late),
                percentile_cont(0.99) WITHIN GROUP (ORDER BY late), max(late)
         FROM (SELECT extract(epoch FROM t.created_at - c.start_time)::float8
                      - (split_part(t.transfer_id, '/', 4)::int - 1) * c.minute_secs AS late
               FROM wallet.transfers AS t JOIN calls.user_calls AS c USING (call_id)
               WHERE t.kind = 'charge' AND c.user_id >= $1
                 AND split_part(t.transfer_id, '/', 4) <> '1'
                 AND t.created_at > now() - make_interval(secs => $2)) AS minute",
    )
    .bind(FIRST)
    .bind(window.as_secs_f64())
    .fetch_one(database)
    .await
    .context("reading what was billed")?;
    ensure!(billed > 0, "no minute was billed");
    println!(
        "  minutes billed             {:>8.0} /s",
        billed as f64 / window.as_secs_f64()
    );
    println!("  lateness                   p50 {p50:.3} s  p99 {p99:.3} s  worst {worst:.3} s");
    let live: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM calls.user_calls WHERE user_id >= $1 AND phase = 'active'",
    )
    .bind(FIRST)
    .fetch_one(database)
    .await?;
    let late = late_calls(database).await?;
    println!("  live at the end            {live:>8} calls, {late} of them over a second behind");
    Ok(())
}
