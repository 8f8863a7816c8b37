//! The addresses and settings of a stack as environment variables: the configuration of each service, and the
//! lines of `cargo dev env` for clients, the demo and tests.

use std::env;

use anyhow::Result;

use crate::database_urls::{app_url, owner_url, superuser_url};
use crate::databases::TEMPLATE_DATABASE;
use crate::instance::{self, REPLICAS_MAX, UnitInstance};
use crate::secrets::{self, S3_ACCESS_KEY, S3_SECRET_KEY};
use crate::settings::StackSettings;
use crate::stack::DevStack;
use crate::stores::{
    REDIS_USERS, STORE_OPERATOR, nats_address, nats_authority, nats_url, redis_authority, redis_url,
};
use crate::unit::{GRPC_SERVICES, StackUnit, variable_name};
use crate::{identities, install, relays, stack_limits};

/// The bucket of uploads and photos.
pub(crate) const BUCKET: &str = "talktime";
const REGION: &str = "us-east-1";
/// Hosts of audio samples that are submitted by address, which nothing ever fetches.
const AUDIO_HOSTS: &str = "[\"samples.example.com\"]";
/// Delay of a drain, longer than clients need to notice that a replica does not serve (they ask every second).
const DRAIN_DELAY_MS: u32 = 2_500;
/// Port of OTLP over gRPC.
const OTLP_PORT: u16 = 4317;

/// Names and values, in the order in which they are printed.
pub(crate) type EnvVariables = Vec<(String, String)>;

/// Returns the configuration of a service: `TALKTIME_<SERVICE>__<SECTION>__<KEY>`.
pub(crate) fn service_variables(
    stack: &DevStack,
    settings: &StackSettings,
    instance: UnitInstance,
) -> Result<EnvVariables> {
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
    let identity = identities::identity_dir(stack, service);
    set("IDENTITY__FOLDER", identity.display().to_string());
    set("NATS__URL", nats_address(stack));
    set("NATS__CA_FILE", nats_authority(stack));
    set(
        "NATS__PASSWORD",
        secrets::nats_password(stack, service.name())?,
    );
    if service.has_grpc() {
        set(
            "GRPC__LISTEN",
            format!("127.0.0.1:{}", stack.main_port(instance)),
        );
        set("DATABASE__OWNER_URL", owner_url(stack, service));
        set("DATABASE__APP_URL", app_url(stack, service));
    }
    // Every service gets the addresses of all others and ignores those that it does not call.
    for peer in GRPC_SERVICES.into_iter().filter(|peer| *peer != service) {
        set(
            &format!("PEERS__{}", variable_name(peer.name())),
            peer_urls(stack, peer),
        );
    }
    variables.extend(own_variables(stack, settings, instance)?);
    let prefix = format!("TALKTIME_{}__", variable_name(service.name()));
    let variables = variables
        .into_iter()
        .map(|(key, value)| (format!("{prefix}{key}"), value));
    Ok(variables.chain([worker_threads_variable()]).collect())
}

/// Returns the variables by which a command for operators, such as `restored`, may do in stores what no service may.
pub(crate) fn operator_variables(stack: &DevStack, service: StackUnit) -> Result<EnvVariables> {
    let name = variable_name(service.name());
    let password = secrets::nats_password(stack, STORE_OPERATOR)?;
    let mut variables = vec![(format!("TALKTIME_{name}__NATS__PASSWORD"), password)];
    if REDIS_USERS.contains(&service.name()) {
        let url = redis_url(stack, STORE_OPERATOR)?;
        variables.push((format!("TALKTIME_{name}__REDIS__URL"), url));
    }
    Ok(variables)
}

/// Returns the variable that limits worker threads, with its value. All processes share this machine, where a
/// thread for each core in each of a dozen processes would mostly cause context switches.
fn worker_threads_variable() -> (String, String) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (cores / 4).max(1);
    ("TOKIO_WORKER_THREADS".to_owned(), threads.to_string())
}

/// Returns the address of the trace collector: the one of the developer's environment, or in the test stack
/// the port on which the test of traces listens.
fn otlp_endpoint(stack: &DevStack) -> Option<String> {
    if stack.is_throwaway() {
        return Some(format!("http://127.0.0.1:{}", stack.port(OTLP_PORT)));
    }
    env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok()
}

