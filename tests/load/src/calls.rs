//! Calls that start at once and calls that ring, compared with pgbench writing the same rows; the delivery of rings;
//! and the lateness of billed minutes.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use sqlx::{Executor, PgPool};
use talktime_proto::access::v1::Workload;
use talktime_proto::calls::v1::calls_service_client::CallsServiceClient;
use talktime_proto::calls::v1::{CallType, StartCallRequest};
use talktime_proto::presence::v1::HeartbeatManyRequest;
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use talktime_proto::wallet::v1::RechargeRequest;
use talktime_proto::wallet::v1::wallet_service_client::WalletServiceClient;
use tokio_util::task::AbortOnDropHandle;
use tonic::Code;
use tonic::transport::Channel;

use crate::LoadSettings;
use crate::call_rates::{CallRate, CallRateTable};
use crate::call_stages::{StageDurations, StageTable};
use crate::call_worker::{
    CallStep, CallSteps, CallWorker, RING_ACCEPT_AND_END, RING_AND_CANCEL, START_AND_END,
    choose_steps, print_latencies, sum_latencies,
};
use crate::driver;
use crate::figures::{self, BenchFigure};
use crate::pgbench::PgbenchScript;
use crate::report::{RateReport, ReportLine, quantile};
use crate::rings;
use crate::stack::{BenchStack, request_of};

/// First user id, far above those of registered users. Even ids are callers, odd ones are listeners.
const FIRST: i64 = 2_000_000_000;
const START_AGAIN: Duration = Duration::from_millis(100);
const STARTS_AT_A_TIME: usize = 48;
/// The largest amount of the rate card.
const RECHARGE_PAISE: i64 = 100_000;
/// Interval of heartbeats, as in an app.
const SIGN_EVERY: Duration = Duration::from_secs(30);
const SIGNS_AT_A_TIME: usize = 200;
const CATCH_UP_MAX: Duration = Duration::from_mins(2);
const CATCH_UP_POLL: Duration = Duration::from_millis(200);
/// Share of the top rate at which typical latencies are measured.
const EASY_SHARE: f64 = 0.5;

#[derive(Args)]
pub(crate) struct CallsOptions {
    /// Calls that are live while minutes are billed
    #[arg(long, default_value_t = 10_000)]
    live: i64,
}

/// Measures calls at several numbers of clients, and everything else once. `paces` are in ascending order.
pub(crate) async fn run_bench(
    stack: &BenchStack,
    paces: &[LoadSettings],
    options: &CallsOptions,
) -> anyhow::Result<()> {
    let database = stack.connect_database().await?;
    database
        .execute(include_str!("../pgbench/call_tables.sql"))
        .await?;
    // A moderate load, which a quiet one and a busy one surround.
    let moderate = paces[paces.len() / 2];
    let largest = paces.iter().map(|pace| pace.clients).max();
    let mut workers = CallWorker::prepare(stack, largest.unwrap_or_default()).await?;
    let mut rates = CallRateTable::default();
    let mut stages = StageTable::default();
    for (index, pace) in paces.iter().enumerate() {
        let mut others = workers.split_off(pace.clients);
        let load = measure_start_and_end(stack, &mut workers, *pace).await?;
        // The next number of clients begins with pairs that have had fewer calls.
        others.append(&mut workers);
        workers = others;
        rates.add_rate(load.rate);
        let clients = pace.clients;
        if index == 0 {
            stages.add_column(format!("{clients} at the top rate"), load.stages_at_top);
        }
        if clients == moderate.clients {
            stages.add_column(format!("{clients} at half of it"), load.stages_at_half);
        }
    }
    rates.publish()?;
    println!("{stages}");
    workers.truncate(moderate.clients);
    measure_ringing_calls(stack, &mut workers, moderate).await?;
    drop(workers);
    rings::measure_delivery(stack, &database, moderate).await?;
    measure_minutes(stack, &database, moderate, options.live).await
}

/// Calls that start at once, at one number of clients.
struct MeasuredCallLoad {
    rate: CallRate,
    stages_at_top: StageDurations,
    stages_at_half: StageDurations,
}

