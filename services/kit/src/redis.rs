//! Connections to Redis. Every command has a deadline, so that a dead server causes an error and not a wait.

use std::time::Duration;

use fred::prelude::*;
pub use fred::{clients::Pool, prelude as commands, types::scripts::Script};
use secrecy::ExposeSecret;

use crate::config::RedisConfig;
use crate::error::{Error, Kind};

const POOL_SIZE: usize = 4;
const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const RECONNECT_DELAY_MS_MIN: u32 = 20;
const RECONNECT_DELAY_MS_MAX: u32 = 1_000;

/// Returns a pool that connects in the background and reconnects indefinitely.
///
/// # Errors
/// The URL is invalid.
pub fn connect(config: &RedisConfig) -> anyhow::Result<Pool> {
    let mut redis_config = Config::from_url(config.url.expose_secret())?;
    // By default the client never tries again if the server is down at the start.
    redis_config.fail_fast = false;
    let pool = Builder::from_config(redis_config)
        .with_connection_config(|connection| {
            connection.connection_timeout = CONNECT_TIMEOUT;
            connection.internal_command_timeout = COMMAND_TIMEOUT;
        })
        .with_performance_config(|performance| {
            performance.default_command_timeout = COMMAND_TIMEOUT;
        })
        .set_policy(ReconnectPolicy::new_exponential(
            0,
            RECONNECT_DELAY_MS_MIN,
            RECONNECT_DELAY_MS_MAX,
            2,
        ))
        .build_pool(POOL_SIZE)?;
    pool.connect();
    Ok(pool)
}

impl From<fred::error::Error> for Error {
    fn from(error: fred::error::Error) -> Self {
        Error::new(
            Kind::Unavailable,
            "redis_unavailable",
            "Please try again in a moment.",
        )
        .with_source(error)
    }
}
