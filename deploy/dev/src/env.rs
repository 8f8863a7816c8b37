//! Where everything of a stack is, as environment variables: the configuration of each service, and
//! the lines of `cargo dev env` for clients, demos and tests.

use std::env;

use anyhow::Result;

use crate::instance::{self, Instance, REPLICAS_MAX};
use crate::secrets::{self, POSTGRES_PASSWORD, S3_ACCESS_KEY, S3_SECRET_KEY};
use crate::settings::Settings;
use crate::stack::Stack;
use crate::unit::{GRPC_SERVICES, Unit};

/// The database of the services.
pub(crate) const DATABASE: &str = "talktime";
/// A database with schemas and grants but no tables, for tests to copy.
pub(crate) const TEMPLATE_DATABASE: &str = "talktime_template";
pub(crate) const BUCKET: &str = "talktime";
const REGION: &str = "us-east-1";
/// Where audio samples may lie that are given by address; nothing ever fetches them.
const AUDIO_HOSTS: &str = "[\"samples.example.com\"]";
/// Longer than clients take to hear that a replica serves no more (they ask every second).
const DRAIN_DELAY_MS: u32 = 2_500;
/// OTLP over gRPC.
const OTLP_PORT: u16 = 4317;

/// Names and values, in an order that reads well.
pub(crate) type Variables = Vec<(String, String)>;

/// The configuration of a service: `TALKTIME_<SERVICE>__<SECTION>__<KEY>`.
pub(crate) fn of_service(
    stack: &Stack,
    settings: &Settings,
    instance: Instance,
) -> Result<Variables> {
    let service = instance.unit;
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut set = |key: &str, value: String| variables.push((key.to_owned(), value));
    set("ENVIRONMENT", "development".to_owned());
    set("TELEMETRY__LOG", "info".to_owned());
    if let Some(endpoint) = otlp_endpoint(stack) {
        set("TELEMETRY__OTLP_ENDPOINT", endpoint);
    }
    if let Some(port) = stack.ops_port(instance) {
        set("OPS__LISTEN", format!("127.0.0.1:{port}"));
    }
    if settings.replicas > 1 {
        set("SHUTDOWN__DRAIN_DELAY_MS", DRAIN_DELAY_MS.to_string());
    }
    set("NATS__URL", nats_url(stack));
    if service.has_grpc() {
        set(
            "GRPC__LISTEN",
            format!("127.0.0.1:{}", stack.main_port(instance)),
        );
        set("DATABASE__OWNER_URL", owner_url(stack, service));
        set("DATABASE__APP_URL", app_url(stack, service));
    }
    // Everybody knows everybody's address; who calls whom is the services' own business.
    for peer in GRPC_SERVICES.into_iter().filter(|peer| *peer != service) {
        set(&format!("PEERS__{}", upper(peer)), peer_urls(stack, peer));
    }
    variables.extend(own(stack, settings, instance)?);
    let prefix = format!("TALKTIME_{}__", upper(service));
    let variables = variables
        .into_iter()
        .map(|(key, value)| (format!("{prefix}{key}"), value));
    Ok(variables.chain([worker_threads()]).collect())
}

/// Everything shares this machine: a thread for each core in each of a dozen processes would have them
/// take turns more than work.
fn worker_threads() -> (String, String) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (cores / 4).max(1);
    ("TOKIO_WORKER_THREADS".to_owned(), threads.to_string())
}

/// Where traces go: wherever the person at the keyboard collects them; in the test stack to a port
/// where the test of traces listens.
fn otlp_endpoint(stack: &Stack) -> Option<String> {
    if stack.is_throwaway() {
        return Some(format!("http://127.0.0.1:{}", stack.port(OTLP_PORT)));
    }
    env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok()
}

