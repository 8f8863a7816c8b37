//! A database that comes back with little processor time: requests get connections soon, however
//! many of them wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use talktime_kit::db::DatabasePool;
use talktime_kit::testing::{PrivatePostgres, signal_all};
use tokio_util::sync::{CancellationToken, DropGuard};

const CONNECTIONS_MAX: u32 = 32;
const WAITING: usize = 200;
/// A thirtieth of a core.
const RUNS: Duration = Duration::from_millis(10);
const RESTS: Duration = Duration::from_millis(290);
const RECOVERY_MAX: Duration = Duration::from_secs(10);
const START_MAX: Duration = Duration::from_secs(30);

/// Lets the server and its children run for a thirtieth of the time, until the guard is dropped.
fn limit_cpu(postgres: &PrivatePostgres) -> DropGuard {
    let limited = CancellationToken::new();
    let (stopped, pid) = (limited.clone(), postgres.pid());
    tokio::spawn(async move {
        while !stopped.is_cancelled() {
            signal_all("STOP", &pid).await;
            tokio::time::sleep(RESTS).await;
            signal_all("CONT", &pid).await;
            tokio::time::sleep(RUNS).await;
        }
    });
    limited.drop_guard()
}

async fn run_transaction(db: &DatabasePool) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    sqlx::query("SELECT 1").execute(&mut *tx).await?;
    tx.commit().await
}

async fn wait_until_connected(db: &DatabasePool) {
    let deadline = Instant::now() + START_MAX;
    while let Err(error) = run_transaction(db).await {
        assert!(Instant::now() < deadline, "no connection: {error}");
    }
}

/// Repeats a transaction until it succeeds, as clients repeat a request that was answered 503.
async fn insist(db: DatabasePool, served: Arc<AtomicUsize>) {
    while run_transaction(&db).await.is_err() {}
    served.fetch_add(1, Ordering::Relaxed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_database_that_returns_serves_everyone_within_ten_seconds() {
    let mut postgres = PrivatePostgres::create("scram-sha-256").await;
    postgres.start(&[]);
    let db = DatabasePool::connect_lazily(postgres.connect_options(), CONNECTIONS_MAX);
    wait_until_connected(&db).await;

    postgres.stop().await;
    let served = Arc::new(AtomicUsize::new(0));
    let waiting: Vec<_> = (0..WAITING)
        .map(|_| tokio::spawn(insist(db.clone(), served.clone())))
        .collect();
    // Long enough for every request to have been refused once.
    let refused = run_transaction(&db).await;
    assert!(refused.is_err(), "the database is away");

    postgres.start(&[]);
    let returned = Instant::now();
    let _limit = limit_cpu(&postgres);
    for request in waiting {
        let left = RECOVERY_MAX.saturating_sub(returned.elapsed());
        let ended = tokio::time::timeout(left, request).await;
        let served = served.load(Ordering::Relaxed);
        assert!(
            ended.is_ok(),
            "{served} of {WAITING} were served in {RECOVERY_MAX:?}"
        );
    }
}
