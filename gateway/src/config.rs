//! The settings of the gateway.

use std::net::SocketAddr;

use serde::Deserialize;
use talktime_kit::config::{DeploymentEnvironment, NatsConfig, RedisConfig};

use crate::extract::IpNetwork;

/// The settings of the gateway.
#[derive(Clone, Debug, Deserialize)]
pub struct GatewayConfig {
    /// The public port.
    pub http: PublicHttpConfig,
    /// The addresses of the services.
    pub peers: PeerAddressConfig,
    /// Redis, for rate limits, connection slots and revoked tokens.
    pub redis: RedisConfig,
    /// NATS, for events and revocations.
    pub nats: NatsConfig,
    /// Whether unverified listeners are removed from open feeds. Must be the same as in profile.
    #[serde(default)]
    pub require_verified_listeners: bool,
    /// The time-outs, the number and the tokens of sockets.
    #[serde(default)]
    pub sockets: SocketsConfig,
    /// The seconds after a login with a one-time password in which a session may set bank details, withdraw money and
    /// delete its account; 0 for its whole life. Apps must be able to log in again when they are refused.
    #[serde(default)]
    pub recent_login_secs: u32,
    /// The rate limits.
    #[serde(default)]
    pub limits: RateLimitsConfig,
    /// Answers for apps that were written for the original back end.
    #[serde(default)]
    pub compatibility: CompatibilityConfig,
    /// Path of the JSON file with the configuration of apps, in the form of the answer of `/app/config`. It is read
    /// again every few seconds. Without it, the answer has defaults.
    #[serde(default)]
    pub app_config_file: Option<String>,
}

impl GatewayConfig {
    /// Refuses addresses of stores over which tokens and events could be read on their way.
    ///
    /// # Errors
    /// NATS or Redis is reached without TLS outside of development; the error names the variable.
    pub fn check(&self, environment: DeploymentEnvironment) -> anyhow::Result<()> {
        self.nats
            .check(environment, "TALKTIME_GATEWAY__NATS__URL")?;
        self.redis
            .check(environment, "TALKTIME_GATEWAY__REDIS__URL")
    }
}

/// Answers for apps that were written for the original back end and that contradict the contract. All of them are off
/// by default. Compatible answers that do not contradict the contract are always given.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CompatibilityConfig {
    /// Whether `/calls/ongoing` answers 404 instead of a null `call_id` without a call.
    pub no_call_is_not_found: bool,
}

/// The time-outs, the number and the tokens of sockets.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct SocketsConfig {
    /// The time between two protocol pings, in milliseconds.
    pub ping_every_ms: u64,
    /// The time in milliseconds after which a client that sends nothing, not even answers to pings, is disconnected.
    pub silence_max_ms: u64,
    /// The time in milliseconds that a client may take to read a message.
    pub unread_max_ms: u64,
    /// Whether a socket may send its token in its address (`?token=`), which proxies may log. Apps that cannot set
    /// headers use tickets instead.
    pub accept_query_tokens: bool,
    /// The maximum number of sockets of one address on this replica, also through proxies; 0 for no limit.
    pub per_address_max: usize,
}

impl Default for SocketsConfig {
    fn default() -> Self {
        Self {
            ping_every_ms: 20_000,
            silence_max_ms: 60_000,
            unread_max_ms: 5_000,
            accept_query_tokens: true,
            per_address_max: 2_000,
        }
    }
}