/// Returns the variables that only this service needs.
fn own_variables(
    stack: &DevStack,
    settings: &StackSettings,
    instance: UnitInstance,
) -> Result<EnvVariables> {
    let redis = || {
        let authority = redis_authority(stack);
        let url = redis_url(stack, instance.unit.name())?;
        anyhow::Ok([("REDIS__URL", url), ("REDIS__CA_FILE", authority)])
    };
    let variables = match instance.unit {
        StackUnit::Auth => auth_variables(stack, redis()?)?,
        StackUnit::Profile => vec![("PHONE_HASH_KEY", secrets::phone_hash_key(stack)?)],
        StackUnit::Wallet => vec![
            ("BANK_DETAILS__KEY", secrets::bank_details_key(stack)?),
            ("PAYMENTS__PROVIDER", "sandbox".to_owned()),
            (
                "ANCHORS__KEY_FILE",
                secrets::ledger_anchor_key_file(stack)?
                    .display()
                    .to_string(),
            ),
            (
                "ANCHORS__FOLDER",
                stack
                    .data_dir()
                    .join("ledger-anchors")
                    .display()
                    .to_string(),
            ),
        ],
        StackUnit::Calls => {
            let minute = ("MINUTE_SECS", settings.minute_secs.to_string());
            let variables = redis()?.into_iter().chain([minute]);
            let variables = variables.chain(relays::media_variables(stack));
            variables
                .chain(stack_limits::ringing_variables(stack))
                .collect()
        }
        StackUnit::Verification => vec![
            ("S3__ENDPOINT", s3_url(stack)),
            ("S3__CA_FILE", s3_authority(stack)),
            ("S3__BUCKET", BUCKET.to_owned()),
            ("S3__REGION", REGION.to_owned()),
            ("S3__ACCESS_KEY", S3_ACCESS_KEY.to_owned()),
            ("S3__SECRET_KEY", S3_SECRET_KEY.to_owned()),
            ("UPLOADS__ALLOWED_HOSTS", AUDIO_HOSTS.to_owned()),
            ("PHOTOS__PUBLIC_URL", gateway_url(stack)),
        ],
        StackUnit::Gateway => {
            let listen = format!("127.0.0.1:{}", stack.main_port(instance));
            let origins = format!("{:?}", page_origins(stack));
            let http = [("HTTP__LISTEN", listen), ("HTTP__CORS_ORIGINS", origins)];
            let variables = redis()?.into_iter().chain(http);
            variables.chain(stack_limits::gateway_variables()).collect()
        }
        StackUnit::RelayAgent => relay_agent_variables(stack, instance),
        _ => Vec::new(),
    };
    Ok(variables
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect())
}