/// Measures calls that start at once beside pgbench, in turn within each round, and then at half of their rate.
async fn measure_start_and_end(
    stack: &BenchStack,
    workers: &mut Vec<CallWorker>,
    pace: LoadSettings,
) -> anyhow::Result<MeasuredCallLoad> {
    println!("{} clients", pace.clients);
    let script = include_str!("../pgbench/call.sql");
    let mut kind = CallKind::new(stack, "start, end", START_AND_END, script)?;
    let begun = StageDurations::read().await?;
    for _ in 0..pace.rounds {
        kind.run_round(workers, pace).await?;
    }
    let at_top = StageDurations::read().await?;
    let measured = kind.measured.median();
    run_at_half(workers, START_AND_END, pace, measured).await?;
    let at_half = StageDurations::read().await?;
    let starts = sum_latencies(workers, CallStep::Start);
    Ok(MeasuredCallLoad {
        rate: CallRate {
            clients: pace.clients,
            reference: kind.reference.median(),
            measured,
            start_ms: (quantile(&starts, 0.5), quantile(&starts, 0.99)),
        },
        stages_at_half: at_half.since(&at_top),
        stages_at_top: at_top.since(&begun),
    })
}

/// Measures calls that ring beside pgbench writing their rows, in turn within each round. Calls that start at once are
/// measured in the same rounds, so that the ratio compares the same state of the stack.
async fn measure_ringing_calls(
    stack: &BenchStack,
    workers: &mut Vec<CallWorker>,
    pace: LoadSettings,
) -> anyhow::Result<()> {
    let script = include_str!("../pgbench/call.sql");
    let mut starts = CallKind::new(stack, "start, end", START_AND_END, script)?;
    let mut kinds = [
        CallKind::new(
            stack,
            "ring, accept, end",
            RING_ACCEPT_AND_END,
            include_str!("../pgbench/ring_accepted.sql"),
        )?,
        CallKind::new(
            stack,
            "ring, cancel",
            RING_AND_CANCEL,
            include_str!("../pgbench/ring_cancelled.sql"),
        )?,
    ];
    for _ in 0..pace.rounds {
        starts.run_round(workers, pace).await?;
        for kind in &mut kinds {
            kind.run_round(workers, pace).await?;
        }
    }
    let (top, rate_of_starts) = (kinds[0].measured.median(), starts.measured.median());
    for kind in kinds {
        kind.into_report().publish()?;
    }
    println!(
        "  ring, accept, end: {:.2} of start, end",
        top / rate_of_starts
    );
    run_at_half(workers, RING_ACCEPT_AND_END, pace, top).await
}

/// Runs calls at half of their top rate, at which latencies are typical.
async fn run_at_half(
    workers: &mut Vec<CallWorker>,
    steps: CallSteps,
    pace: LoadSettings,
    top: f64,
) -> anyhow::Result<()> {
    choose_steps(workers, steps).await?;
    driver::run_at_rate(workers, pace.duration(), top * EASY_SHARE).await?;
    print_latencies("at half the top rate", workers);
    Ok(())
}

/// A kind of call, and pgbench writing the same rows in one transaction.
struct CallKind {
    steps: CallSteps,
    title: String,
    pgbench: PgbenchScript,
    reference: ReportLine,
    measured: ReportLine,
}

impl CallKind {
    fn new(stack: &BenchStack, name: &str, steps: CallSteps, script: &str) -> anyhow::Result<Self> {
        Ok(Self {
            steps,
            title: format!("Calls: {name}"),
            pgbench: PgbenchScript::new(stack, script)?,
            reference: ReportLine::new(&format!("pgbench, the rows of {name}")),
            measured: ReportLine::new(&format!("{name}, all answered")),
        })
    }

    async fn run_round(
        &mut self,
        workers: &mut Vec<CallWorker>,
        pace: LoadSettings,
    ) -> anyhow::Result<()> {
        let reference = self.pgbench.run(pace.clients, pace.duration()).await?;
        self.reference.add_rate(reference);
        choose_steps(workers, self.steps).await?;
        let measured = driver::run_flat_out(workers, pace.duration()).await?;
        self.measured.add_round(&measured);
        print_latencies("at the top rate", workers);
        Ok(())
    }

    fn into_report(self) -> RateReport {
        RateReport::new(&self.title, vec![self.reference, self.measured])
    }
}

