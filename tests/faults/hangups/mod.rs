//! Hundreds of clients that disconnect in the middle of their requests, on every endpoint, beside clients that wait
//! for their answers: no acknowledged result is missing, nothing is charged for a call that does not exist, and nobody
//! is refused because of the others.
//!
//! `TALKTIME_HANGUP_SECS` sets the duration. If `TALKTIME_HANGUP_KILLS` is set, services are killed meanwhile, and
//! clients repeat requests that were refused for that.

mod disconnecting;
mod honest;

use std::sync::Arc;
use std::time::{Duration, Instant};

use disconnecting::{PACE, RandomSource, disconnect_repeatedly, sample_requests};
use futures::future::join_all;
use honest::{HonestPair, assert_nothing_missing};
use sqlx::PgPool;
use talktime_tests::{CallPair, assert_books_are_right, read_variable, run_dev, wait_for};

use crate::lock_stack;

const SECS_DEFAULT: u64 = 12;
const HONEST_PAIRS: usize = 6;
const DISCONNECTING_PAIRS: usize = 8;
const DISCONNECTING_CLIENTS: usize = 200;
/// Time between the restart of a service and the next kill.
const KILL_PAUSE: Duration = Duration::from_secs(5);
const KILLED_SERVICES: [&str; 5] = ["wallet", "calls", "presence", "profile", "auth"];

fn read_duration() -> Duration {
    let secs = std::env::var("TALKTIME_HANGUP_SECS").ok();
    Duration::from_secs(secs.map_or(SECS_DEFAULT, |secs| secs.parse().expect("seconds")))
}

/// Finds charges that were not returned although their call does not exist.
async fn find_charges_without_call(database: &PgPool) -> Vec<i64> {
    sqlx::query_scalar(
        "SELECT DISTINCT t.call_id FROM wallet.transfers AS t
         WHERE t.kind = 'charge'
           AND NOT EXISTS (SELECT FROM calls.user_calls AS c WHERE c.call_id = t.call_id)
           AND NOT EXISTS (SELECT FROM wallet.transfers AS v
                           WHERE v.call_id = t.call_id AND v.kind <> 'charge')
           AND t.call_id < 3000000000",
    )
    .fetch_all(database)
    .await
    .expect("readable")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disconnecting_clients_affect_nobody_else() {
    let _stack = lock_stack().await;
    let database = PgPool::connect_lazy(&read_variable("DATABASE_URL")).expect("a valid url");
    let honest = join_all((0..HONEST_PAIRS).map(|_| CallPair::sign_up())).await;
    let disconnecting =
        join_all((0..DISCONNECTING_PAIRS).map(|_| async { Arc::new(CallPair::sign_up().await) }))
            .await;
    let random = Arc::new(RandomSource::default());

    let end = Instant::now() + read_duration();
    let mut clients = Vec::with_capacity(DISCONNECTING_CLIENTS);
    for pair in &disconnecting {
        let requests = Arc::new(sample_requests(pair).await);
        for _ in 0..DISCONNECTING_CLIENTS / DISCONNECTING_PAIRS {
            let client = disconnect_repeatedly(pair.clone(), requests.clone(), random.clone(), end);
            clients.push(tokio::spawn(client));
        }
        tokio::spawn(end_calls_repeatedly(pair.clone(), end));
    }
    let running = honest
        .iter()
        .map(|pair| HonestPair::new(pair).run_until(end));
    let (acknowledged, kills) = tokio::join!(join_all(running), kill_services_in_turn(end));
    let mut disconnections = 0;
    for client in clients {
        disconnections += client.await.expect("no panic");
    }

    let rounds: i64 = acknowledged.iter().map(|results| results.recharges).sum();
    let refusals: usize = acknowledged.iter().map(|results| results.refusals).sum();
    println!(
        "{disconnections} disconnections and {kills} kills beside {rounds} rounds of six requests, \
         {refusals} of which had to be repeated"
    );
    assert!(
        kills > 0 || refusals == 0,
        "{refusals} requests were refused because of others"
    );
    assert!(
        rounds >= i64::try_from(HONEST_PAIRS).expect("few"),
        "{rounds} rounds"
    );
    for (pair, acknowledged) in honest.iter().zip(&acknowledged) {
        assert_nothing_missing(&database, pair, acknowledged).await;
    }
    for pair in &disconnecting {
        end_remaining_call(pair).await;
    }
    wait_for("every charge to have a call or to be returned", || async {
        find_charges_without_call(&database)
            .await
            .is_empty()
            .then_some(())
    })
    .await;
    assert_books_are_right().await;
}

/// Kills one service after another and starts it again, if this is enabled; returns the number of kills.
async fn kill_services_in_turn(end: Instant) -> usize {
    if std::env::var_os("TALKTIME_HANGUP_KILLS").is_none() {
        return 0;
    }
    let mut kills = 0;
    while Instant::now() + KILL_PAUSE < end {
        tokio::time::sleep(KILL_PAUSE).await;
        let service = KILLED_SERVICES[kills % KILLED_SERVICES.len()];
        run_dev(&["kill", service]).await;
        run_dev(&["start", service]).await;
        kills += 1;
    }
    kills
}

/// Ends the calls of a disconnecting pair, so that its next start succeeds.
async fn end_calls_repeatedly(pair: Arc<CallPair>, end: Instant) {
    while Instant::now() < end {
        end_ongoing_call(&pair).await;
        tokio::time::sleep(PACE / 4).await;
    }
}

async fn end_ongoing_call(pair: &CallPair) {
    if let Some(call_id) = pair.load_ongoing_call(&pair.caller).await["call_id"].as_i64() {
        pair.end_call(&pair.caller, call_id).await;
    }
}

/// Ends the call of a start whose client has disconnected, and waits until both people are free.
async fn end_remaining_call(pair: &CallPair) {
    wait_for("both to be free", || async {
        end_ongoing_call(pair).await;
        pair.are_both_free().await.then_some(())
    })
    .await;
}
