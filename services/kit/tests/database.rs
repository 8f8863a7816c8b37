//! The pool on a real Postgres: whatever is cancelled, no transaction is left open and no
//! acknowledged write is missing.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use talktime_kit::db::{DatabasePool, DatabaseSchema, PgConnection, PlanCacheMode, is_unreachable};
use talktime_kit::lease::Lease;
use talktime_kit::testing::TestDatabase;
use talktime_kit::{Error, ErrorKind};

static ROWS: LazyLock<Migrator> = LazyLock::new(|| {
    let sql = "CREATE TABLE wallet.rows (row_id bigint PRIMARY KEY)";
    let migration = Migration::new(
        1,
        "rows".into(),
        MigrationType::Simple,
        sql.into_sql_str(),
        false,
    );
    Migrator::with_migrations(vec![migration])
});

const WAIT_MAX: Duration = Duration::from_secs(20);
const CANCELLED: i64 = 400;

async fn database() -> TestDatabase {
    TestDatabase::new(DatabaseSchema {
        name: "wallet",
        migrations: &ROWS,
        plan_cache_mode: PlanCacheMode::ForceGeneric,
    })
    .await
}

async fn insert(connection: &mut PgConnection, row_id: i64) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO wallet.rows VALUES ($1)")
        .bind(row_id)
        .execute(connection)
        .await?;
    Ok(())
}

async fn count_rows(database: &TestDatabase) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM wallet.rows")
        .fetch_one(&database.superuser)
        .await
        .expect("counted")
}

async fn wait_until_no_transaction_is_open(database: &TestDatabase) {
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        let open: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND state LIKE 'idle in transaction%'",
        )
        .fetch_one(&database.superuser)
        .await
        .expect("counted");
        if open == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{open} transactions stay open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Begins a transaction and writes a row, and stops waiting at a moment that `round` chooses: before, in
/// and after `BEGIN`, the statement, and `COMMIT`.
async fn write_and_cancel(db: &DatabasePool, round: i64) {
    let moment = Duration::from_micros(u64::try_from(round % 40).expect("positive") * 40);
    let writing = async {
        let mut tx = db.begin().await?;
        insert(&mut tx, -round).await?;
        tx.commit().await
    };
    // Whether it was in time does not matter.
    let _ = tokio::time::timeout(moment, writing).await;
}

#[tokio::test]
async fn cancelled_transactions_take_no_acknowledged_write_with_them() {
    let database = database().await;
    let db = &database.app;
    for round in 1..=CANCELLED {
        write_and_cancel(db, round).await;
        let mut tx = db.begin().await.expect("begun");
        insert(&mut tx, round).await.expect("inserted");
        tx.commit().await.expect("committed");
    }
    wait_until_no_transaction_is_open(&database).await;
    let acknowledged: i64 = sqlx::query_scalar("SELECT count(*) FROM wallet.rows WHERE row_id > 0")
        .fetch_one(&database.superuser)
        .await
        .expect("counted");
    assert_eq!(acknowledged, CANCELLED);
}

#[tokio::test]
async fn a_transaction_dropped_in_the_middle_of_a_statement_leaves_nothing_behind() {
    let database = database().await;
    let mut tx = database.app.begin().await.expect("begun");
    insert(&mut tx, 1).await.expect("inserted");
    let slow = sqlx::query("SELECT pg_sleep(0.3)").execute(&mut *tx);
    let cancelled = tokio::time::timeout(Duration::from_millis(50), slow).await;
    assert!(cancelled.is_err(), "the statement takes longer");
    drop(tx);
    wait_until_no_transaction_is_open(&database).await;
    assert_eq!(count_rows(&database).await, 0);
}

#[tokio::test]
async fn a_read_that_is_cancelled_does_not_answer_the_next_one() {
    let database = database().await;
    for round in 0..50_i64 {
        let mut connection = database.app.acquire().await.expect("connected");
        let slow = sqlx::query("SELECT -1::bigint FROM pg_sleep(0.002)").execute(&mut *connection);
        let moment = Duration::from_micros(u64::try_from(round).expect("positive") * 60);
        let _ = tokio::time::timeout(moment, slow).await;
        drop(connection);
        let mut connection = database.app.acquire().await.expect("connected");
        let answer: i64 = sqlx::query_scalar("SELECT $1::bigint")
            .bind(round)
            .fetch_one(&mut *connection)
            .await
            .expect("answered");
        assert_eq!(answer, round);
    }
}

#[tokio::test]
async fn a_write_outside_of_a_transaction_is_refused_by_postgres() {
    let database = database().await;
    let mut connection = database.app.acquire().await.expect("connected");
    let refused = insert(&mut connection, 1).await.expect_err("read only");
    let code = refused
        .as_database_error()
        .and_then(|error| error.code().map(String::from));
    assert_eq!(code.as_deref(), Some("25006"), "{refused}");
    assert_eq!(count_rows(&database).await, 0);
}

#[tokio::test]
async fn a_committed_transaction_returns_its_connection_at_once() {
    let database = database().await;
    let first = backend_of_a_transaction(&database.app).await;
    let second = backend_of_a_transaction(&database.app).await;
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_read_returns_its_connection_at_once() {
    let database = database().await;
    let first = backend_of_a_read(&database.app).await;
    let second = backend_of_a_read(&database.app).await;
    assert_eq!(first, second);
}

async fn backend_of_a_read(db: &DatabasePool) -> i32 {
    let mut connection = db.acquire().await.expect("connected");
    sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut *connection)
        .await
        .expect("answered")
}

async fn backend_of_a_transaction(db: &DatabasePool) -> i32 {
    let mut tx = db.begin().await.expect("begun");
    let backend = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut *tx)
        .await
        .expect("answered");
    tx.commit().await.expect("committed");
    backend
}

/// Behind a pooler, sessions that last have an address of their own.
#[tokio::test]
async fn a_lease_is_taken_where_sessions_last() {
    let database = database().await;
    let nobody_listens = database.app_options().port(1);
    let pool = DatabasePool::connect_lazily(nobody_listens, 1);
    let pool = pool.with_sessions(database.app_options());
    let lease = Lease::try_take(&pool, "tests.sessions").await;
    assert!(lease.expect("connected").is_some());
    assert!(pool.acquire().await.is_err());
}

#[tokio::test]
async fn a_statement_that_takes_too_long_does_not_make_the_database_unreachable() {
    let database = database().await;
    let mut tx = database.app.begin().await.expect("begun");
    sqlx::query("SET LOCAL statement_timeout = '10ms'")
        .execute(&mut *tx)
        .await
        .expect("set");
    let slow = sqlx::query("SELECT pg_sleep(10)").execute(&mut *tx).await;
    let error = Error::from(slow.expect_err("it takes too long"));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!is_unreachable(&error), "{error:?}");
    tx.rollback().await.expect("rolled back");
}
