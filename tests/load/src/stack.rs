//! Where everything of the stack is, as `cargo dev bench` says in the environment.

use std::env;

use anyhow::Context;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tonic::transport::{Channel, Endpoint};

/// Connections for setting up and looking at tables; nothing measured goes through them.
const CONNECTIONS_MAX: u32 = 4;

/// The stack under measurement.
pub(crate) struct Stack {
    /// `http://host:port`
    pub(crate) gateway_url: String,
    /// As the superuser.
    pub(crate) database_url: String,
    /// One-time passwords are read there.
    pub(crate) redis_url: String,
    /// The program.
    pub(crate) pgbench: String,
}

impl Stack {
    pub(crate) fn from_env() -> anyhow::Result<Self> {
        Ok(Self {
            gateway_url: variable("GATEWAY_URL")?,
            database_url: variable("DATABASE_URL")?,
            redis_url: variable("REDIS_URL")?,
            pgbench: variable("PGBENCH")?,
        })
    }

    /// A connection to a service's gRPC port, as another service has one.
    pub(crate) async fn grpc(&self, service: &str) -> anyhow::Result<Channel> {
        let url = variable(&format!("{}_GRPC_URL", service.to_uppercase()))?;
        let endpoint = Endpoint::from_shared(url)?.tcp_nodelay(true);
        endpoint.connect().await.with_context(|| service.to_owned())
    }

    /// The database.
    pub(crate) async fn database(&self) -> anyhow::Result<PgPool> {
        let options = PgPoolOptions::new().max_connections(CONNECTIONS_MAX);
        Ok(options.connect(&self.database_url).await?)
    }
}

pub(crate) fn variable(name: &str) -> anyhow::Result<String> {
    env::var(name).with_context(|| format!("{name} is not set: run `cargo dev bench`"))
}