/// What only this service needs.
fn own(stack: &Stack, settings: &Settings, instance: Instance) -> Result<Variables> {
    let redis = ("REDIS__URL", redis_url(stack));
    let variables = match instance.unit {
        Unit::Auth => vec![
            redis,
            ("TOKENS__SEALING_KEY", secrets::token_sealing_key(stack)?),
        ],
        Unit::Wallet => vec![
            ("BANK_DETAILS__KEY", secrets::bank_details_key(stack)?),
            ("PAYMENTS__PROVIDER", "sandbox".to_owned()),
        ],
        Unit::Calls => vec![redis, ("MINUTE_SECS", settings.minute_secs.to_string())],
        Unit::Verification => vec![
            ("S3__ENDPOINT", s3_url(stack)),
            ("S3__BUCKET", BUCKET.to_owned()),
            ("S3__REGION", REGION.to_owned()),
            ("S3__ACCESS_KEY", S3_ACCESS_KEY.to_owned()),
            ("S3__SECRET_KEY", S3_SECRET_KEY.to_owned()),
            ("UPLOADS__ALLOWED_HOSTS", AUDIO_HOSTS.to_owned()),
        ],
        Unit::Gateway => {
            let listen = format!("127.0.0.1:{}", stack.main_port(instance));
            vec![redis, ("HTTP__LISTEN", listen)]
        }
        _ => Vec::new(),
    };
    Ok(variables
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect())
}

/// The lines of `cargo dev env`; `pid_of` tells the pid of what runs. The second replica of
/// each service has lines too (`GATEWAY_2_URL`), for who starts it.
pub(crate) fn of_clients(
    stack: &Stack,
    settings: &Settings,
    pid_of: impl Fn(Instance) -> Option<i32>,
) -> Variables {
    let mut variables = of_stack(stack, settings);
    let mut set = |instance: Instance, key: &str, value: String| {
        let name = instance.name().to_uppercase().replace('-', "_");
        variables.push((format!("{name}_{key}"), value));
    };
    for instance in instance::services(REPLICAS_MAX) {
        let service = instance.unit;
        let main = if service.has_grpc() {
            "GRPC_URL"
        } else {
            "URL"
        };
        set(instance, main, url(stack, instance));
        if let Some(port) = stack.ops_port(instance) {
            set(instance, "OPS_URL", format!("http://127.0.0.1:{port}"));
        }
        if let Some(pid) = pid_of(instance) {
            set(instance, "PID", pid.to_string());
        }
        if service.has_grpc() && instance.is_first() {
            set(instance, "APP_DATABASE_URL", app_url(stack, service));
            set(instance, "OWNER_DATABASE_URL", owner_url(stack, service));
        }
    }
    // For tests that let NATS pause.
    if let Some(pid) = pid_of(Unit::Nats.into()) {
        set(Unit::Nats.into(), "PID", pid.to_string());
    }
    variables
}

