//! Auth's own settings.

use secrecy::SecretString;
use serde::Deserialize;
use talktime_kit::config::RedisConfig;

use crate::delivery::{DeliveryAdapter, SmsConfig};
use crate::domain::OtpRules;
use crate::domain::claims::TokenLifetimes;

/// Auth's own settings.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Where OTPs and sessions are kept: one primary, since a script touches several keys.
    pub redis: RedisConfig,
    /// What signs tokens, and how long they hold.
    pub tokens: TokensConfig,
    /// What bounds one-time passwords.
    #[serde(default)]
    pub otp: OtpRules,
    /// How one-time passwords reach people.
    #[serde(default)]
    pub otp_delivery: DeliveryAdapter,
    /// The provider of text messages, for `sms`.
    pub sms: Option<SmsConfig>,
    /// The services that auth asks.
    pub peers: PeersConfig,
}

/// What signs tokens, and how long they hold.
#[derive(Clone, Debug, Deserialize)]
pub struct TokensConfig {
    /// What the private keys in the database are sealed under: 64 hexadecimal digits
    /// (`openssl rand -hex 32`). The keys themselves are auth's own to make.
    pub sealing_key: SecretString,
    /// How long a new key is published before it may sign, in seconds: whoever keeps the key set has
    /// asked for it again by then.
    #[serde(default = "default_key_published_secs")]
    pub key_published_secs: u32,
    /// How long tokens hold.
    #[serde(default)]
    pub lifetimes: TokenLifetimes,
    /// How long a used refresh token gives the same pair once more while the new one is unused, in
    /// seconds: for phones that lose an answer. Zero, the contract's letter, is never.
    #[serde(default)]
    pub refresh_grace_secs: u32,
}

const fn default_key_published_secs() -> u32 {
    300
}

/// Addresses of other services, `http://host:port`.
#[derive(Clone, Debug, Deserialize)]
pub struct PeersConfig {
    /// Knows who has an account.
    pub profile: String,
    /// Knows who is online.
    pub presence: String,
}
