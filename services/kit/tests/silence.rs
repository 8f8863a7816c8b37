//! Peers that fall silent without closing their connections: every wait ends by its deadline, and the connections
//! are given up, so that a peer that took their place is found.

use std::future::Future;
use std::time::{Duration, Instant};

use fred::prelude::{KeysInterface, Pool};
use futures::FutureExt;
use sqlx::migrate::Migrator;
use talktime_kit::db::{DatabasePool, DatabaseSchema, PlanCacheMode};
use talktime_kit::lease::Lease;
use talktime_kit::messaging::{self, ensure_stream};
use talktime_kit::testing::{SilentProxy, TestDatabase, operator_nats, stack_redis};
use talktime_kit::{deadlines, redis};
use talktime_proto::access::BUS_OPERATOR;

static NO_TABLES: Migrator = Migrator::DEFAULT;

const CONNECTIONS_MAX: u32 = 4;
/// The longest that a peer may be silent before its connections are given up.
const DETECTION_MAX: Duration = Duration::from_secs(5);
/// The longest between the return or replacement of a peer and the next success.
const RECOVERY_MAX: Duration = Duration::from_secs(10);
/// Time for scheduling on a busy machine.
const SLACK: Duration = Duration::from_secs(1);

/// Longer than a connection is trusted without a sign of life.
const UNUSED: Duration = Duration::from_millis(1_200);

