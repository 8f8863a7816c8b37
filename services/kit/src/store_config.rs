//! The settings of clients of NATS and Redis.

use std::path::PathBuf;

use anyhow::ensure;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::environment::DeploymentEnvironment;

/// NATS with JetStream.
#[derive(Clone, Debug, Deserialize)]
pub struct NatsConfig {
    /// `tls://host:port`, several separated by commas; in development also `nats://host:port`.
    pub url: String,
    /// The authorities that issue the certificates of the servers, as PEM; those of the system by default.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The password of this process; commands for operators need that of the operator.
    pub password: SecretString,
}

impl NatsConfig {
    /// Returns the addresses of the servers.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.url.split(',').map(str::trim)
    }

    /// Returns whether connections to all servers are encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.addresses()
            .all(|address| address.starts_with("tls://"))
    }

    /// Refuses addresses over which events could be read or changed, or another server could answer.
    ///
    /// # Errors
    /// A server is reached without TLS outside of development; `variable` is what sets the addresses.
    pub fn check(&self, environment: DeploymentEnvironment, variable: &str) -> anyhow::Result<()> {
        ensure!(
            self.is_encrypted() || !environment.requires_encryption(),
            "{variable} needs tls:// outside of development"
        );
        Ok(())
    }
}

/// Redis.
#[derive(Clone, Debug, Deserialize)]
pub struct RedisConfig {
    /// `rediss://host:port`, or `rediss-sentinel://` with the addresses of sentinels; in development also without TLS,
    /// `redis://` and `redis-sentinel://`.
    pub url: SecretString,
    /// The authorities that issue the certificates of the servers and sentinels, as PEM; those of the system by default.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

impl RedisConfig {
    /// Returns whether connections to servers and sentinels are encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        let url = self.url.expose_secret();
        url.starts_with("rediss://") || url.starts_with("rediss-sentinel://")
    }

    /// Refuses an address over which sessions could be read or changed, or another server could answer.
    ///
    /// # Errors
    /// The address is not one of TLS outside of development; `variable` is what sets it.
    pub fn check(&self, environment: DeploymentEnvironment, variable: &str) -> anyhow::Result<()> {
        ensure!(
            self.is_encrypted() || !environment.requires_encryption(),
            "{variable} needs rediss:// or rediss-sentinel:// outside of development"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nats_at(url: &str) -> NatsConfig {
        NatsConfig {
            url: url.to_owned(),
            ca_file: None,
            password: "secret".into(),
        }
    }

    #[test]
    fn only_development_reaches_nats_without_encryption() {
        let check = |environment, url: &str| nats_at(url).check(environment, "NATS__URL");
        for plain in [
            "nats://nats:4222",
            "nats:4222",
            "tls://a:4222, nats://b:4222",
        ] {
            assert!(check(DeploymentEnvironment::Development, plain).is_ok());
            for environment in [
                DeploymentEnvironment::Staging,
                DeploymentEnvironment::Production,
            ] {
                let refused = check(environment, plain).expect_err(plain);
                assert_eq!(
                    refused.to_string(),
                    "NATS__URL needs tls:// outside of development"
                );
            }
        }
        let encrypted = "tls://a:4222, tls://b:4222";
        assert!(check(DeploymentEnvironment::Production, encrypted).is_ok());
    }

    #[test]
    fn only_development_reaches_redis_without_encryption() {
        let check = |environment, url: &str| {
            let redis = RedisConfig {
                url: url.into(),
                ca_file: None,
            };
            redis.check(environment, "REDIS__URL")
        };
        for plain in ["redis://redis:6379", "redis-sentinel://redis:26379"] {
            assert!(check(DeploymentEnvironment::Development, plain).is_ok());
            for environment in [
                DeploymentEnvironment::Staging,
                DeploymentEnvironment::Production,
            ] {
                let refused = check(environment, plain).expect_err(plain);
                assert_eq!(
                    refused.to_string(),
                    "REDIS__URL needs rediss:// or rediss-sentinel:// outside of development"
                );
            }
        }
        for encrypted in ["rediss://redis:6379", "rediss-sentinel://redis:26379"] {
            assert!(check(DeploymentEnvironment::Production, encrypted).is_ok());
        }
    }
}
