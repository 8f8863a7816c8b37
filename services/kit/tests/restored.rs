//! The command `restored` refuses to run beside a process of the platform. What it does otherwise is tested with
//! the whole platform, in `tests/faults/restore`.

use secrecy::ExposeSecret;
use sqlx::migrate::Migrator;
use talktime_kit::config::{
    DatabaseConfig, DeploymentEnvironment, GrpcPortConfig, IdentityConfig, OperationsPortConfig,
    ProcessConfig, SecretFilesConfig, ServiceConfig, ShutdownConfig, TelemetryConfig,
};
use talktime_kit::db::{DatabaseSchema, PlanCacheMode};
use talktime_kit::restored;
use talktime_kit::testing::{TestDatabase, operator_nats};

static NO_TABLES: Migrator = Migrator::DEFAULT;

const SCHEMA: DatabaseSchema = DatabaseSchema {
    name: "wallet",
    migrations: &NO_TABLES,
    plan_cache_mode: PlanCacheMode::ForceGeneric,
};

/// The settings of a service on this database and on the NATS of the stack.
fn settings(database: &TestDatabase) -> ServiceConfig {
    let listen = "127.0.0.1:0".parse().expect("an address");
    ServiceConfig {
        process: ProcessConfig {
            environment: DeploymentEnvironment::Development,
            ops: OperationsPortConfig { listen },
            identity: IdentityConfig::default(),
            secrets: SecretFilesConfig::default(),
            telemetry: TelemetryConfig::default(),
            shutdown: ShutdownConfig::default(),
            operators: Vec::new(),
        },
        grpc: GrpcPortConfig {
            listen,
            require_user_tokens: true,
        },
        database: DatabaseConfig {
            owner_url: database.owner_url.expose_secret().into(),
            app_url: database.app_url.expose_secret().into(),
            max_connections: 2,
            session_url: None,
            read_url: None,
            read_max_connections: 1,
        },
        nats: operator_nats(std::env::var("NATS_URL").expect("set by `cargo dev test`")),
    }
}

#[tokio::test]
async fn a_service_with_a_session_in_the_database_stops_the_command() {
    let database = TestDatabase::new(SCHEMA).await;
    let _session = database.connect().await;
    let refused = restored::make_safe(SCHEMA, &settings(&database)).await;
    let refusal = refused.expect_err("a session is open").to_string();
    assert!(
        refusal.starts_with("wallet_app still use this database"),
        "{refusal}"
    );
}

/// The services of the test stack run beside this test.
#[tokio::test]
async fn a_process_that_reads_the_stream_stops_the_command() {
    let database = TestDatabase::new(SCHEMA).await;
    let settings = settings(&database);
    // Its pool has sessions of the app role, too.
    drop(database);
    let refused = restored::make_safe(SCHEMA, &settings).await;
    let refusal = refused.expect_err("services run").to_string();
    assert!(
        refusal.starts_with("events are still consumed by") && refusal.contains("wallet-profile"),
        "{refusal}"
    );
}
