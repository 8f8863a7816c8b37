//! Replicas beside the services of the stack.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use talktime_client::ApiClient;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::{read_variable, wait_for};

/// A gateway that a test has started; it ends when the value is dropped.
pub struct GatewayReplica {
    /// Client of this gateway.
    pub app: ApiClient,
    /// Address of health and metrics, `http://host:port`.
    pub ops_url: String,
    process: Child,
}

impl GatewayReplica {
    /// Sends SIGTERM, as Kubernetes does.
    pub async fn terminate(&self) {
        let pid = self.process.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await;
        assert!(sent.expect("kill runs").success());
    }

    /// Returns the sum of the samples of a metric whose lines contain `labels`.
    pub async fn read_metric(&self, name: &str, labels: &str) -> f64 {
        read_metric(&self.ops_url, name, labels).await
    }
}

/// Returns the sum of the samples of a metric whose lines contain `labels`. The process has this address for its operation.
pub async fn read_metric(ops_url: &str, name: &str, labels: &str) -> f64 {
    let answer = reqwest::get(format!("{ops_url}/metrics")).await;
    let text = answer.expect("metrics").text().await.expect("text");
    let lines = text
        .lines()
        .filter(|line| line.starts_with(name) && line.contains(labels));
    let values = lines.filter_map(|line| line.rsplit(' ').next());
    values.filter_map(|value| value.parse::<f64>().ok()).sum()
}

/// Starts a gateway with additional settings, such as
/// `("TALKTIME_GATEWAY__REDIS__URL", …)`, and waits until it serves.
pub async fn start_gateway(settings: &[(&str, &str)]) -> GatewayReplica {
    let replica = spawn_gateway(settings, Stdio::null());
    wait_until_ready(&replica.ops_url).await;
    replica
}

/// Starts a gateway; returns it with its log, which is complete when it has ended.
pub async fn start_logged_gateway(
    settings: &[(&str, &str)],
) -> (GatewayReplica, JoinHandle<String>) {
    let mut replica = spawn_gateway(settings, Stdio::piped());
    let mut stdout = replica.process.stdout.take().expect("it is piped");
    let log = tokio::spawn(async move {
        let mut log = String::new();
        let read = stdout.read_to_string(&mut log).await;
        read.expect("lines of text");
        log
    });
    wait_until_ready(&replica.ops_url).await;
    (replica, log)
}

fn spawn_gateway(settings: &[(&str, &str)], stdout: Stdio) -> GatewayReplica {
    let http = find_free_address();
    let listen = ("TALKTIME_GATEWAY__HTTP__LISTEN", http.as_str());
    let settings = [&[listen], settings].concat();
    let (process, ops_url) = spawn("gateway", &settings, stdout);
    GatewayReplica {
        app: ApiClient::new(&format!("http://{http}")).expect("a valid address"),
        ops_url,
        process,
    }
}

/// A service that a test has started; it ends when the value is dropped.
pub struct ServiceReplica {
    /// Address of its gRPC port, `https://host:port`.
    pub url: String,
    process: Child,
}

/// Starts an auth service with additional settings, and waits until it serves.
pub async fn start_auth(settings: &[(&str, &str)]) -> ServiceReplica {
    ServiceReplica::start("auth", settings).await
}

/// Starts a wallet with additional settings, and waits until it serves.
pub async fn start_wallet(settings: &[(&str, &str)]) -> ServiceReplica {
    ServiceReplica::start("wallet", settings).await
}

/// Starts a profile service with additional settings, and waits until it serves.
pub async fn start_profile(settings: &[(&str, &str)]) -> ServiceReplica {
    ServiceReplica::start("profile", settings).await
}

/// Starts another replica of the calls service, which gets no requests, but executes due steps. It is killed
/// (`kill -9`) when it is dropped.
pub async fn start_calls_replica() -> Child {
    start_calls_replica_with(&[]).await.process
}

/// Starts another replica of the calls service with additional settings.
pub async fn start_calls_replica_with(settings: &[(&str, &str)]) -> ServiceReplica {
    ServiceReplica::start("calls", settings).await
}

/// Starts another replica of presence with additional settings, which sweeps.
pub async fn start_presence(settings: &[(&str, &str)]) -> Child {
    ServiceReplica::start("presence", settings).await.process
}

impl ServiceReplica {
    async fn start(service: &str, settings: &[(&str, &str)]) -> Self {
        let grpc = find_free_address();
        let name = format!("TALKTIME_{}__GRPC__LISTEN", service.to_uppercase());
        let listen = (name.as_str(), grpc.as_str());
        let settings = [&[listen], settings].concat();
        let (process, ops_url) = spawn(service, &settings, Stdio::null());
        wait_until_ready(&ops_url).await;
        Self {
            url: format!("https://{grpc}"),
            process,
        }
    }
}

/// Starts a process of `service`; returns it with the address of its operations port.
fn spawn(service: &str, settings: &[(&str, &str)], stdout: Stdio) -> (Child, String) {
    let ops = find_free_address();
    let listen = format!("TALKTIME_{}__OPS__LISTEN={ops}", service.to_uppercase());
    let mut command = Command::new(read_variable("TALKTIME_DEV"));
    command.args(["--stack", "test", "run", "--env", &listen]);
    for (name, value) in settings {
        command.args(["--env", &format!("{name}={value}")]);
    }
    // The runner replaces itself with the service, so this process is the service.
    let process = command
        .args([service, "serve"])
        .stdin(Stdio::null())
        .stdout(stdout)
        .kill_on_drop(true)
        .spawn()
        .expect("the runner runs");
    (process, format!("http://{ops}"))
}

async fn wait_until_ready(ops_url: &str) {
    let url = format!("{ops_url}/readyz");
    wait_for("another process", || async {
        let answer = reqwest::get(&url).await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
}

/// First port to try, below the ports that systems assign to outgoing connections.
const PORT_FIRST: u16 = 22_000;
const PORTS: u16 = 10_000;
static PORTS_TRIED: AtomicU32 = AtomicU32::new(0);

/// Finds an address on which no process listens and that no other test of this process gets.
fn find_free_address() -> String {
    let free = (0..PORTS).find_map(|_| {
        let tried = PORTS_TRIED.fetch_add(1, Ordering::Relaxed);
        // Other suites on this machine start with other ports.
        let place = std::process::id().wrapping_add(tried) % u32::from(PORTS);
        let port = PORT_FIRST + u16::try_from(place).expect("less than PORTS");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        listener.local_addr().ok()
    });
    free.expect("a port is free").to_string()
}
