//! Configuration: a service's defaults, then an optional TOML file (`TALKTIME_CONFIG`, one table a
//! service), then files with secrets (`SECRETS__FOLDERS`), then the environment:
//! `TALKTIME_WALLET__DATABASE__APP_URL` is `database.app_url` of the wallet. A variable without a default must be set; the
//! error names every missing one.

use std::net::SocketAddr;
use std::path::PathBuf;

use figment::Figment;
use figment::error::Kind as FigmentKind;
use figment::providers::{Env, Format, Toml};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::db::verifies_server;
pub use crate::environment::DeploymentEnvironment;
use crate::grpc::transport::IS_PLAINTEXT;
use crate::secret_files;
pub use crate::store_config::{NatsConfig, RedisConfig};

/// Settings of every process with an operations port.
#[derive(Clone, Debug, Deserialize)]
pub struct ProcessConfig {
    /// The environment of this process.
    pub environment: DeploymentEnvironment,
    /// The operations port.
    pub ops: OperationsPortConfig,
    /// The certificate that names this process to others.
    #[serde(default)]
    pub identity: IdentityConfig,
    /// Files with secrets.
    #[serde(default)]
    pub secrets: SecretFilesConfig,
    /// Logs and traces.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
    /// How long a stop may take.
    #[serde(default)]
    pub shutdown: ShutdownConfig,
    /// The people who may run commands that change something, by name. In development an empty list is everybody.
    #[serde(default)]
    pub operators: Vec<String>,
}

/// Settings of every gRPC service.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// Settings of every process.
    pub process: ProcessConfig,
    /// The gRPC port.
    pub grpc: GrpcPortConfig,
    /// The database and the schema of the service.
    pub database: DatabaseConfig,
    /// The NATS servers, which carry events.
    pub nats: NatsConfig,
}

/// The settings of [`ServiceConfig`] beyond [`ProcessConfig`].
#[derive(Deserialize)]
struct ServiceOnlyConfig {
    grpc: GrpcPortConfig,
    database: DatabaseConfig,
    nats: NatsConfig,
}

/// The port of health, readiness and metrics.
#[derive(Clone, Debug, Deserialize)]
pub struct OperationsPortConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
}

/// The identity of a process on connections between services: a folder with PEM files, which are read again when
/// they change. `tls.crt` holds the certificate, `tls.key` its private key, and `ca.crt` the trusted authorities.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct IdentityConfig {
    /// The folder with the three files.
    pub folder: PathBuf,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        let folder = PathBuf::from("/etc/talktime/identity");
        Self { folder }
    }
}

/// Settings that are read from files, because they are secret.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SecretFilesConfig {
    /// Folders whose files are settings: the name of each is that of a variable without its prefix, such as
    /// `DATABASE__APP_URL`. A later folder wins over an earlier one, a variable wins over both, and folders that do not
    /// exist are skipped.
    pub folders: Vec<PathBuf>,
}

/// The gRPC port.
#[derive(Clone, Debug, Deserialize)]
pub struct GrpcPortConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Whether requests that act for a user are refused if they carry no access token. Only for the release with which
    /// tokens begin to travel, as long as gateways from before it run.
    #[serde(default = "default_require_user_tokens")]
    pub require_user_tokens: bool,
}

const fn default_require_user_tokens() -> bool {
    true
}

/// Database access with two roles: the owner migrates the schema, the app reads and writes rows.
#[derive(Clone, Debug, Deserialize)]
pub struct DatabaseConfig {
    /// URL of the role that owns the schema; used by `migrate` and by commands of operators. Processes that serve have
    /// none.
    #[serde(default = "no_owner_url")]
    pub owner_url: SecretString,
    /// URL of the role that reads and writes rows.
    pub app_url: SecretString,
    /// Greatest number of connections of one replica.
    #[serde(default = "default_max_connections")]
    pub max_connections: u32,
    /// URL of the same role for sessions that last, such as leases, if `app_url` leads to a pooler that gives each
    /// transaction another session.
    #[serde(default)]
    pub session_url: Option<SecretString>,
    /// URL of the same role at standbys, which then answer the reads that may lag.
    #[serde(default)]
    pub read_url: Option<SecretString>,
    /// Greatest number of connections of one replica to standbys.
    #[serde(default = "default_read_max_connections")]
    pub read_max_connections: u32,
}

impl DatabaseConfig {
    /// The addresses that are set, with the ends of their variables.
    fn urls(&self) -> impl Iterator<Item = (&'static str, &SecretString)> {
        let optional = [
            ("SESSION_URL", self.session_url.as_ref()),
            ("READ_URL", self.read_url.as_ref()),
        ];
        let optional = optional
            .into_iter()
            .filter_map(|(name, url)| Some((name, url?)));
        [("OWNER_URL", &self.owner_url), ("APP_URL", &self.app_url)]
            .into_iter()
            .chain(optional)
    }
}

