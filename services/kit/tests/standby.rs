//! Reads that may lag, with a standby that streams, falls behind, freezes, and is gone.

use std::time::{Duration, Instant};

use futures::FutureExt;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use talktime_kit::config::DatabaseConfig;
use talktime_kit::db::{self, DatabasePool, DatabaseSchema, PlanCacheMode, StandbyReads};
use talktime_kit::deadlines;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::testing::{PrivatePostgres, signal_all, wait_until};

static NO_TABLES: Migrator = Migrator::DEFAULT;
const SCHEMA: DatabaseSchema = DatabaseSchema {
    name: "public",
    migrations: &NO_TABLES,
    plan_cache_mode: PlanCacheMode::ForceGeneric,
};

const CONNECTIONS_MAX: u32 = 4;
/// The lag of a standby that is permitted here.
const LAG_MAX: Duration = Duration::from_millis(500);
/// Time for the primary and for scheduling on a busy machine.
const SLACK: Duration = Duration::from_secs(2);
/// Reads in a row that a standby may fail before it is left alone.
const FAILED_READS: usize = 3;

/// A primary with a standby that streams from it.
struct ReplicatedDatabase {
    primary: PrivatePostgres,
    standby: PrivatePostgres,
    lifecycle: ProcessLifecycle,
}

impl ReplicatedDatabase {
    async fn create() -> Self {
        let mut primary = PrivatePostgres::create("password").await;
        primary.start(&[]);
        wait_until("the primary answers", || is_answering(&primary)).await;
        let mut standby = primary.create_standby().await;
        standby.start(&[]);
        wait_until("the standby answers", || is_answering(&standby)).await;
        Self {
            primary,
            standby,
            lifecycle: ProcessLifecycle::default(),
        }
    }

    fn url(server: &PrivatePostgres) -> String {
        let options = server.connect_options();
        sqlx::ConnectOptions::to_url_lossy(&options).to_string()
    }

    /// The reads of a service with this lag.
    async fn reads(&self, lag_max: Duration) -> StandbyReads {
        let pool = |server: &PrivatePostgres| {
            DatabasePool::connect_lazily(server.connect_options(), CONNECTIONS_MAX)
        };
        let reads = StandbyReads::new(pool(&self.primary), pool(&self.standby), lag_max);
        self.start_observing(&reads).await;
        reads
    }

    /// The reads of a service that is configured with this standby.
    async fn configured_reads(&self) -> StandbyReads {
        let config = DatabaseConfig {
            owner_url: Self::url(&self.primary).into(),
            app_url: Self::url(&self.primary).into(),
            max_connections: CONNECTIONS_MAX,
            session_url: None,
            read_url: Some(Self::url(&self.standby).into()),
            read_max_connections: CONNECTIONS_MAX,
        };
        let primary = db::pool(SCHEMA, &config).expect("a valid URL");
        let reads = db::standby_reads(SCHEMA, &config, primary).expect("a valid URL");
        self.start_observing(&reads).await;
        reads
    }

    async fn start_observing(&self, reads: &StandbyReads) {
        reads.start_observing(&self.lifecycle);
        wait_until("the standby answers reads", || is_read_by_standby(reads)).await;
    }
}

async fn is_answering(server: &PrivatePostgres) -> bool {
    let Ok(pool) = PgPool::connect_with(server.connect_options()).await else {
        return false;
    };
    pool.close().await;
    true
}

/// Reads; returns whether a standby answered.
async fn is_read_by_standby(reads: &StandbyReads) -> bool {
    let read = reads.read(|connection| {
        sqlx::query_scalar("SELECT pg_is_in_recovery()")
            .fetch_one(connection)
            .boxed()
    });
    read.await.expect("the primary answers at least")
}

async fn count_lines(reads: &StandbyReads) -> i64 {
    let read = reads.read(|connection| {
        sqlx::query_scalar("SELECT count(*) FROM line")
            .fetch_one(connection)
            .boxed()
    });
    read.await.expect("the primary answers at least")
}

async fn execute(server: &PrivatePostgres, statement: &'static str) {
    let pool = PgPool::connect_lazy_with(server.connect_options());
    let executed = sqlx::raw_sql(statement).execute(&pool).await;
    executed.expect("the server answers");
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_answers_while_the_standby_is_too_far_behind() {
    let database = ReplicatedDatabase::create().await;
    execute(&database.primary, "CREATE TABLE line (number bigint)").await;
    let reads = database.reads(LAG_MAX).await;
    assert_eq!(count_lines(&reads).await, 0);

    execute(&database.standby, "SELECT pg_wal_replay_pause()").await;
    execute(&database.primary, "INSERT INTO line VALUES (1)").await;
    wait_until("the new line is read", || async {
        count_lines(&reads).await == 1
    })
    .await;
    assert!(!is_read_by_standby(&reads).await, "it has not the line yet");

    execute(&database.standby, "SELECT pg_wal_replay_resume()").await;
    wait_until("the standby has caught up", || is_read_by_standby(&reads)).await;
    assert_eq!(count_lines(&reads).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_answers_in_time_while_the_standby_is_frozen_or_gone() {
    let mut database = ReplicatedDatabase::create().await;
    let reads = database.configured_reads().await;

    let standby = database.standby.pid();
    signal_all("STOP", &standby).await;
    assert_primary_answers(&reads).await;
    signal_all("CONT", &standby).await;
    wait_until("the standby goes on", || is_read_by_standby(&reads)).await;

    database.standby.stop().await;
    assert_primary_answers(&reads).await;
    database.standby.start(&[]);
    wait_until("the standby is back", || is_read_by_standby(&reads)).await;
}

/// Each read is answered within its deadline, and soon none waits for the standby any more.
async fn assert_primary_answers(reads: &StandbyReads) {
    for _ in 0..FAILED_READS {
        let begun = Instant::now();
        assert!(!is_read_by_standby(reads).await);
        let took = begun.elapsed();
        let bound = deadlines::POSTGRES_STANDBY_READ + SLACK;
        assert!(took < bound, "a read took {took:?}");
    }
    let begun = Instant::now();
    assert!(!is_read_by_standby(reads).await);
    let took = begun.elapsed();
    assert!(
        took < deadlines::POSTGRES_STANDBY_READ,
        "a read waited for the standby: {took:?}"
    );
}
