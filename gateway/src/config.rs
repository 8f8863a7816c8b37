//! The gateway's own settings.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use talktime_kit::config::{NatsConfig, RedisConfig};

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
    /// How long sockets are waited for.
    #[serde(default)]
    pub sockets: SocketsConfig,
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
    /// Addresses of proxies whose `X-Forwarded-For` is believed. Nobody else's is: a client could
    /// come from wherever it says.
    #[serde(default)]
    pub trusted_proxies: Vec<IpAddr>,
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