/// No address of a database, so that whatever needs one fails.
fn no_owner_url() -> SecretString {
    "not-set".into()
}

const fn default_max_connections() -> u32 {
    16
}

const fn default_read_max_connections() -> u32 {
    4
}

/// Logs and traces.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct TelemetryConfig {
    /// A `tracing` filter, such as `info` or `talktime_wallet=debug,info`.
    pub log: String,
    /// An OTLP gRPC endpoint for traces. Without one, traces have ids in the log and for peers, and are not exported.
    pub otlp_endpoint: Option<String>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log: "info".to_owned(),
            otlp_endpoint: None,
        }
    }
}

/// How long a stop may take.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct ShutdownConfig {
    /// Milliseconds between "not ready" and the first refused connection, in which load balancers notice.
    pub drain_delay_ms: u64,
    /// Milliseconds in which requests and jobs under way must finish; shorter than the grace period of
    /// Kubernetes.
    pub deadline_ms: u64,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self {
            drain_delay_ms: 0,
            deadline_ms: 10_000,
        }
    }
}

/// The configuration could not be read; the text names the variables and the reasons.
#[derive(Debug, thiserror::Error)]
#[error("configuration of {service}: {}", problems.join("; "))]
pub struct ConfigError {
    service: String,
    problems: Vec<String>,
}

impl ConfigError {
    fn new(service: &str, problems: Vec<String>) -> Self {
        Self {
            service: service.to_owned(),
            problems,
        }
    }
}

/// Reads the settings of every service, and the settings `T` of this one.
///
/// # Errors
/// A variable without a default is not set, or a value has the wrong type.
pub fn load<T: DeserializeOwned>(service: &str) -> Result<(ServiceConfig, T), ConfigError> {
    let figment = figment(service)?;
    let (process, own) = extract_process(service, &figment)?;
    let ServiceOnlyConfig {
        grpc,
        database,
        nats,
    } = extract(service, &figment)?;
    check_encryption(service, process.environment, &database, &nats)?;
    Ok((
        ServiceConfig {
            process,
            grpc,
            database,
            nats,
        },
        own,
    ))
}

/// Reads the settings of a process without a database and gRPC port, such as the gateway.
///
/// # Errors
/// A variable without a default is not set, or a value has the wrong type.
pub fn load_process<T: DeserializeOwned>(service: &str) -> Result<(ProcessConfig, T), ConfigError> {
    extract_process(service, &figment(service)?)
}

fn extract_process<T: DeserializeOwned>(
    service: &str,
    figment: &Figment,
) -> Result<(ProcessConfig, T), ConfigError> {
    let process: ProcessConfig = extract(service, figment)?;
    check_program(service, process.environment)?;
    Ok((process, extract(service, figment)?))
}

/// Refuses to run a program that talks in clear, as a measurement does, outside of development.
fn check_program(service: &str, environment: DeploymentEnvironment) -> Result<(), ConfigError> {
    if !(IS_PLAINTEXT && environment.requires_encryption()) {
        return Ok(());
    }
    let problem =
        "the program was built with the feature `plaintext`, which only development permits";
    Err(ConfigError::new(service, vec![problem.to_owned()]))
}

/// Refuses addresses of Postgres and NATS over which passwords, rows and events could be read, or another server could
/// answer.
fn check_encryption(
    service: &str,
    environment: DeploymentEnvironment,
    database: &DatabaseConfig,
    nats: &NatsConfig,
) -> Result<(), ConfigError> {
    let unverified = database
        .urls()
        .filter(|(_, url)| !verifies_server(url.expose_secret()));
    let unverified = unverified.map(|(name, _)| {
        let variable = prefix(service) + "DATABASE__" + name;
        format!("{variable} needs sslmode=verify-full and sslrootcert outside of development")
    });
    let nats = nats.check(environment, &(prefix(service) + "NATS__URL"));
    let in_clear = nats.err().map(|error| error.to_string());
    let problems: Vec<String> = unverified.chain(in_clear).collect();
    if problems.is_empty() || !environment.requires_encryption() {
        return Ok(());
    }
    Err(ConfigError::new(service, problems))
}

fn figment(service: &str) -> Result<Figment, ConfigError> {
    let mut file = Figment::new();
    if let Some(path) = std::env::var_os("TALKTIME_CONFIG") {
        file = file.merge(Toml::file_exact(path)).focus(service);
    }
    let environment = Env::prefixed(&prefix(service)).split("__");
    let folders = file.clone().merge(&environment);
    // A wrong type is reported with all other settings.
    let folders: Vec<PathBuf> = folders.extract_inner("secrets.folders").unwrap_or_default();
    let merged = secret_files::merge_folders(file, &folders);
    let settings = merged.map_err(|error| {
        let problem = format!("{}SECRETS__FOLDERS: {error:#}", prefix(service));
        ConfigError::new(service, vec![problem])
    })?;
    Ok(settings.merge(environment))
}

