//! The addresses of the stack, which `cargo dev bench` sets in the environment.

use std::env;

use anyhow::Context;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tonic::transport::{Channel, Endpoint};

/// Connections for preparation and checks, which are not measured.
const CONNECTIONS_MAX: u32 = 4;

/// The stack under measurement.
pub(crate) struct BenchStack {
    /// Address of the gateway, `http://host:port`.
    pub(crate) gateway_url: String,
    /// Address of the database for the superuser.
    pub(crate) database_url: String,
    /// Address of Redis, from which one-time passwords are read.
    pub(crate) redis_url: String,
    /// Path of pgbench.
    pub(crate) pgbench: String,
}

impl BenchStack {
    pub(crate) fn from_env() -> anyhow::Result<Self> {
        Ok(Self {
            gateway_url: read_variable("GATEWAY_URL")?,
            database_url: read_variable("DATABASE_URL")?,
            redis_url: read_variable("REDIS_URL")?,
            pgbench: read_variable("PGBENCH")?,
        })
    }

    /// Connects to the gRPC port of a service.
    pub(crate) async fn connect_grpc(&self, service: &str) -> anyhow::Result<Channel> {
        let url = read_variable(&format!("{}_GRPC_URL", service.to_uppercase()))?;
        let endpoint = Endpoint::from_shared(url)?.tcp_nodelay(true);
        endpoint.connect().await.with_context(|| service.to_owned())
    }

    /// Connects to the database.
    pub(crate) async fn connect_database(&self) -> anyhow::Result<PgPool> {
        let options = PgPoolOptions::new().max_connections(CONNECTIONS_MAX);
        Ok(options.connect(&self.database_url).await?)
    }
}

pub(crate) fn read_variable(name: &str) -> anyhow::Result<String> {
    env::var(name).with_context(|| format!("{name} is not set: run `cargo dev bench`"))
}
