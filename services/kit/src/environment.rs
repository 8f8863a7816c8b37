//! The environment of a process, and what it requires.

use serde::Deserialize;

/// The environment of a process. Development may use adapters that production refuses.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum DeploymentEnvironment {
    /// One machine, test money, OTPs in the log.
    Development,
    /// Like production, with test money.
    Staging,
    /// Real people, real money.
    Production,
}

impl DeploymentEnvironment {
    /// Returns whether every connection to a store must be encrypted, to a server whose certificate is verified.
    pub fn requires_encryption(self) -> bool {
        self != Self::Development
    }
}
