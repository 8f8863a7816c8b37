//! A relay as production starts it with `deploy/turn/start`: over TLS, and with both secrets of a rotation. And
//! `deploy/turn/drain`, which waits for the sessions of a relay.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use talktime_tests::{read_variable, wait_for};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::relay::{LIFE_SECS, RelayCredential, sign_credential_with};

/// Ports of the relay between its own sessions.
const RELAY_PORTS: u16 = 20;
/// Longest run of a client that exchanges a few packets.
const CLIENT_MAX: Duration = Duration::from_secs(20);
/// Interval in which the script looks at the sessions again.
const DRAIN_LOOKS_EVERY: Duration = Duration::from_secs(5);

fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("a folder").to_owned()
}

/// A relay of a test, which ends with it.
struct TestRelay {
    folder: TempDir,
    port: u16,
    tls_port: u16,
    relay_port_min: u16,
    _process: Child,
}

impl TestRelay {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in [
            ("secret", "new"),
            ("previous", "old"),
            ("password", "console"),
        ] {
            std::fs::write(folder.path().join(name), content).expect("written");
        }
        issue_certificate(folder.path()).await;
        let [port, tls_port, console_port] = free_ports();
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let relay_port_min = socket.local_addr().expect("bound").port();
        drop(socket);
        let redis_url = read_variable("COTURN_REDIS_URL");
        let (_, redis_port) = redis_url.rsplit_once(':').expect("a port");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let settings = [
            ("REALM", "relay-start.test".to_owned()),
            ("PORT", port.to_string()),
            ("TLS_PORT", tls_port.to_string()),
            ("RELAY_PORT_MIN", relay_port_min.to_string()),
            (
                "RELAY_PORT_MAX",
                relay_port_min.saturating_add(RELAY_PORTS).to_string(),
            ),
            ("IPS", "127.0.0.1".to_owned()),
            ("LOOPBACK", "1".to_owned()),
            ("SESSIONS_MAX", RELAY_PORTS.to_string()),
            ("SECRET_FILE", path("secret")),
            ("PREVIOUS_SECRET_FILE", path("previous")),
            ("CONSOLE_PORT", console_port.to_string()),
            ("CONSOLE_PASSWORD_FILE", path("password")),
            ("TLS_CERT_FILE", path("cert.pem")),
            ("TLS_KEY_FILE", path("key.pem")),
            ("REDIS_PORT", redis_port.to_owned()),
            ("RUN_DIR", path("run")),
        ];
        let settings = settings.map(|(name, value)| (format!("TURN_{name}"), value));
        let process = Command::new(repository().join("deploy/turn/start"))
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the relay starts");
        wait_for("the relay", || async {
            let connected = tokio::net::TcpStream::connect(("127.0.0.1", tls_port)).await;
            connected.ok()
        })
        .await;
        Self {
            folder,
            port,
            tls_port,
            relay_port_min,
            _process: process,
        }
    }

    /// Returns two clients that send each other packets, over TLS or UDP.
    fn client(&self, credential: &RelayCredential, packets: &str, over_tls: bool) -> Command {
        let port = if over_tls { self.tls_port } else { self.port };
        let mut command = Command::new("turnutils_uclient");
        command
            .args(["-c", "-y", "-m", "2", "-l", "160", "-n", packets])
            .args(["-u", &credential.username, "-w", &credential.password])
            .args(["-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        if over_tls {
            let path = |name: &str| self.folder.path().join(name);
            command.args(["-t", "-S", "-i"]).arg(path("cert.pem"));
            command.arg("-k").arg(path("key.pem"));
        }
        command.arg("127.0.0.1");
        command
    }

    /// Whether clients exchange a few packets with a credential of this secret.
    async fn accepts(&self, secret: &str, over_tls: bool) -> bool {
        let credential = sign_credential_with(secret, 1, LIFE_SECS);
        let mut client = self.client(&credential, "5", over_tls);
        let ended = tokio::time::timeout(CLIENT_MAX, client.status()).await;
        ended.expect("it ends").expect("it runs").success()
    }

    /// Runs the script that waits for the sessions, up to `secs`; returns how long it took.
    async fn drain(&self, secs: u64) -> Duration {
        let begun = Instant::now();
        let port_max = self.relay_port_min.saturating_add(RELAY_PORTS);
        let drained = Command::new(repository().join("deploy/turn/drain"))
            .env("TURN_RELAY_PORT_MIN", self.relay_port_min.to_string())
            .env("TURN_RELAY_PORT_MAX", port_max.to_string())
            .env("TURN_DRAIN_SECS", secs.to_string())
            .status()
            .await;
        assert!(drained.expect("it runs").success());
        begun.elapsed()
    }
}

async fn issue_certificate(folder: &Path) {
    let issued = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ])
        .current_dir(folder)
        .stderr(Stdio::null())
        .status()
        .await;
    assert!(issued.expect("openssl runs").success());
}

fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("bound").port())
}

#[tokio::test]
async fn a_relay_serves_tls_and_both_secrets_of_a_rotation() {
    let relay = TestRelay::start().await;
    for over_tls in [false, true] {
        assert!(relay.accepts("new", over_tls).await, "TLS: {over_tls}");
        assert!(relay.accepts("old", over_tls).await, "TLS: {over_tls}");
        assert!(!relay.accepts("older", over_tls).await, "TLS: {over_tls}");
    }
}

#[tokio::test]
async fn a_drain_waits_for_the_sessions_of_a_relay() {
    let relay = TestRelay::start().await;
    assert!(relay.drain(60).await < DRAIN_LOOKS_EVERY, "nobody is there");
    let credential = sign_credential_with("new", 1, LIFE_SECS);
    let mut client = relay.client(&credential, "100000", false);
    let _traffic = client.spawn().expect("it runs");
    wait_for("a session", || async {
        let took = relay.drain(DRAIN_LOOKS_EVERY.as_secs()).await;
        (took >= DRAIN_LOOKS_EVERY).then_some(())
    })
    .await;
}
