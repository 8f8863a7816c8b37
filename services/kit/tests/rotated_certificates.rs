//! The certificate of a store and the authority that has issued it are replaced by the steps of the runbook
//! (`docs/runbooks/rotate-keys.md`), while requests run of which none may be refused.

use std::future::ready;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_nats::jetstream;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use talktime_kit::config::{IdentityConfig, NatsConfig, RedisConfig};
use talktime_kit::db::{DatabasePool, PgConnection};
use talktime_kit::redis::Pool;
use talktime_kit::redis::commands::{
    ClientLike as _, ErrorKind, EventInterface as _, KeysInterface as _,
};
use talktime_kit::testing::{
    PrivateNats, PrivatePostgres, PrivateRedis, TestAuthority, replace_trust, send_signal,
    unique_name, wait_until,
};
use talktime_kit::{messaging, redis};
use talktime_proto::access::BUS_OPERATOR;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SERVER: &str = "localhost";
const CONNECTIONS_MAX: u32 = 8;
const CLIENTS: usize = 4;
/// Requests that have to succeed after each step.
const REQUESTS_PER_STEP: usize = 100;
/// Requests of one client of Redis, which opens several connections.
const REQUESTS_PER_POOL: usize = 4;
/// A subject of the stream.
const SUBJECT: &str = "events.wallet.earned";

/// Requests that repeat until they are stopped. The first that fails ends them.
struct RunningRequests {
    succeeded: Arc<AtomicUsize>,
    stopping: CancellationToken,
    clients: Vec<JoinHandle<()>>,
}

