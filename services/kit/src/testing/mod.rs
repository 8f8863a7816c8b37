//! Helpers that tests of several crates share: databases of their own, each created from the bootstrapped template in a
//! tenth of a second, servers of their own, waiting for states, and a proxy that stops forwarding.

mod attestations;
mod identities;
mod private_postgres;
mod private_stores;
mod proxy;
mod store_streams;
mod tokens;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::config::{NatsConfig, RedisConfig};
use crate::db::{self, DatabasePool, DatabaseSchema, PgConnection};

pub use attestations::TestAttestationKey;
pub use identities::{TestAuthority, replace_trust, stack_identity, stack_peers};
pub use private_postgres::{PrivatePostgres, as_postgres, send_signal, signal_all};
pub use private_stores::{PrivateNats, PrivateRedis};
pub use proxy::SilentProxy;
pub use store_streams::{TlsStream, secure_stream};
pub use tokens::{TestTokens, request_with_token, stack_tokens};

/// Connections of one test to its database.
const CONNECTIONS_MAX: u32 = 10;

/// A new database with one schema. It is removed with the test stack.
pub struct TestDatabase {
    /// The connections of the app role, as the service uses them.
    pub app: DatabasePool,
    /// A plain pool of the app role, for reading and writing rows directly.
    pub app_pool: PgPool,
    /// A pool of the superuser, for causing failures.
    pub superuser: PgPool,
    /// URL of the role that owns the schema.
    pub owner_url: SecretString,
    /// URL of the app role.
    pub app_url: SecretString,
    /// The connections of the role that owns the schema, as commands of operators use them.
    pub owner: DatabasePool,
    app_options: PgConnectOptions,
}

impl TestDatabase {
    /// Creates a database for one test and migrates its schema. Needs the variables of `cargo dev env`, which
    /// `cargo dev test` sets.
    pub async fn new(schema: DatabaseSchema) -> Self {
        let database = Self::without_tables(schema).await;
        db::migrate(schema, &database.owner_url)
            .await
            .expect("migrations apply");
        database
    }

    /// Creates a database with an empty schema.
    pub async fn without_tables(schema: DatabaseSchema) -> Self {
        let admin = options("DATABASE_URL");
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        create_database(&admin, &name, &variable("TEMPLATE_DATABASE")).await;

        let service = schema.name.to_uppercase();
        let owner_url = variable(&format!("{service}_OWNER_DATABASE_URL"));
        let owner: PgConnectOptions = owner_url.parse().expect("a URL of Postgres");
        let app_url = variable(&format!("{service}_APP_DATABASE_URL"));
        let app: PgConnectOptions = app_url.parse().expect("a URL of Postgres");
        let pool = |options: PgConnectOptions| {
            PgPoolOptions::new().connect_lazy_with(options.database(&name))
        };
        Self {
            app: DatabasePool::connect_lazily(app.clone().database(&name), CONNECTIONS_MAX),
            app_options: app.clone().database(&name),
            app_pool: pool(app),
            superuser: pool(admin),
            owner_url: replace_database(&owner_url, &name).into(),
            app_url: replace_database(&app_url, &name).into(),
            owner: DatabasePool::connect_lazily(owner.database(&name), CONNECTIONS_MAX),
        }
    }

    /// Returns how the app role connects.
    pub fn app_options(&self) -> PgConnectOptions {
        self.app_options.clone()
    }

    /// Opens a connection of the app role on which single statements may write, too.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::open(&self.app_options)
            .await
            .expect("the test stack is up")
    }
}

/// Replaces the database in a URL of Postgres. Its settings cannot be written as a URL again: sqlx would lose the path of the
/// authority.
fn replace_database(url: &str, name: &str) -> String {
    let (address, query) = url.split_once('?').expect("the URL has settings of TLS");
    let (server, _) = address.rsplit_once('/').expect("the URL has a database");
    format!("{server}/{name}?{query}")
}

/// Returns the settings of the operator of NATS at the address that `cargo dev env` prints, which has the password.
pub fn operator_nats(url: String) -> NatsConfig {
    let login = url
        .split("://")
        .nth(1)
        .and_then(|rest| rest.split_once('@'));
    let password = login.and_then(|(login, _)| login.split_once(':'));
    // A server of a test's own wants no password.
    let password = password.map_or("none", |(_, password)| password).into();
    NatsConfig {
        url,
        ca_file: store_authority("NATS_CA_FILE"),
        password,
    }
}

/// Returns the settings of Redis at the address that `cargo dev env` prints, which has the user and the password.
pub fn stack_redis(url: String) -> RedisConfig {
    RedisConfig {
        url: url.into(),
        ca_file: store_authority("REDIS_CA_FILE"),
    }
}

/// Returns the file with the authority of a store of the stack. A stack whose stores are not encrypted has none.
fn store_authority(variable_name: &str) -> Option<PathBuf> {
    std::env::var_os(variable_name).map(Into::into)
}

/// The time that [`wait_until`] waits.
pub const WAIT_MAX: Duration = Duration::from_secs(40);

/// Waits for a state, up to [`WAIT_MAX`].
pub async fn wait_until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(WAIT_MAX, wait).await;
    assert!(waited.is_ok(), "still waiting: {what}");
}

/// Returns a name that no other test uses.
pub fn unique_name(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::now_v7().simple())
}

/// Returns a port of the loopback interface that nobody listens on at this moment.
fn find_free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

async fn create_database(admin: &PgConnectOptions, name: &str, template: &str) {
    let mut connection = PgConnection::open(admin)
        .await
        .expect("the test stack is up");
    // Templates are copied one at a time, since Postgres refuses a second session in a template.
    sqlx::query("SELECT pg_advisory_lock(hashtext($1))")
        .bind(template)
        .execute(&mut connection)
        .await
        .expect("lock");
    let statement = format!("CREATE DATABASE {name} TEMPLATE {template}");
    sqlx::query(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await
        .expect("create database");
    connection.close().await.expect("close");
}

fn options(variable_name: &str) -> PgConnectOptions {
    variable(variable_name).parse().expect("a Postgres URL")
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo dev test`"))
}