fn prefix(service: &str) -> String {
    format!("TALKTIME_{}__", service.to_uppercase())
}

fn extract<T: DeserializeOwned>(service: &str, figment: &Figment) -> Result<T, ConfigError> {
    figment.extract().map_err(|errors| {
        let problems = errors.into_iter().map(|error| problem(service, &error));
        ConfigError::new(service, problems.collect())
    })
}

fn problem(service: &str, error: &figment::Error) -> String {
    let variable = |path: &[String]| prefix(service) + &path.join("__").to_uppercase();
    match &error.kind {
        FigmentKind::MissingField(field) => {
            let mut path = error.path.clone();
            path.push(field.to_string());
            format!("{} is not set", variable(&path))
        }
        kind => format!("{}: {kind}", variable(&error.path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct OwnSettings {
        #[serde(default)]
        minute_secs: u32,
        database: DatabaseConfig,
    }

    fn figment_of(toml: &str) -> Figment {
        Figment::from(Toml::string(toml))
    }

    #[test]
    fn a_missing_secret_is_named_by_its_variable() {
        let figment = figment_of("[database]\nowner_url = \"postgres://o\"");
        let error = extract::<OwnSettings>("wallet", &figment).expect_err("app_url is missing");
        assert_eq!(
            error.to_string(),
            "configuration of wallet: TALKTIME_WALLET__DATABASE__APP_URL is not set"
        );
    }

    #[test]
    fn defaults_apply_to_variables_that_are_not_set() {
        let figment = figment_of("[database]\nowner_url = \"a\"\napp_url = \"b\"");
        let own = extract::<OwnSettings>("wallet", &figment).expect("complete");
        assert_eq!(own.minute_secs, 0);
        assert_eq!(own.database.max_connections, default_max_connections());
        assert!(own.database.read_url.is_none());
    }

    #[test]
    fn only_development_reaches_a_database_without_verifying_it() {
        let verified = "postgres://a@db/t?sslmode=verify-full&sslrootcert=/etc/ca.crt";
        let database = |read_url: &str| DatabaseConfig {
            // The processes that do not migrate have no URL here.
            owner_url: "only-for-migrations".into(),
            app_url: verified.into(),
            max_connections: 1,
            session_url: Some(verified.into()),
            read_url: Some(read_url.into()),
            read_max_connections: 1,
        };
        let check = |environment, url: &str| {
            let nats = nats_at("tls://nats:4222");
            check_encryption("calls", environment, &database(url), &nats)
        };
        for unverified in ["", "?sslmode=require", "?sslmode=verify-ca"] {
            let url = format!("postgres://a:b@db/t{unverified}");
            assert!(check(DeploymentEnvironment::Development, &url).is_ok());
            for environment in [
                DeploymentEnvironment::Staging,
                DeploymentEnvironment::Production,
            ] {
                let refused = check(environment, &url).expect_err(unverified);
                assert_eq!(
                    refused.to_string(),
                    "configuration of calls: TALKTIME_CALLS__DATABASE__READ_URL needs \
                     sslmode=verify-full and sslrootcert outside of development"
                );
            }
        }
        assert!(check(DeploymentEnvironment::Production, verified).is_ok());
    }

    fn nats_at(url: &str) -> NatsConfig {
        NatsConfig {
            url: url.to_owned(),
            ca_file: None,
            password: "secret".into(),
        }
    }

    #[test]
    fn a_service_names_the_variable_of_an_unencrypted_nats() {
        let verified: SecretString = "postgres://a@db/t?sslmode=verify-full&sslrootcert=/ca".into();
        let database = DatabaseConfig {
            owner_url: verified.clone(),
            app_url: verified,
            max_connections: 1,
            session_url: None,
            read_url: None,
            read_max_connections: 1,
        };
        let nats = nats_at("nats://nats:4222");
        let check = |environment| check_encryption("calls", environment, &database, &nats);
        assert!(check(DeploymentEnvironment::Development).is_ok());
        let refused = check(DeploymentEnvironment::Production).expect_err("in clear");
        assert_eq!(
            refused.to_string(),
            "configuration of calls: TALKTIME_CALLS__NATS__URL needs tls:// outside of development"
        );
    }

    #[test]
    fn a_wrong_value_is_named_by_its_variable() {
        let figment =
            figment_of("minute_secs = \"soon\"\n[database]\nowner_url=\"a\"\napp_url=\"b\"");
        let error = extract::<OwnSettings>("calls", &figment).expect_err("not a number");
        assert!(
            error.to_string().contains("TALKTIME_CALLS__MINUTE_SECS"),
            "{error}"
        );
    }

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        let figment = figment_of("[database]\nowner_url = \"hidden\"\napp_url = \"hidden\"");
        let own = extract::<OwnSettings>("wallet", &figment).expect("complete");
        assert!(!format!("{own:?}").contains("hidden"));
    }
}