impl RunningRequests {
    /// Repeats a request in several clients at once.
    fn start<F: Future<Output = ()> + Send + 'static>(
        request: impl Fn() -> F + Clone + Send + 'static,
    ) -> Self {
        let succeeded = Arc::new(AtomicUsize::new(0));
        let stopping = CancellationToken::new();
        let clients = (0..CLIENTS).map(|_| {
            let (succeeded, stopping) = (succeeded.clone(), stopping.clone());
            let request = request.clone();
            tokio::spawn(async move {
                while !stopping.is_cancelled() {
                    request().await;
                    succeeded.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        Self {
            clients: clients.collect(),
            succeeded,
            stopping,
        }
    }

    /// Waits until a number of further requests have succeeded.
    async fn go_on(&self) {
        let wanted = self.succeeded.load(Ordering::Relaxed) + REQUESTS_PER_STEP;
        let has_gone_on = || async {
            let has_failed = self.clients.iter().any(JoinHandle::is_finished);
            assert!(!has_failed, "a request was refused");
            self.succeeded.load(Ordering::Relaxed) >= wanted
        };
        wait_until("requests succeed", has_gone_on).await;
    }

    async fn finish(self) {
        self.stopping.cancel();
        for client in self.clients {
            client.await.expect("no request was refused");
        }
    }
}

/// Two authorities, and the file of those that the clients of a store trust.
struct CertificateRotation {
    old: TestAuthority,
    new: TestAuthority,
    clients: IdentityConfig,
}

impl CertificateRotation {
    fn new() -> Self {
        let old = TestAuthority::default();
        let clients = old.issue_named("clients", "clients.talktime.internal", &[]);
        Self {
            clients,
            old,
            new: TestAuthority::default(),
        }
    }

    /// The file of the authorities that clients trust.
    fn trusted(&self) -> PathBuf {
        self.clients.folder.join("ca.crt")
    }

    /// Replaces authority and certificate of a store whose clients send requests. `install` makes the server use a
    /// certificate, and `connects` tries a new connection of a client that trusts the authorities of a file.
    async fn run(
        &self,
        requests: &RunningRequests,
        install: impl AsyncFn(&IdentityConfig),
        connects: impl AsyncFn(&Path) -> bool,
    ) {
        requests.go_on().await;
        replace_trust(&self.clients, &[&self.old, &self.new]);
        requests.go_on().await;

        let renewed = self.new.issue_named("renewed", SERVER, &[]);
        let old_files = self.old.issue_named("old", SERVER, &[]);
        let (only_old, only_new) = (
            old_files.folder.join("ca.crt"),
            renewed.folder.join("ca.crt"),
        );
        assert!(connects(&only_old).await, "the first certificate");
        assert!(!connects(&only_new).await, "the first certificate");
        install(&renewed).await;
        wait_until("new connections get the new certificate", || {
            connects(&only_new)
        })
        .await;
        assert!(!connects(&only_old).await, "the old certificate is gone");
        requests.go_on().await;

        replace_trust(&self.clients, &[&self.new]);
        requests.go_on().await;
    }
}

fn verified_options(postgres: &PrivatePostgres, authorities: &Path) -> PgConnectOptions {
    let options = postgres.connect_options().host(SERVER);
    options
        .ssl_mode(PgSslMode::VerifyFull)
        .ssl_root_cert(authorities)
}

/// Uses a connection of the pool, and opens one that is new.
async fn query_twice(db: &DatabasePool) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    sqlx::query("SELECT 1").execute(&mut *tx).await?;
    tx.commit().await?;
    let mut session = db.open_session().await?;
    sqlx::query("SELECT 1").execute(&mut session).await?;
    session.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_refused_while_the_certificate_of_postgres_is_replaced() {
    let rotation = CertificateRotation::new();
    let mut postgres = PrivatePostgres::create("scram-sha-256").await;
    let first = rotation.old.issue_named("first", SERVER, &[]);
    postgres.install_certificate(&first).await;
    postgres.start(&["ssl=on".to_owned()]);
    let connects = async |authorities: &Path| {
        let opened = PgConnection::open(&verified_options(&postgres, authorities)).await;
        opened.is_ok()
    };
    let trusted = rotation.trusted();
    wait_until("the server answers", || connects(&trusted)).await;

    let options = verified_options(&postgres, &trusted);
    let db = DatabasePool::connect_lazily(options, CONNECTIONS_MAX);
    let requests = RunningRequests::start(move || {
        let db = db.clone();
        async move { query_twice(&db).await.expect("not refused") }
    });
    let install = async |renewed: &IdentityConfig| {
        postgres.install_certificate(renewed).await;
        send_signal("HUP", &postgres.pid()).await;
    };
    rotation.run(&requests, install, connects).await;
    requests.finish().await;
}

/// Writes a key and reads it.
async fn write_and_read(redis: &Pool) {
    let key = unique_name("rotation");
    let written: Result<(), _> = redis.set(&key, "written", None, None, false).await;
    written.expect("not refused");
    let read: Result<String, _> = redis.get(&key).await;
    assert_eq!(read.expect("not refused"), "written");
}

/// Opens the connections of a client of its own. A busy machine may exceed their deadline, but none may be refused.
async fn open_pool(config: &RedisConfig) -> Pool {
    let pool = redis::connect(config).expect("valid settings");
    let clients = pool.clients().iter();
    let clients: Vec<_> = clients.map(|client| (client, client.error_rx())).collect();
    for (client, mut errors) in clients {
        wait_until("a new connection", || {
            if let Ok((error, _)) = errors.try_recv() {
                assert_eq!(*error.kind(), ErrorKind::Timeout, "{error}");
            }
            ready(client.is_connected())
        })
        .await;
    }
    pool
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_refused_while_the_certificate_of_redis_is_replaced() {
    let rotation = CertificateRotation::new();
    let server = PrivateRedis::start(&rotation.old.issue_named("first", SERVER, &[]));
    let connects = async |authorities: &Path| server.is_trusted(authorities).await;
    let trusted = rotation.trusted();
    wait_until("the server answers", || connects(&trusted)).await;

    let config = server.config(&trusted);
    let lasting = open_pool(&config).await;
    let requests = RunningRequests::start(move || {
        let (lasting, config) = (lasting.clone(), config.clone());
        async move {
            let new = open_pool(&config).await;
            for _ in 0..REQUESTS_PER_POOL {
                write_and_read(&lasting).await;
                write_and_read(&new).await;
            }
            new.quit().await.expect("the client ends");
        }
    });
    let install = async |renewed: &IdentityConfig| server.install_certificate(renewed).await;
    rotation.run(&requests, install, connects).await;
    requests.finish().await;
}

/// Publishes an event and waits until the stream has it.
async fn publish(jetstream: &jetstream::Context) {
    let published = jetstream.publish(SUBJECT, "an event".into()).await;
    let stored = published.expect("sent").await;
    stored.expect("not refused");
}

/// Opens a connection as processes do. A server that reads its configuration refuses who logs in at that moment, so they
/// try again, and what they publish waits.
async fn open_jetstream(config: &NatsConfig) -> jetstream::Context {
    let client = messaging::connect(config, BUS_OPERATOR).await;
    messaging::open_jetstream(client.expect("valid settings"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_refused_while_the_certificate_of_nats_is_replaced() {
    let rotation = CertificateRotation::new();
    let server = PrivateNats::start_encrypted(&rotation.old.issue_named("first", SERVER, &[]));
    let connects = async |authorities: &Path| {
        let opened = messaging::connect_as_operator(&server.config(authorities)).await;
        opened.is_ok()
    };
    let trusted = rotation.trusted();
    wait_until("the server answers", || connects(&trusted)).await;

    let config = server.config(&trusted);
    let lasting = open_jetstream(&config).await;
    messaging::ensure_stream(&lasting).await.expect("made");
    let requests = RunningRequests::start(move || {
        let (lasting, config) = (lasting.clone(), config.clone());
        async move {
            publish(&lasting).await;
            publish(&open_jetstream(&config).await).await;
        }
    });
    let install = async |renewed: &IdentityConfig| server.install_certificate(renewed).await;
    rotation.run(&requests, install, connects).await;
    requests.finish().await;
}