fn auth_variables(
    stack: &DevStack,
    redis: [(&'static str, String); 2],
) -> Result<Vec<(&'static str, String)>> {
    let key_file = secrets::attestation_public_key_file(stack)?;
    let keys = [
        ("TOKENS__SEALING_KEY", secrets::token_sealing_key(stack)?),
        ("ATTESTATION__DEVELOPMENT__KEY_FILE", key_file),
    ];
    let limits = stack_limits::login_variables(stack);
    Ok(keys.into_iter().chain(redis).chain(limits).collect())
}

fn relay_agent_variables(stack: &DevStack, instance: UnitInstance) -> Vec<(&'static str, String)> {
    let urls = relays::turn_urls(stack, instance);
    let password_file = secrets::turn_console_password_file(stack);
    vec![
        ("REDIS__URL", relays::redis_url(stack, instance)),
        ("CALLS", peer_urls(stack, StackUnit::Calls)),
        ("RELAY__REALM", relays::realm(instance)),
        ("RELAY__URLS", format!("{urls:?}")),
        ("RELAY__CONSOLE", relays::console_address(stack, instance)),
        (
            "RELAY__CONSOLE_PASSWORD_FILE",
            password_file.display().to_string(),
        ),
    ]
}

/// Returns the lines of `cargo dev env`; `pid_of` returns the pid of a running process. The second replica of
/// each service is included (`GATEWAY_2_URL`), because tests may start it.
pub(crate) fn client_variables(
    stack: &DevStack,
    settings: &StackSettings,
    pid_of: impl Fn(UnitInstance) -> Option<i32>,
) -> Result<EnvVariables> {
    let mut variables = stack_variables(stack, settings)?;
    let mut set = |instance: UnitInstance, key: &str, value: String| {
        let name = variable_name(&instance.name());
        variables.push((format!("{name}_{key}"), value));
    };
    for instance in instance::service_instances(REPLICAS_MAX) {
        let service = instance.unit;
        if instance.is_first() {
            let password = secrets::nats_password(stack, service.name())?;
            set(instance, "NATS_PASSWORD", password);
        }
        if instance.is_first() && REDIS_USERS.contains(&service.name()) {
            let password = secrets::redis_password(stack, service.name())?;
            set(instance, "REDIS_PASSWORD", password);
        }
        if service.has_grpc() {
            set(instance, "GRPC_URL", grpc_url(stack, instance));
        } else {
            set(instance, "URL", url(stack, instance));
        }
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
    // Some tests suspend these.
    for part in instance::part_instances(REPLICAS_MAX) {
        if let Some(pid) = pid_of(part) {
            set(part, "PID", pid.to_string());
        }
    }
    for relay in UnitInstance::replicas_of(StackUnit::Coturn) {
        set(relay, "REALM", relays::realm(relay));
        set(relay, "URL", relays::turn_urls(stack, relay)[0].clone());
        set(relay, "CONSOLE", relays::console_address(stack, relay));
        set(relay, "REDIS_URL", relays::redis_url(stack, relay));
    }
    Ok(variables)
}

fn stack_variables(stack: &DevStack, settings: &StackSettings) -> Result<EnvVariables> {
    let otlp_endpoint = otlp_endpoint(stack).map(|endpoint| ("OTLP_ENDPOINT", endpoint));
    let identities = identities::identities_dir(stack);
    // For tests that start a server of their own.
    let postgres_bin = install::find_postgres_bin().ok();
    let postgres_bin = postgres_bin.map(|bin| ("POSTGRES_BIN", bin.display().to_string()));
    [
        ("DATABASE_URL", superuser_url(stack)),
        ("TEMPLATE_DATABASE", TEMPLATE_DATABASE.to_owned()),
        ("PAGE_URL", page_url(stack)),
        ("REDIS_URL", redis_url(stack, STORE_OPERATOR)?),
        ("REDIS_CA_FILE", redis_authority(stack)),
        ("NATS_URL", nats_url(stack)?),
        ("NATS_CA_FILE", nats_authority(stack)),
        ("S3_ENDPOINT", s3_url(stack)),
        ("S3_CA_FILE", s3_authority(stack)),
        ("S3_BUCKET", BUCKET.to_owned()),
        ("S3_REGION", REGION.to_owned()),
        ("S3_ACCESS_KEY", S3_ACCESS_KEY.to_owned()),
        ("S3_SECRET_KEY", S3_SECRET_KEY.to_owned()),
        ("MINUTE_SECS", settings.minute_secs.to_string()),
        ("ATTESTATION_KEY_FILE", secrets::attestation_key_file(stack)),
        (
            "TOKEN_SEALING_KEY_FILE",
            secrets::token_sealing_key_file(stack).display().to_string(),
        ),
        (
            "TURN_SECRET_FILE",
            secrets::turn_secret_file(stack).display().to_string(),
        ),
        (
            "TURN_CONSOLE_PASSWORD_FILE",
            secrets::turn_console_password_file(stack)
                .display()
                .to_string(),
        ),
        ("IDENTITIES_DIR", identities.display().to_string()),
    ]
    .into_iter()
    .chain(otlp_endpoint)
    .chain(postgres_bin)
    .map(|(key, value)| Ok((key.to_owned(), value)))
    .collect()
}

pub(crate) fn gateway_url(stack: &DevStack) -> String {
    url(stack, StackUnit::Gateway.into())
}

/// Returns the addresses of all gateways that the stack runs.
pub(crate) fn gateway_urls(stack: &DevStack, settings: &StackSettings) -> Vec<String> {
    let services = settings.list_services().into_iter();
    let gateways = services.filter(|instance| instance.unit == StackUnit::Gateway);
    gateways.map(|gateway| url(stack, gateway)).collect()
}

/// Returns the address of the demo page. Browsers give pages of this host the microphone without TLS.
pub(crate) fn page_url(stack: &DevStack) -> String {
    let [address, _by_number] = page_origins(stack);
    address
}

/// Returns the addresses under which browsers may open the demo page.
fn page_origins(stack: &DevStack) -> [String; 2] {
    let port = stack.main_port(StackUnit::Page);
    ["localhost", "127.0.0.1"].map(|host| format!("http://{host}:{port}"))
}

pub(crate) fn s3_url(stack: &DevStack) -> String {
    format!("https://127.0.0.1:{}", stack.main_port(StackUnit::S3))
}

fn s3_authority(stack: &DevStack) -> String {
    let file = identities::authority_file(stack, StackUnit::S3);
    file.display().to_string()
}

/// Returns the address at which apps reach the first relay.
pub(crate) fn turn_url(stack: &DevStack) -> String {
    let [over_udp, _over_tcp] = relays::turn_urls(stack, StackUnit::Coturn.into());
    over_udp
}

fn url(stack: &DevStack, instance: UnitInstance) -> String {
    format!("http://127.0.0.1:{}", stack.main_port(instance))
}

fn grpc_url(stack: &DevStack, instance: UnitInstance) -> String {
    format!("https://127.0.0.1:{}", stack.main_port(instance))
}

/// Returns the addresses of all possible replicas: clients ignore those that do not serve.
fn peer_urls(stack: &DevStack, peer: StackUnit) -> String {
    let urls: Vec<String> = UnitInstance::replicas_of(peer)
        .map(|instance| grpc_url(stack, instance))
        .collect();
    urls.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::StackName;

    fn value<'a>(variables: &'a EnvVariables, key: &str) -> Option<&'a str> {
        variables
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_service_gets_its_addresses_databases_and_peers() {
        let stack = DevStack::for_test(StackName::Dev);
        let settings = StackSettings {
            minute_secs: 5,
            ..StackSettings::default()
        };
        let calls = service_variables(&stack, &settings, StackUnit::Calls.into());
        let calls = calls.expect("the secrets are generated");
        let get = |key: &str| value(&calls, &format!("TALKTIME_CALLS__{key}"));
        assert_eq!(get("GRPC__LISTEN"), Some("127.0.0.1:7105"));
        assert_eq!(get("OPS__LISTEN"), Some("127.0.0.1:7205"));
        assert_eq!(get("MINUTE_SECS"), Some("5"));
        assert_eq!(get("NATS__URL"), Some("tls://127.0.0.1:7422"));
        for authority in ["NATS__CA_FILE", "REDIS__CA_FILE"] {
            assert!(get(authority).is_some_and(|file| file.ends_with("/ca.crt")));
        }
        let redis = get("REDIS__URL").expect("calls uses Redis");
        assert!(redis.starts_with("rediss://calls:p"), "{redis}");
        assert!(redis.ends_with("@127.0.0.1:7379"), "{redis}");
        assert_eq!(
            get("PEERS__WALLET"),
            Some("https://127.0.0.1:7104,https://127.0.0.1:7154")
        );
        assert_eq!(get("PEERS__CALLS"), None, "no service calls itself");
        assert_eq!(
            get("DATABASE__APP_URL").and_then(|url| Some(url.split_once("&sslrootcert=/")?.0)),
            Some("postgres://calls_app:dev-calls-app@127.0.0.1:7432/talktime?sslmode=verify-full")
        );
    }

    #[test]
    fn the_gateway_has_no_database_and_no_grpc() {
        let stack = DevStack::for_test(StackName::Test);
        let second = "gateway-2".parse().expect("a replica");
        let gateway = service_variables(&stack, &StackSettings::default(), second);
        let gateway = gateway.expect("the secrets are generated");
        assert_eq!(
            value(&gateway, "TALKTIME_GATEWAY__HTTP__LISTEN"),
            Some("127.0.0.1:18130")
        );
        assert_eq!(value(&gateway, "TALKTIME_GATEWAY__DATABASE__APP_URL"), None);
        assert_eq!(value(&gateway, "TALKTIME_GATEWAY__GRPC__LISTEN"), None);
    }

    #[test]
    fn clients_get_addresses_and_pids() {
        let stack = DevStack::for_test(StackName::Test);
        let settings = StackSettings {
            minute_secs: 2,
            ..StackSettings::default()
        };
        let lines = client_variables(&stack, &settings, |unit| {
            (unit == StackUnit::Wallet.into()).then_some(4711)
        });
        let lines = lines.expect("the secrets are generated");
        let get = |key: &str| value(&lines, key);
        assert_eq!(get("GATEWAY_URL"), Some("http://127.0.0.1:18080"));
        assert_eq!(get("GATEWAY_2_URL"), Some("http://127.0.0.1:18130"));
        assert_eq!(get("DATABASE_URL"), Some(superuser_url(&stack).as_str()));
        assert_eq!(get("MINUTE_SECS"), Some("2"));
        assert_eq!(get("WALLET_GRPC_URL"), Some("https://127.0.0.1:17104"));
        assert_eq!(get("WALLET_OPS_URL"), Some("http://127.0.0.1:17204"));
        assert_eq!(get("WALLET_PID"), Some("4711"));
        assert_eq!(get("AUTH_PID"), None);
        assert_eq!(get("GATEWAY_GRPC_URL"), None);
    }
}
