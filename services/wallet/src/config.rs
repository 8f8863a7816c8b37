//! The wallet's own settings.

use anyhow::ensure;
use serde::Deserialize;
use talktime_kit::config::Environment;

use crate::domain::payment::RateCard;

/// The wallet's own settings.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Who vouches for payments.
    pub payments: PaymentsConfig,
    /// What coins cost.
    #[serde(default)]
    pub rate_card: RateCard,
}

/// Who vouches for payments.
#[derive(Clone, Debug, Deserialize)]
pub struct PaymentsConfig {
    /// The provider.
    pub provider: Provider,
}

/// A payment provider (contract, section 9).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Pays by itself, with no money; for development.
    Sandbox,
}

impl Config {
    /// Refuses what must not run where real money is.
    pub fn check(&self, environment: Environment) -> anyhow::Result<()> {
        let is_sandbox = self.payments.provider == Provider::Sandbox;
        ensure!(
            !(is_sandbox && environment == Environment::Production),
            "TALKTIME_WALLET__PAYMENTS__PROVIDER: the sandbox gives coins for nothing and does not \
             start in production"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_refuses_the_sandbox() {
        let config = Config {
            payments: PaymentsConfig {
                provider: Provider::Sandbox,
            },
            rate_card: RateCard::default(),
        };
        assert!(config.check(Environment::Production).is_err());
        assert!(config.check(Environment::Development).is_ok());
    }
}