/// Starts calls and measures how late the server bills their minutes.
async fn measure_minutes(
    stack: &BenchStack,
    database: &PgPool,
    pace: LoadSettings,
    live: i64,
) -> anyhow::Result<()> {
    seed_pairs(database, live).await?;
    let presence = stack
        .connect_grpc(Workload::Gateway, Workload::Presence)
        .await?;
    let presence = PresenceServiceClient::new(presence);
    let _alive = AbortOnDropHandle::new(tokio::spawn(send_heartbeats(presence, live)));
    let wallet = stack
        .connect_grpc(Workload::Gateway, Workload::Wallet)
        .await?;
    let wallet = WalletServiceClient::new(wallet);
    let calls = stack
        .connect_grpc(Workload::Gateway, Workload::Calls)
        .await?;
    let calls = CallsServiceClient::new(calls);
    let started_at = Instant::now();
    stream::iter(0..live)
        .map(|pair| recharge_and_start(wallet.clone(), calls.clone(), FIRST + 2 * pair))
        .buffer_unordered(STARTS_AT_A_TIME)
        .try_collect::<()>()
        .await
        .context("starting calls")?;
    let started_in = started_at.elapsed();
    let caught_up_in = wait_until_caught_up(database).await?;
    let window = pace.total_duration()?;
    tokio::time::sleep(window).await;
    println!("\nMinutes billed while {live} calls are live");
    println!(
        "  calls started over gRPC    {:>8.0} /s, and {:.1} s later no minute was late",
        live as f64 / started_in.as_secs_f64(),
        caught_up_in.as_secs_f64()
    );
    print_billing(database, window).await
}

/// Sends heartbeats of all parties, without which their calls would end.
async fn send_heartbeats(
    mut presence: PresenceServiceClient<Channel>,
    pairs: i64,
) -> anyhow::Result<()> {
    let user_ids: Vec<i64> = (FIRST..FIRST + 2 * pairs).collect();
    let chunks = user_ids.chunks(SIGNS_AT_A_TIME).cycle();
    let pause = SIGN_EVERY / u32::try_from(user_ids.len().div_ceil(SIGNS_AT_A_TIME))?;
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

/// Waits until minutes that became late during the starts are billed.
async fn wait_until_caught_up(database: &PgPool) -> anyhow::Result<Duration> {
    let started_at = Instant::now();
    while count_late_calls(database).await? > 0 {
        ensure!(
            started_at.elapsed() < CATCH_UP_MAX,
            "the biller does not catch up"
        );
        tokio::time::sleep(CATCH_UP_POLL).await;
    }
    Ok(started_at.elapsed())
}

/// Counts calls whose next minute began more than a second ago and is not billed.
async fn count_late_calls(database: &PgPool) -> anyhow::Result<i64> {
    sqlx::query_scalar(
        "SELECT count(*) FROM calls.user_calls
         WHERE user_id >= $1 AND phase = 'active'
           AND start_time + make_interval(secs => minutes_billed * minute_secs)
               < now() - interval '1 second'",
    )
    .bind(FIRST)
    .fetch_one(database)
    .await
    .context("counting late minutes")
}

/// Inserts users by SQL, because signing up twenty thousand would take too long.
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
    // Statistics follow such a growth only within a minute by themselves, and kept plans follow the statistics.
    database
        .execute("ANALYZE profile.users, profile.user_roles, presence.user_status")
        .await?;
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
    wallet.recharge(request_of(caller_id, recharge)).await?;
    let start = StartCallRequest {
        caller_id,
        listener_id: caller_id + 1,
        call_type: CallType::Audio.into(),
        ..StartCallRequest::default()
    };
    // Starts are refused while minutes are late.
    while let Err(status) = calls.start_call(request_of(caller_id, start.clone())).await {
        ensure!(status.code() == Code::Unavailable, "{status}");
        tokio::time::sleep(START_AGAIN).await;
    }
    Ok(())
}

/// Prints the minutes billed in the last `window`, and their lateness.
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
    .context("reading billed minutes")?;
    ensure!(billed > 0, "no minute was billed");
    println!(
        "  minutes billed             {:>8.0} /s",
        billed as f64 / window.as_secs_f64()
    );
    println!("  lateness                   p50 {p50:.3} s  p99 {p99:.3} s  worst {worst:.3} s");
    let rate = billed as f64 / window.as_secs_f64();
    let figure = BenchFigure::new("Minutes of live calls", "billed, and late by", rate, "/s");
    figures::append(&[figure.with_latency(p50 * 1_000.0, p99 * 1_000.0)])?;
    let live: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM calls.user_calls WHERE user_id >= $1 AND phase = 'active'",
    )
    .bind(FIRST)
    .fetch_one(database)
    .await?;
    let late = count_late_calls(database).await?;
    println!("  live at the end            {live:>8} calls, {late} of them over a second behind");
    Ok(())
}