/// Repeats what may fail until it succeeds; fails when that takes longer than `bound`.
async fn succeeds_within<T, E, F>(bound: Duration, mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
{
    let repeating = async {
        loop {
            if let Ok(done) = attempt().await {
                return done;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let succeeded = tokio::time::timeout(bound, repeating).await;
    succeeded.unwrap_or_else(|_| panic!("no success within {bound:?}"))
}

/// Fails when the answer takes longer than `bound`; returns how long it took, and the answer.
async fn ends_within<T>(bound: Duration, wait: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(bound + SLACK, wait).await;
    ended.unwrap_or_else(|_| panic!("it did not end within {bound:?}"))
}

async fn database_behind_a_proxy() -> (SilentProxy, DatabasePool) {
    let database = TestDatabase::without_tables(DatabaseSchema {
        name: "wallet",
        migrations: &NO_TABLES,
        plan_cache_mode: PlanCacheMode::ForceGeneric,
    })
    .await;
    let options = database.app_options();
    let target = format!("{}:{}", options.get_host(), options.get_port());
    let proxy = SilentProxy::start(&target).await;
    let options = options.host("127.0.0.1").port(proxy.address().port());
    let db = DatabasePool::connect_lazily(options, CONNECTIONS_MAX);
    succeeds_within(RECOVERY_MAX, || run_transaction(&db)).await;
    (proxy, db)
}

async fn run_transaction(db: &DatabasePool) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    sqlx::query("SELECT 1").execute(&mut *tx).await?;
    tx.commit().await
}

#[tokio::test]
async fn a_statement_that_a_silent_database_got_ends_and_another_server_is_found() {
    let (proxy, db) = database_behind_a_proxy().await;
    let mut begun = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        begun.push(succeeds_within(RECOVERY_MAX, || db.begin()).await);
    }
    proxy.silence();
    // One connection waits for rows, one for a single row; the others wait in `COMMIT`.
    let [mut rows, mut row, first, second]: [_; 4] = begun.try_into().expect("four transactions");
    let waits = async {
        let all = sqlx::query("SELECT 1").execute(&mut *rows);
        let one = sqlx::query("SELECT 1").fetch_optional(&mut *row);
        let (all, one, first, second) = tokio::join!(all, one, first.commit(), second.commit());
        assert!(all.is_err() && one.is_err() && first.is_err() && second.is_err());
        // A connection that has missed a deadline answers nothing more, at once.
        let started = Instant::now();
        let again = sqlx::query("SELECT 1").execute(&mut *rows).await;
        assert!(again.is_err() && started.elapsed() < SLACK);
    };
    ends_within(deadlines::POSTGRES_STATEMENT, waits).await;
    drop((rows, row));
    proxy.replace();
    succeeds_within(RECOVERY_MAX, || run_transaction(&db)).await;
}

#[tokio::test]
async fn requests_dropped_in_a_silent_statement_give_their_connections_back() {
    let (proxy, db) = database_behind_a_proxy().await;
    let mut begun = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        begun.push(succeeds_within(RECOVERY_MAX, || db.begin()).await);
    }
    proxy.silence();
    for mut tx in begun {
        let waiting = sqlx::query("SELECT 1").execute(&mut *tx);
        let dropped = tokio::time::timeout(Duration::from_millis(200), waiting).await;
        assert!(dropped.is_err(), "the server is silent");
    }
    proxy.replace();
    succeeds_within(RECOVERY_MAX, || run_transaction(&db)).await;
}

async fn poll(db: &DatabasePool) -> sqlx::Result<()> {
    let one = db.poll(|connection| sqlx::query_scalar("SELECT 1").fetch_one(connection).boxed());
    let one: i32 = one.await?;
    assert_eq!(one, 1);
    Ok(())
}

#[tokio::test]
async fn a_server_that_took_the_place_of_another_is_found_by_the_first_poll_and_transaction() {
    for is_poll in [true, false] {
        let (proxy, db) = database_behind_a_proxy().await;
        tokio::time::sleep(UNUSED).await;
        proxy.replace();
        let using = async {
            if is_poll {
                poll(&db).await
            } else {
                run_transaction(&db).await
            }
        };
        let used = ends_within(RECOVERY_MAX, using).await;
        used.unwrap_or_else(|error| panic!("the connection was only unused: {error}"));
    }
}

#[tokio::test]
async fn a_database_that_was_frozen_serves_at_once_when_it_goes_on() {
    let (proxy, db) = database_behind_a_proxy().await;
    proxy.silence();
    let refused = ends_within(RECOVERY_MAX, run_transaction(&db)).await;
    assert!(refused.is_err(), "the server is silent");
    proxy.resume();
    succeeds_within(RECOVERY_MAX, || run_transaction(&db)).await;
}

#[tokio::test]
async fn a_lease_is_neither_taken_nor_awaited_beyond_its_deadline() {
    let (proxy, db) = database_behind_a_proxy().await;
    let mut lease = Lease::try_take(&db, "silence").await.expect("answered");
    proxy.silence();
    let connection = lease.as_mut().expect("nobody has it").connection();
    let read = sqlx::query("SELECT 1").execute(connection);
    let read = ends_within(deadlines::POSTGRES_STATEMENT, read).await;
    assert!(read.is_err(), "the server is silent");
    let second = Lease::try_take(&db, "silence");
    let second = ends_within(deadlines::POSTGRES_CONNECT, second).await;
    assert!(second.is_err(), "the server is silent");
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo dev test`"))
}

/// Returns `host:port` of a URL, and the URL with the proxy in its place.
async fn proxy_of(url: &str) -> (SilentProxy, String) {
    let authority = url.split("://").nth(1).expect("a URL");
    let address = authority.rsplit('@').next().expect("an address");
    let address = address.split('/').next().expect("an address");
    let proxy = SilentProxy::start(address).await;
    let url = url.replace(address, &proxy.address().to_string());
    (proxy, url)
}

async fn write_to_redis(pool: &Pool) -> Result<(), fred::error::Error> {
    pool.set("tests:silence", 1, None, None, false).await
}

#[tokio::test]
async fn a_redis_that_took_the_place_of_a_silent_one_is_found() {
    let (proxy, url) = proxy_of(&variable("REDIS_URL")).await;
    let pool = redis::connect(&stack_redis(url)).expect("a valid URL");
    succeeds_within(RECOVERY_MAX, || write_to_redis(&pool)).await;
    proxy.silence();
    for _ in 0..8 {
        let written = ends_within(deadlines::REDIS_COMMAND, write_to_redis(&pool)).await;
        assert!(written.is_err(), "the server is silent");
    }
    proxy.replace();
    // Each client of the pool finds it.
    for _ in 0..8 {
        succeeds_within(DETECTION_MAX, || write_to_redis(&pool)).await;
    }
}

#[tokio::test]
async fn a_nats_server_that_took_the_place_of_a_silent_one_is_found() {
    let (proxy, url) = proxy_of(&variable("NATS_URL")).await;
    let nats = messaging::connect(&operator_nats(url), BUS_OPERATOR).await;
    let jetstream = messaging::open_jetstream(nats.expect("a valid URL"));
    succeeds_within(RECOVERY_MAX, || ensure_stream(&jetstream)).await;
    proxy.silence();
    let outcome = ends_within(deadlines::NATS_REQUEST, ensure_stream(&jetstream)).await;
    assert!(outcome.is_err(), "the server is silent");
    proxy.replace();
    succeeds_within(DETECTION_MAX, || ensure_stream(&jetstream)).await;
}
