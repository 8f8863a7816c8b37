//! Auth's own settings.

use std::ops::RangeInclusive;

use secrecy::SecretString;
use serde::Deserialize;
use talktime_kit::config::RedisConfig;

use crate::attestation::AttestationConfig;
use crate::delivery::{OtpDeliveryAdapter, SmsProviderConfig};
use crate::domain::claims::TokenLifetimes;
use crate::domain::{OtpRules, PhoneRules};

/// Auth's own settings.
#[derive(Clone, Debug, Deserialize)]
pub struct AuthConfig {
    /// The Redis that stores one-time passwords and sessions: one primary, since a script touches several keys.
    pub redis: RedisConfig,
    /// The sealing key of signing keys, and the lifetimes of tokens.
    pub tokens: TokenSigningConfig,
    /// Limits of one-time passwords.
    #[serde(default)]
    pub otp: OtpRules,
    /// The phone numbers that may log in.
    #[serde(default)]
    pub phones: PhoneRules,
    /// The way in which one-time passwords are delivered.
    #[serde(default)]
    pub otp_delivery: OtpDeliveryAdapter,
    /// The provider of text messages, for `sms`.
    pub sms: Option<SmsProviderConfig>,
    /// Proofs that requests for one-time passwords come from our app.
    #[serde(default)]
    pub attestation: AttestationConfig,
    /// The log of what admins do.
    #[serde(default)]
    pub audit: AuditConfig,
    /// Addresses of the services that auth calls.
    pub peers: PeerAddressConfig,
}

/// The log of what admins do.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AuditConfig {
    /// Whether each request of an admin must give a reason, in the header `X-Audit-Reason`.
    pub require_reason: bool,
    /// Months after which the audit log is dropped, from 3 to 1200. By default it is kept until the operator archives it.
    pub kept_months: Option<u16>,
}

impl AuditConfig {
    /// Checks what the database would refuse hour after hour.
    ///
    /// # Errors
    /// The log would be kept for too short a time, or for longer than `drop_audit_months` accepts.
    pub fn check(&self) -> anyhow::Result<()> {
        const KEPT_MONTHS: RangeInclusive<u16> = 3..=1200;
        anyhow::ensure!(
            self.kept_months
                .is_none_or(|kept| KEPT_MONTHS.contains(&kept)),
            "TALKTIME_AUTH__AUDIT__KEPT_MONTHS must be from {} to {}",
            KEPT_MONTHS.start(),
            KEPT_MONTHS.end()
        );
        Ok(())
    }
}

/// The sealing key of signing keys, and the lifetimes of tokens.
#[derive(Clone, Debug, Deserialize)]
pub struct TokenSigningConfig {
    /// The key that seals the private keys in the database: 64 hexadecimal digits
    /// (`openssl rand -hex 32`). The keys themselves are auth's own to make.
    pub sealing_key: SecretString,
    /// Seconds for which a new key is published before it may sign, so that all caches of the key set have
    /// been refreshed.
    #[serde(default = "default_key_published_secs")]
    pub key_published_secs: u32,
    /// Lifetimes of tokens.
    #[serde(default)]
    pub lifetimes: TokenLifetimes,
    /// Seconds in which a used refresh token returns the same pair once more while the new one is unused, for
    /// phones that lose an answer. Zero disables this, as the contract demands.
    #[serde(default)]
    pub refresh_grace_secs: u32,
}

const fn default_key_published_secs() -> u32 {
    300
}

/// Addresses of other services, `http://host:port`.
#[derive(Clone, Debug, Deserialize)]
pub struct PeerAddressConfig {
    /// The profile service, which stores accounts.
    pub profile: String,
    /// The presence service.
    pub presence: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_of_the_audit_log_are_those_that_the_database_accepts() {
        let is_accepted = |kept_months| {
            let audit = AuditConfig {
                kept_months,
                ..AuditConfig::default()
            };
            audit.check().is_ok()
        };
        assert!([None, Some(3), Some(1200)].into_iter().all(is_accepted));
        assert!(![Some(2), Some(1201)].into_iter().any(is_accepted));
    }
}
