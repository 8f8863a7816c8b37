//! A Postgres server of one test's own.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sqlx::postgres::PgConnectOptions;
use tokio::process::{Child, Command};
use uuid::Uuid;

use super::find_free_port;
use crate::config::IdentityConfig;

const PASSWORD: &str = "private";
/// A test is never interested in what a power failure would leave.
const NO_SYNC: [&str; 4] = ["-c", "fsync=off", "-c", "unix_socket_directories="];

/// A server with a folder and a port of its own. It ends, and its folder is removed, when the value is dropped.
pub struct PrivatePostgres {
    data_dir: PathBuf,
    port: u16,
    server: Option<Child>,
}

impl PrivatePostgres {
    /// Creates a cluster whose clients log in by this method of `pg_hba.conf`.
    pub async fn create(auth_method: &str) -> Self {
        let postgres = Self::without_cluster().await;
        let password_file = postgres.data_dir.with_extension("password");
        std::fs::write(&password_file, PASSWORD).expect("written");
        hand_to_postgres(&password_file).await;
        let initdb = as_postgres("initdb")
            .arg("-D")
            .arg(&postgres.data_dir)
            .arg("--pwfile")
            .arg(&password_file)
            .arg(format!("--auth={auth_method}"))
            .args(["--username=postgres", "--no-sync"])
            .stdout(Stdio::null())
            .status();
        assert!(initdb.await.expect("initdb runs").success());
        std::fs::remove_file(&password_file).expect("removed");
        postgres
    }

    /// Creates an empty folder, for a cluster that comes from elsewhere.
    pub async fn without_cluster() -> Self {
        let data_dir = std::env::temp_dir().join(format!("talktime-{}", Uuid::now_v7()));
        std::fs::create_dir_all(&data_dir).expect("a folder");
        hand_to_postgres(&data_dir).await;
        Self {
            data_dir,
            port: find_free_port(),
            server: None,
        }
    }

    /// Copies the cluster of this server, which runs, into one that will follow it as a standby.
    pub async fn create_standby(&self) -> Self {
        let standby = Self::without_cluster().await;
        // The program creates the folder with the rights that the server wants.
        std::fs::remove_dir(&standby.data_dir).expect("removed");
        let copied = self
            .client("pg_basebackup")
            .args([
                "--checkpoint=fast",
                "--no-sync",
                "--write-recovery-conf",
                "-D",
            ])
            .arg(&standby.data_dir)
            .status();
        assert!(copied.await.expect("pg_basebackup runs").success());
        standby
    }

    /// Gives the server the certificate of an identity, for the setting `ssl=on`. A server that runs reads it on `HUP`.
    pub async fn install_certificate(&self, identity: &IdentityConfig) {
        for (issued, installed) in [("tls.crt", "server.crt"), ("tls.key", "server.key")] {
            let file = self.data_dir.join(installed);
            std::fs::copy(identity.folder.join(issued), &file).expect("copied");
            // The server refuses a key that others may read.
            let mode = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(&file, mode).expect("restricted");
            hand_to_postgres(&file).await;
        }
    }

    /// Starts the server with these settings, each `name=value`. Does not wait until it answers.
    pub fn start(&mut self, settings: &[String]) {
        let mut command = as_postgres("postgres");
        command.arg("-D").arg(&self.data_dir).args(NO_SYNC);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c"]);
        command.arg(format!("port={}", self.port));
        for setting in settings {
            command.args(["-c", setting]);
        }
        let server = command
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        self.server = Some(server.expect("postgres starts"));
    }

    /// Ends the server and every connection at once.
    pub async fn stop(&mut self) {
        send_signal("QUIT", &self.pid()).await;
        let mut server = self.server.take().expect("it was started");
        server.wait().await.expect("it ends");
    }

    /// The process of the server, which was started.
    pub fn pid(&self) -> String {
        let server = self.server.as_ref().expect("it was started");
        server.id().expect("it runs").to_string()
    }

    /// The port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the cluster, which belongs to the user that the server runs as.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// A login of the superuser to the database `postgres`.
    pub fn connect_options(&self) -> PgConnectOptions {
        PgConnectOptions::new()
            .host("127.0.0.1")
            .port(self.port)
            .username("postgres")
            .password(PASSWORD)
            .database("postgres")
    }

    /// A program of PostgreSQL that connects to this server as the superuser.
    pub fn client(&self, program: &str) -> Command {
        let mut command = as_postgres(program);
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres")
            .env("PGPASSWORD", PASSWORD)
            .current_dir("/");
        command
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            // A child that is stopped would never notice that its parent is gone.
            let pid = server.id().map(|pid| pid.to_string());
            let mut kill = std::process::Command::new("pkill");
            let _ = kill.args(["-KILL", "-P"]).args(pid).status();
            let _ = server.start_kill();
        }
        let _ = std::fs::remove_dir_all(&self.data_dir);
    }
}

/// Sends a signal, such as `STOP`, to a process.
pub async fn send_signal(name: &str, pid: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), pid])
        .status();
    assert!(sent.await.expect("kill runs").success());
}

/// Sends a signal to a process and its children, of which there may be none.
pub async fn signal_all(name: &str, pid: &str) {
    send_signal(name, pid).await;
    let sent = Command::new("pkill")
        .args([&format!("-{name}"), "-P", pid])
        .status();
    sent.await.expect("pkill runs");
}

/// A program of PostgreSQL or of the system, as a user that is not root: the server refuses to run as root.
pub fn as_postgres(program: &str) -> Command {
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

async fn hand_to_postgres(path: &Path) {
    if is_root() {
        let chown = Command::new("chown")
            .arg("-R")
            .arg("postgres:postgres")
            .arg(path)
            .status();
        assert!(chown.await.expect("chown runs").success());
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}
