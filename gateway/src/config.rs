//! The gateway's own settings.

use std::net::SocketAddr;

use serde::Deserialize;
use talktime_kit::config::{NatsConfig, RedisConfig};

use crate::extract::IpNetwork;

/// The gateway's own settings.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// The port that the world reaches.
    pub http: HttpConfig,
    /// Where the services are.
    pub peers: PeersConfig,
    /// Revoked tokens.
    pub redis: RedisConfig,
    /// What sockets are told.
    pub nats: NatsConfig,
    /// Whether a listener who is found not to be verified leaves open feeds; as profile has it.
    #[serde(default)]
    pub require_verified_listeners: bool,
    /// How long sockets are waited for.
    #[serde(default)]
    pub sockets: SocketsConfig,
    /// How often anybody may ask.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Answers for apps that were written for the original back end.
    #[serde(default)]
    pub compatibility: CompatibilityConfig,
}

/// Answers for apps that were written for the original back end, where they contradict the contract; all off
/// by default. What does not contradict it is always on.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CompatibilityConfig {
    /// Whether `/calls/ongoing` answers 404 without a call, instead of a null `call_id`.
    pub no_call_is_not_found: bool,
}

/// How long sockets are waited for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct SocketsConfig {
    /// Between two protocol pings, in milliseconds.
    pub ping_every_ms: u64,
    /// A client that sends nothing for so long, not even the answer to a ping, is gone; in
    /// milliseconds.
    pub silence_max_ms: u64,
    /// A client that takes nothing of what was written for so long does not read; in milliseconds.
    pub unread_max_ms: u64,
}

impl Default for SocketsConfig {
    fn default() -> Self {
        Self {
            ping_every_ms: 20_000,
            silence_max_ms: 60_000,
            unread_max_ms: 5_000,
        }
    }
}

/// The port that the world reaches.
#[derive(Clone, Debug, Deserialize)]
pub struct HttpConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Bound of one request, its body included, in milliseconds. Services get what is left of it.
    #[serde(default = "default_request_timeout_ms")]
    pub request_timeout_ms: u64,
    /// The same for an upload, in milliseconds: 10 MB take a while on a phone's network. No more than
    /// 90 seconds, which is what services give any request.
    #[serde(default = "default_upload_timeout_ms")]
    pub upload_timeout_ms: u64,
    /// Addresses or networks (`10.0.0.0/8`) of proxies whose `X-Forwarded-For` is believed. Nobody
    /// else's is: a client could come from wherever it says.
    #[serde(default)]
    pub trusted_proxies: Vec<IpNetwork>,
    /// How long a connection may take to send the head of a request, and stay idle, in milliseconds.
    #[serde(default = "default_head_timeout_ms")]
    pub head_timeout_ms: u64,
    /// Connections at once; more wait to be accepted.
    #[serde(default = "default_connections_max")]
    pub connections_max: usize,
    /// Requests that are worked on at once.
    #[serde(default = "default_running_max")]
    pub running_max: usize,
    /// Requests that wait for their turn; more are answered 503 at once.
    #[serde(default = "default_waiting_max")]
    pub waiting_max: usize,
    /// Origins whose pages may call us from a browser, such as `https://app.example.com`; `*` for all.
    #[serde(default)]
    pub cors_origins: Vec<String>,
}

impl HttpConfig {
    /// All by default.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            request_timeout_ms: default_request_timeout_ms(),
            upload_timeout_ms: default_upload_timeout_ms(),
            trusted_proxies: Vec::new(),
            head_timeout_ms: default_head_timeout_ms(),
            connections_max: default_connections_max(),
            running_max: default_running_max(),
            waiting_max: default_waiting_max(),
            cors_origins: Vec::new(),
        }
    }
}

const fn default_head_timeout_ms() -> u64 {
    10_000
}

const fn default_connections_max() -> usize {
    20_000
}

const fn default_running_max() -> usize {
    1_024
}

const fn default_waiting_max() -> usize {
    1_024
}

/// How often anybody may ask in a minute, by class of endpoint; 0 for as often as they like. By
/// default only the feed has its documented limit, so that development and load tests are not in
/// their own way.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct LimitsConfig {
    /// Logging in, each address. Many phones share one, behind their network's translation.
    pub auth: u32,
    /// The feed, each person.
    pub feed: u32,
    /// What moves coins or rupees, each person.
    pub money: u32,
    /// Files, each person.
    pub upload: u32,
    /// Everything else that only reads, each person.
    pub read: u32,
    /// Everything else, each person.
    pub write: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            auth: 0,
            feed: 100,
            money: 0,
            upload: 0,
            read: 0,
            write: 0,
        }
    }
}

const fn default_upload_timeout_ms() -> u64 {
    60_000
}

const fn default_request_timeout_ms() -> u64 {
    5_000
}

/// Addresses of the services' gRPC ports, `http://host:port`.
#[derive(Clone, Debug, Deserialize)]
pub struct PeersConfig {
    /// The auth service.
    pub auth: String,
    /// The profile service.
    pub profile: String,
    /// The presence service.
    pub presence: String,
    /// The wallet.
    pub wallet: String,
    /// The calls service.
    pub calls: String,
    /// The verification service.
    pub verification: String,
}
