//! A database that comes back with little processor time: requests get connections soon, however
//! many of them wait.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use talktime_kit::db::DatabasePool;
use tokio::process::{Child, Command};
use tokio_util::sync::{CancellationToken, DropGuard};

const PASSWORD: &str = "reconnection";
const CONNECTIONS_MAX: u32 = 32;
const WAITING: usize = 200;
/// A thirtieth of a core.
const RUNS: Duration = Duration::from_millis(10);
const RESTS: Duration = Duration::from_millis(290);
const RECOVERY_MAX: Duration = Duration::from_secs(10);
const START_MAX: Duration = Duration::from_secs(30);

/// A Postgres of the test's own, with passwords as in production.
struct PrivatePostgres {
    data_dir: PathBuf,
    port: u16,
    server: Option<Child>,
}

impl PrivatePostgres {
    async fn create() -> Self {
        let data_dir = std::env::temp_dir().join(format!("talktime-{}", uuid::Uuid::now_v7()));
        let password_file = data_dir.with_extension("password");
        std::fs::create_dir_all(&data_dir).expect("a folder");
        std::fs::write(&password_file, PASSWORD).expect("written");
        if is_root() {
            let chown = Command::new("chown")
                .arg("postgres:postgres")
                .args([&data_dir, &password_file])
                .status();
            assert!(chown.await.expect("chown runs").success());
        }
        let initdb = as_postgres("initdb")
            .arg("-D")
            .arg(&data_dir)
            .arg("--pwfile")
            .arg(&password_file)
            .args(["--username=postgres", "--auth=scram-sha-256", "--no-sync"])
            .stdout(Stdio::null())
            .status();
        assert!(initdb.await.expect("initdb runs").success());
        std::fs::remove_file(&password_file).expect("removed");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        Self {
            data_dir,
            port,
            server: None,
        }
    }

    fn start(&mut self) {
        let server = as_postgres("postgres")
            .arg("-D")
            .arg(&self.data_dir)
            .args(["-c", &format!("port={}", self.port), "-c", "fsync=off"])
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
            ])
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        self.server = Some(server.expect("postgres starts"));
    }

    fn pid(&self) -> String {
        let server = self.server.as_ref().expect("it was started");
        server.id().expect("it runs").to_string()
    }

    /// Ends the server and every connection at once.
    async fn stop(&mut self) {
        signal("QUIT", &self.pid()).await;
        let mut server = self.server.take().expect("it was started");
        server.wait().await.expect("it ends");
    }

    fn connect_options(&self) -> PgConnectOptions {
        PgConnectOptions::new()
            .host("127.0.0.1")
            .port(self.port)
            .username("postgres")
            .password(PASSWORD)
            .database("postgres")
    }

    /// Lets the server and its children run for a thirtieth of the time, until the guard is dropped.
    fn limit_cpu(&self) -> DropGuard {
        let limited = CancellationToken::new();
        let (stopped, pid) = (limited.clone(), self.pid());
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
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            // A child that the limit has stopped would never notice that its parent is gone.
            let pid = server.id().map(|pid| pid.to_string());
            let mut kill = std::process::Command::new("pkill");
            let _ = kill.args(["-KILL", "-P"]).args(pid).status();
            let _ = server.start_kill();
        }
        let _ = std::fs::remove_dir_all(&self.data_dir);
    }
}

async fn signal(name: &str, pid: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), pid])
        .status();
    assert!(sent.await.expect("kill runs").success());
}

/// Signals a server and its children, of which there may be none.
async fn signal_all(name: &str, pid: &str) {
    signal(name, pid).await;
    let sent = Command::new("pkill")
        .args([&format!("-{name}"), "-P", pid])
        .status();
    sent.await.expect("pkill runs");
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| {
        use std::os::unix::fs::MetadataExt;
        metadata.uid() == 0
    })
}

/// A program of PostgreSQL, which refuses to run as root.
fn as_postgres(program: &str) -> Command {
    let bin = std::env::var_os("POSTGRES_BIN").expect("set by `cargo dev test`");
    let program = Path::new(&bin).join(program);
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--",
        ])
        .arg(program);
    command
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
    let mut postgres = PrivatePostgres::create().await;
    postgres.start();
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

    postgres.start();
    let returned = Instant::now();
    let _limit = postgres.limit_cpu();
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
