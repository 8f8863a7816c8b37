//! The certificate of a store and the authority that has issued it are replaced by the steps of the runbook
//! (`docs/runbooks/rotate-keys.md`), while requests run of which none may be refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use talktime_kit::config::IdentityConfig;
use talktime_kit::db::{DatabasePool, PgConnection};
use talktime_kit::testing::{
    PrivatePostgres, TestAuthority, replace_trust, send_signal, wait_until,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SERVER: &str = "localhost";
const CONNECTIONS_MAX: u32 = 8;
const CLIENTS: usize = 4;
/// Requests that have to succeed after each step.
const REQUESTS_PER_STEP: usize = 100;

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
