//! The addresses of the stack, which `cargo dev bench` sets in the environment.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use talktime_client::StoreAddress;
use talktime_kit::config::IdentityConfig;
use talktime_kit::identity::WorkloadIdentity;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::testing::{TestTokens, request_with_token, stack_tokens};
use talktime_proto::access::v1::Workload;
use tokio::process::Command;
use tokio::sync::OnceCell;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

/// Connections for preparation and checks, which are not measured.
const CONNECTIONS_MAX: u32 = 4;

/// The key with which auth of the stack signs tokens.
static TOKENS: OnceCell<TestTokens> = OnceCell::const_new();

/// The stack under measurement.
pub(crate) struct BenchStack {
    /// Address of the gateway, `http://host:port`.
    pub(crate) gateway_url: String,
    /// Address of the database for the superuser.
    pub(crate) database_url: String,
    /// Address of Redis, from which one-time passwords are read.
    pub(crate) redis: StoreAddress,
    /// Path of pgbench.
    pub(crate) pgbench: String,
    /// Folder of the identities of the stack's processes.
    identities_dir: PathBuf,
}

impl BenchStack {
    pub(crate) async fn from_env() -> anyhow::Result<Self> {
        TOKENS.get_or_init(stack_tokens).await;
        Self::from_variables("")
    }

    /// Returns the second stack of a measurement, whose processes talk in clear.
    pub(crate) fn plaintext_from_env() -> anyhow::Result<Self> {
        Self::from_variables("PLAINTEXT_")
    }

    fn from_variables(prefix: &str) -> anyhow::Result<Self> {
        let read = |name: &str| read_variable(&format!("{prefix}{name}"));
        Ok(Self {
            gateway_url: read("GATEWAY_URL")?,
            database_url: read("DATABASE_URL")?,
            redis: StoreAddress::from_variables(&format!("{prefix}REDIS"))?,
            pgbench: read_variable("PGBENCH")?,
            identities_dir: read("IDENTITIES_DIR")?.into(),
        })
    }

    /// Connects to the gRPC port of a service, as another process of the platform.
    pub(crate) async fn connect_grpc(
        &self,
        caller: Workload,
        peer: Workload,
    ) -> anyhow::Result<Channel> {
        let url = read_variable(&format!("{}_GRPC_URL", peer.name().to_uppercase()))?;
        let folder = self.identities_dir.join(caller.name());
        let identity =
            WorkloadIdentity::load(&IdentityConfig { folder }, &ProcessLifecycle::default())?;
        let endpoint = Endpoint::from_shared(url)?.tcp_nodelay(true);
        let endpoint = endpoint.tls_config(identity.client_tls(peer))?;
        endpoint.connect().await.context(peer.name())
    }

    /// Connects to the database.
    pub(crate) async fn connect_database(&self) -> anyhow::Result<PgPool> {
        let options = PgPoolOptions::new().max_connections(CONNECTIONS_MAX);
        Ok(options.connect(&self.database_url).await?)
    }
}

/// Returns a request for a user who need not have logged in, with a token as the gateway would send it.
pub(crate) fn request_of<T>(user_id: i64, message: T) -> Request<T> {
    let tokens = TOKENS
        .get()
        .expect("loaded with the addresses of the stack");
    request_with_token(&tokens.sign_for(user_id), message)
}

/// Starts a second gateway, for measurements of what passes between two.
pub(crate) async fn start_second_gateway() -> anyhow::Result<()> {
    run_command("start", "gateway-2").await
}

/// Stops a process and starts it again.
pub(crate) async fn restart(process: &str) -> anyhow::Result<()> {
    run_command("stop", process).await?;
    run_command("start", process).await
}

/// Runs a command of the runner for a process of the stack.
async fn run_command(command: &str, process: &str) -> anyhow::Result<()> {
    let done = Command::new(read_variable("TALKTIME_DEV")?)
        .args(["--stack", "bench", command, process])
        .status()
        .await
        .context("cannot run the runner")?;
    ensure!(done.success(), "{command} {process} failed");
    Ok(())
}

/// Verifies the books of the wallet as an operator does, and fails if they are wrong.
pub(crate) async fn verify_books() -> anyhow::Result<()> {
    let verified = Command::new(read_variable("TALKTIME_DEV")?)
        .args(["--stack", "bench", "run", "wallet", "verify"])
        .status()
        .await
        .context("cannot run the runner")?;
    ensure!(verified.success(), "the books are wrong");
    Ok(())
}

pub(crate) fn read_variable(name: &str) -> anyhow::Result<String> {
    env::var(name).with_context(|| format!("{name} is not set: run `cargo dev bench`"))
}
