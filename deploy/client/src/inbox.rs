//! One-time passwords, which development does not send as text messages.

use std::time::Duration;

use anyhow::Context;
use fred::prelude::*;

use crate::store_address::StoreAddress;
use crate::wait::poll_until;

const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// Reads one-time passwords from where auth stores them (`otp:{phone}` in Redis; contract, section 2).
#[derive(Clone)]
pub struct OtpInbox {
    redis: Client,
}

impl OtpInbox {
    /// Connects to the Redis of auth.
    pub async fn connect(redis: &StoreAddress) -> anyhow::Result<Self> {
        let redis = Builder::from_config(redis.redis_config()?).build()?;
        redis.init().await.context("cannot connect to Redis")?;
        Ok(Self { redis })
    }

    /// Waits for the one-time password of a phone and returns it.
    pub async fn read_otp(&self, phone: &str) -> anyhow::Result<String> {
        poll_until("one-time password", ARRIVES_WITHIN, async || {
            let otp: Option<String> = self.redis.get(format!("otp:{phone}")).await?;
            Ok(otp)
        })
        .await
    }
}