fn of_stack(stack: &Stack, settings: &Settings) -> Variables {
    let otlp_endpoint = otlp_endpoint(stack).map(|endpoint| ("OTLP_ENDPOINT", endpoint));
    [
        ("DATABASE_URL", superuser_url(stack)),
        ("TEMPLATE_DATABASE", TEMPLATE_DATABASE.to_owned()),
        ("REDIS_URL", redis_url(stack)),
        ("NATS_URL", nats_url(stack)),
        ("S3_ENDPOINT", s3_url(stack)),
        ("S3_BUCKET", BUCKET.to_owned()),
        ("S3_REGION", REGION.to_owned()),
        ("S3_ACCESS_KEY", S3_ACCESS_KEY.to_owned()),
        ("S3_SECRET_KEY", S3_SECRET_KEY.to_owned()),
        ("MINUTE_SECS", settings.minute_secs.to_string()),
    ]
    .into_iter()
    .chain(otlp_endpoint)
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

pub(crate) fn gateway_url(stack: &Stack) -> String {
    url(stack, Unit::Gateway.into())
}

pub(crate) fn superuser_url(stack: &Stack) -> String {
    database_url(stack, "postgres", POSTGRES_PASSWORD)
}

pub(crate) fn redis_url(stack: &Stack) -> String {
    format!("redis://127.0.0.1:{}", stack.main_port(Unit::Redis))
}

pub(crate) fn nats_url(stack: &Stack) -> String {
    format!("nats://127.0.0.1:{}", stack.main_port(Unit::Nats))
}

pub(crate) fn s3_url(stack: &Stack) -> String {
    format!("http://127.0.0.1:{}", stack.main_port(Unit::S3))
}

fn url(stack: &Stack, instance: Instance) -> String {
    format!("http://127.0.0.1:{}", stack.main_port(instance))
}

/// Every replica that there may be: clients leave out what does not serve, and find it once it does.
fn peer_urls(stack: &Stack, peer: Unit) -> String {
    let urls: Vec<String> = Instance::replicas_of(peer)
        .map(|instance| url(stack, instance))
        .collect();
    urls.join(",")
}

fn owner_url(stack: &Stack, service: Unit) -> String {
    let role = format!("{}_owner", service.name());
    database_url(stack, &role, &secrets::owner_password(service))
}

fn app_url(stack: &Stack, service: Unit) -> String {
    let role = format!("{}_app", service.name());
    database_url(stack, &role, &secrets::app_password(service))
}

fn database_url(stack: &Stack, role: &str, password: &str) -> String {
    let port = stack.main_port(Unit::Postgres);
    format!("postgres://{role}:{password}@127.0.0.1:{port}/{DATABASE}")
}

fn upper(unit: Unit) -> String {
    unit.name().to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::StackName;

    fn value<'a>(variables: &'a Variables, key: &str) -> Option<&'a str> {
        variables
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_service_is_told_its_addresses_databases_and_peers() {
        let stack = Stack::moved(StackName::Dev, 0);
        let settings = Settings {
            minute_secs: 5,
            ..Settings::default()
        };
        let calls = of_service(&stack, &settings, Unit::Calls.into());
        let calls = calls.expect("calls needs no secret");
        let get = |key: &str| value(&calls, &format!("TALKTIME_CALLS__{key}"));
        assert_eq!(get("GRPC__LISTEN"), Some("127.0.0.1:7105"));
        assert_eq!(get("OPS__LISTEN"), Some("127.0.0.1:7205"));
        assert_eq!(get("MINUTE_SECS"), Some("5"));
        assert_eq!(get("REDIS__URL"), Some("redis://127.0.0.1:7379"));
        assert_eq!(
            get("PEERS__WALLET"),
            Some("http://127.0.0.1:7104,http://127.0.0.1:7154")
        );
        assert_eq!(get("PEERS__CALLS"), None, "nobody calls itself");
        assert_eq!(
            get("DATABASE__APP_URL"),
            Some("postgres://calls_app:dev-calls-app@127.0.0.1:7432/talktime")
        );
    }

    #[test]
    fn the_gateway_has_no_database_and_no_grpc() {
        let stack = Stack::moved(StackName::Test, 0);
        let second = "gateway-2".parse().expect("a replica");
        let gateway = of_service(&stack, &Settings::default(), second);
        let gateway = gateway.expect("the gateway needs no secret");
        assert_eq!(
            value(&gateway, "TALKTIME_GATEWAY__HTTP__LISTEN"),
            Some("127.0.0.1:18130")
        );
        assert_eq!(value(&gateway, "TALKTIME_GATEWAY__DATABASE__APP_URL"), None);
        assert_eq!(value(&gateway, "TALKTIME_GATEWAY__GRPC__LISTEN"), None);
    }

    #[test]
    fn clients_learn_the_addresses_and_the_pids_of_what_runs() {
        let stack = Stack::moved(StackName::Test, 0);
        let settings = Settings {
            minute_secs: 2,
            ..Settings::default()
        };
        let lines = of_clients(&stack, &settings, |unit| {
            (unit == Unit::Wallet.into()).then_some(4711)
        });
        let get = |key: &str| value(&lines, key);
        assert_eq!(get("GATEWAY_URL"), Some("http://127.0.0.1:18080"));
        assert_eq!(get("GATEWAY_2_URL"), Some("http://127.0.0.1:18130"));
        assert_eq!(
            get("DATABASE_URL"),
            Some("postgres://postgres:dev-postgres@127.0.0.1:17432/talktime")
        );
        assert_eq!(get("MINUTE_SECS"), Some("2"));
        assert_eq!(get("WALLET_GRPC_URL"), Some("http://127.0.0.1:17104"));
        assert_eq!(get("WALLET_OPS_URL"), Some("http://127.0.0.1:17204"));
        assert_eq!(get("WALLET_PID"), Some("4711"));
        assert_eq!(get("AUTH_PID"), None);
        assert_eq!(get("GATEWAY_GRPC_URL"), None);
    }
}
