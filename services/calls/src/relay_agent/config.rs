//! Settings of the relay agent, `TALKTIME_RELAY_AGENT__…`.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use talktime_kit::config::{DeploymentEnvironment, NatsConfig, RedisConfig};

use crate::domain::relay::is_realm;

/// Settings of the relay agent.
#[derive(Clone, Debug, Deserialize)]
pub struct RelayAgentConfig {
    /// NATS, which carries the orders to cut.
    pub nats: NatsConfig,
    /// The Redis in which coturn publishes its statistics, on the same machine.
    pub redis: RedisConfig,
    /// The relay beside this agent.
    pub relay: RelayConfig,
    /// Address of the calls service, `https://host:port`.
    pub calls: String,
}

impl RelayAgentConfig {
    /// Refuses settings of the relay that calls would refuse, and addresses over which orders could be read or forged.
    pub(super) fn validate(&self, environment: DeploymentEnvironment) -> anyhow::Result<()> {
        self.relay.validate()?;
        self.nats
            .check(environment, "TALKTIME_RELAY_AGENT__NATS__URL")?;
        // Coturn knows no TLS to its Redis, so the two share a machine, as the agent does.
        let url = self.redis.url.expose_secret();
        // In an address with a user, what looks like the host is the user.
        if url.starts_with("redis://127.0.0.1:") && !url.contains('@') {
            return Ok(());
        }
        self.redis
            .check(environment, "TALKTIME_RELAY_AGENT__REDIS__URL")
    }
}

/// The relay beside an agent.
#[derive(Clone, Debug, Deserialize)]
pub struct RelayConfig {
    /// TURN realm, which no other relay has.
    pub realm: String,
    /// Addresses at which apps reach it, `turn:` and `turns:` URLs.
    pub urls: Vec<String>,
    /// Address of its console, `host:port`.
    pub console: String,
    /// File with the password of its console.
    pub console_password_file: PathBuf,
}

impl RelayConfig {
    /// Reads the password of the console.
    ///
    /// # Errors
    /// The file cannot be read or is empty.
    pub(super) fn load_console_password(&self) -> anyhow::Result<SecretString> {
        let path = &self.console_password_file;
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let password = text.trim();
        ensure!(!password.is_empty(), "{} is empty", path.display());
        Ok(password.into())
    }

    /// Refuses settings that calls would refuse in every report.
    fn validate(&self) -> anyhow::Result<()> {
        ensure!(
            is_realm(&self.realm),
            "TALKTIME_RELAY_AGENT__RELAY__REALM must be a host name"
        );
        ensure!(
            !self.urls.is_empty(),
            "TALKTIME_RELAY_AGENT__RELAY__URLS must not be empty"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(nats: &str, redis: &str) -> RelayAgentConfig {
        RelayAgentConfig {
            nats: NatsConfig {
                url: nats.to_owned(),
                ca_file: None,
                password: "secret".into(),
            },
            redis: RedisConfig {
                url: redis.into(),
                ca_file: None,
            },
            relay: RelayConfig {
                realm: "relay-1".to_owned(),
                urls: vec!["turn:relay-1.example.com:3478".to_owned()],
                console: "127.0.0.1:7304".to_owned(),
                console_password_file: "/run/secrets/turn-console".into(),
            },
            calls: "https://calls:7100".to_owned(),
        }
    }

    #[test]
    fn only_the_redis_of_this_machine_is_reached_without_encryption() {
        let check = |nats, redis| config(nats, redis).validate(DeploymentEnvironment::Production);
        let (nats, beside) = ("tls://nats:4222", "redis://127.0.0.1:7306");
        assert!(check(nats, beside).is_ok());
        for (nats, redis, variable) in [
            (
                "nats://nats:4222",
                beside,
                "TALKTIME_RELAY_AGENT__NATS__URL",
            ),
            (
                nats,
                "redis://redis:6379",
                "TALKTIME_RELAY_AGENT__REDIS__URL",
            ),
        ] {
            let refused = check(nats, redis).expect_err(variable).to_string();
            assert!(refused.starts_with(variable), "{refused}");
        }
        let development = config("nats://nats:4222", "redis://redis:6379");
        assert!(
            development
                .validate(DeploymentEnvironment::Development)
                .is_ok()
        );
    }
}
