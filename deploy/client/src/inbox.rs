//! The text messages that phones receive, in development.

use std::time::Duration;

use anyhow::Context;
use fred::prelude::*;

use crate::wait::until;

const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// Reads one-time passwords where the auth service keeps them (`otp:{phone}` in Redis; contract,
/// section 2), since development sends none.
#[derive(Clone)]
pub struct OtpInbox {
    redis: Client,
}

impl OtpInbox {
    /// Looks into the Redis at `redis://host:port`.
    pub async fn connect(redis_url: &str) -> anyhow::Result<Self> {
        let redis = Builder::from_config(Config::from_url(redis_url)?).build()?;
        redis.init().await.context("Redis is not there")?;
        Ok(Self { redis })
    }

    /// The password that was sent to a phone last.
    pub async fn read(&self, phone: &str) -> anyhow::Result<String> {
        until("a one-time password", ARRIVES_WITHIN, async || {
            let otp: Option<String> = self.redis.get(format!("otp:{phone}")).await?;
            Ok(otp)
        })
        .await
    }
}
