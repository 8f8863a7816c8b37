//! Connections to Redis. Every command has a deadline, so that a dead server causes an error and not a wait. A
//! connection on which answers are missing is closed and opened again: after a failover the old server may
//! keep its connections open for as long as it is frozen. Servers and sentinels prove by certificate that they are those
//! of the address.

use std::time::Duration;

use anyhow::Context;
use fred::prelude::*;
use fred::types::config::TlsConnector;
pub use fred::{
    clients::{Pool, SubscriberClient},
    prelude as commands,
    types::{Message, scripts::Script},
};
use secrecy::ExposeSecret;
use socket2::TcpKeepalive;
use tokio::time::{Instant, sleep};

use crate::config::RedisConfig;
use crate::deadlines::{self, PeerKind, REDIS_COMMAND, REDIS_CONNECT, REDIS_SILENCE};
use crate::error::{Error, ErrorKind};
use crate::store_authority::trust_authorities;

/// Connections of a process. The client sends the commands of a moment together, and Redis answers them together, but only
/// on the same connection. Several would cost more packets for the same commands, which Redis executes one by one anyway.
const POOL_SIZE: usize = 1;
/// Messages of a subscription that wait for their receiver, which learns of those that are dropped beyond. The client
/// allocates eight queues of this length at its start.
const MESSAGES_QUEUED_MAX: usize = 4_096;
/// How often a connection is asked for a sign of life.
const PING_EVERY: Duration = REDIS_SILENCE;
const RECONNECT_DELAY_MS_MIN: u32 = 20;
const RECONNECT_DELAY_MS_MAX: u32 = 1_000;

/// Returns a pool that connects in the background and reconnects indefinitely. Must be called within the runtime.
///
/// # Errors
/// The URL is invalid, or the file with the authorities cannot be read.
pub fn connect(config: &RedisConfig) -> anyhow::Result<Pool> {
    let pool = client_builder(config)?.build_pool(POOL_SIZE)?;
    pool.connect();
    for client in pool.clients() {
        tokio::spawn(reopen_when_silent(client.clone()));
    }
    Ok(pool)
}

/// Opens the connection again whenever the server has not answered for [`REDIS_SILENCE`]. It lasts as long as the process.
///
/// The client has such a check, too, but counts from the latest command, so that it never closes a connection that is in
/// use.
async fn reopen_when_silent(client: impl ClientLike) {
    loop {
        sleep(PING_EVERY).await;
        let asked_at = Instant::now();
        while client.is_connected() && is_unanswered(&client.ping(None).await) {
            if asked_at.elapsed() >= REDIS_SILENCE {
                tracing::warn!("redis does not answer; its connection is opened again");
                // This fails only where nothing is connected, which the next turn finds out.
                let _ = client.force_reconnection().await;
                break;
            }
        }
    }
}

fn is_unanswered(answer: &FredResult<()>) -> bool {
    let error = answer.as_ref().err();
    error.is_some_and(|error| *error.kind() == fred::error::ErrorKind::Timeout)
}

/// Returns a client for subscriptions, which connects in the background and reconnects indefinitely. Must be called within
/// the runtime.
///
/// # Errors
/// The URL is invalid, or the file with the authorities cannot be read.
pub fn subscriber(config: &RedisConfig) -> anyhow::Result<SubscriberClient> {
    let subscriber = client_builder(config)?
        .with_performance_config(|performance| {
            performance.broadcast_channel_capacity = MESSAGES_QUEUED_MAX;
        })
        .build_subscriber_client()?;
    subscriber.connect();
    tokio::spawn(reopen_when_silent(subscriber.clone()));
    Ok(subscriber)
}

/// Reads the address, and the authorities that issue the certificates of servers and sentinels.
fn parse_address(config: &RedisConfig) -> anyhow::Result<Config> {
    let url = config.url.expose_secret();
    match &config.ca_file {
        Some(file) if config.is_encrypted() => {
            // With the scheme of TLS, the client would load the authorities of the system first, and may find none.
            let mut redis_config = Config::from_url(&url.replacen("rediss", "redis", 1))?;
            let trusted = trust_authorities(file).context("redis.ca_file")?;
            redis_config.tls = Some(TlsConnector::from(trusted).into());
            Ok(redis_config)
        }
        _ => Ok(Config::from_url(url)?),
    }
}

fn client_builder(config: &RedisConfig) -> anyhow::Result<Builder> {
    let mut redis_config = parse_address(config)?;
    // By default the client never tries again if the server is down at the start.
    redis_config.fail_fast = false;
    let mut builder = Builder::from_config(redis_config);
    builder
        .with_connection_config(|connection| {
            connection.connection_timeout = REDIS_CONNECT;
            connection.internal_command_timeout = REDIS_COMMAND;
            // Otherwise the system holds a command back until the server has confirmed the one before.
            connection.tcp.nodelay = Some(true);
            connection.tcp.keepalive = Some(
                TcpKeepalive::new()
                    .with_time(REDIS_SILENCE)
                    .with_interval(REDIS_SILENCE),
            );
            connection.tcp.user_timeout = Some(REDIS_SILENCE);
        })
        .with_performance_config(|performance| {
            performance.default_command_timeout = REDIS_COMMAND;
        })
        .set_policy(ReconnectPolicy::new_exponential(
            0,
            RECONNECT_DELAY_MS_MIN,
            RECONNECT_DELAY_MS_MAX,
            2,
        ));
    Ok(builder)
}

impl From<fred::error::Error> for Error {
    fn from(error: fred::error::Error) -> Self {
        if *error.kind() == fred::error::ErrorKind::Timeout {
            deadlines::count_missed(PeerKind::Redis.label());
        }
        Error::new(
            ErrorKind::Unavailable,
            "redis_unavailable",
            "Please try again in a moment.",
        )
        .with_source(error)
    }
}