/// The public port.
#[derive(Clone, Debug, Deserialize)]
pub struct PublicHttpConfig {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The time-out of a request including its body, in milliseconds. Services receive the remaining time.
    #[serde(default = "default_request_timeout_ms")]
    pub request_timeout_ms: u64,
    /// The time-out of an upload, in milliseconds. It is longer because 10 MB take a while in a mobile network. At most
    /// 90 seconds, which is the time-out of the services.
    #[serde(default = "default_upload_timeout_ms")]
    pub upload_timeout_ms: u64,
    /// The addresses or networks (`10.0.0.0/8`) of proxies whose `X-Forwarded-For` is trusted. The header of any other
    /// client is ignored, because clients can invent it.
    #[serde(default)]
    pub trusted_proxies: Vec<IpNetwork>,
    /// The number of proxies before the gateway that append to `X-Forwarded-For`, whatever their addresses. Only for
    /// a port that no client reaches directly, because its header would be trusted. 0 to trust `trusted_proxies` only.
    #[serde(default)]
    pub trusted_hops: usize,
    /// The time in milliseconds that a client may take to send the head of a request, from its first byte, and for
    /// the first one from the beginning of the connection.
    #[serde(default = "default_head_timeout_ms")]
    pub head_timeout_ms: u64,
    /// The time in milliseconds that a connection is kept without a request. Clients reuse connections for about a
    /// minute, and a request that meets the end of its connection fails.
    #[serde(default = "default_idle_timeout_ms")]
    pub idle_timeout_ms: u64,
    /// The maximum number of connections, including sockets. Further ones wait until they are accepted.
    #[serde(default = "default_connections_max")]
    pub connections_max: usize,
    /// The maximum number of connections of one address, including sockets; 0 for no limit. Further ones are closed.
    /// It does not apply to proxies. An IPv6 network of 64 bits is one address, and many phones may share one behind
    /// a network address translation.
    #[serde(default = "default_connections_per_address_max")]
    pub connections_per_address_max: usize,
    /// The maximum number of requests that run at once.
    #[serde(default = "default_running_max")]
    pub running_max: usize,
    /// The maximum number of requests of one address that run at once, also through proxies; 0 for no limit. Further
    /// ones are answered with 503.
    #[serde(default = "default_running_per_address_max")]
    pub running_per_address_max: usize,
    /// The maximum number of requests that wait. Further ones are answered with 503.
    #[serde(default = "default_waiting_max")]
    pub waiting_max: usize,
    /// The origins of web pages that may use the API, such as `https://app.example.com`; `*` for all.
    #[serde(default)]
    pub cors_origins: Vec<String>,
}

impl PublicHttpConfig {
    /// Returns the default settings for this address.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            request_timeout_ms: default_request_timeout_ms(),
            upload_timeout_ms: default_upload_timeout_ms(),
            trusted_proxies: Vec::new(),
            trusted_hops: 0,
            head_timeout_ms: default_head_timeout_ms(),
            idle_timeout_ms: default_idle_timeout_ms(),
            connections_max: default_connections_max(),
            connections_per_address_max: default_connections_per_address_max(),
            running_max: default_running_max(),
            running_per_address_max: default_running_per_address_max(),
            waiting_max: default_waiting_max(),
            cors_origins: Vec::new(),
        }
    }
}

const fn default_head_timeout_ms() -> u64 {
    10_000
}

const fn default_idle_timeout_ms() -> u64 {
    75_000
}

const fn default_connections_max() -> usize {
    20_000
}

const fn default_connections_per_address_max() -> usize {
    2_000
}

const fn default_running_per_address_max() -> usize {
    256
}

const fn default_running_max() -> usize {
    1_024
}

const fn default_waiting_max() -> usize {
    1_024
}

/// The rate limits in requests a minute, by class of endpoint; 0 for no limit. No app in the hands of a person comes
/// near them. Requests without a valid token count for their address in the same classes.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct RateLimitsConfig {
    /// Logins, for each address. Many phones may share one behind a network address translation.
    pub auth: u32,
    /// The feed, for each user.
    pub feed: u32,
    /// Requests that move coins or rupees, for each user.
    pub money: u32,
    /// Uploads, for each user.
    pub upload: u32,
    /// All other reads, for each user.
    pub read: u32,
    /// All other writes, for each user.
    pub write: u32,
}

impl Default for RateLimitsConfig {
    fn default() -> Self {
        Self {
            auth: 300,
            feed: 100,
            money: 60,
            upload: 20,
            read: 600,
            write: 300,
        }
    }
}

const fn default_upload_timeout_ms() -> u64 {
    60_000
}

const fn default_request_timeout_ms() -> u64 {
    5_000
}

/// The addresses of the gRPC ports of the services, `http://host:port`.
#[derive(Clone, Debug, Deserialize)]
pub struct PeerAddressConfig {
    /// The auth service.
    pub auth: String,
    /// The profile service.
    pub profile: String,
    /// The presence service.
    pub presence: String,
    /// The wallet service.
    pub wallet: String,
    /// The calls service.
    pub calls: String,
    /// The verification service.
    pub verification: String,
}
