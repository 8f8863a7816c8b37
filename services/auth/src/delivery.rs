//! How one-time passwords reach people: a port with an adapter for each way.

use anyhow::ensure;
use serde::Deserialize;
use talktime_kit::config::Environment;

use crate::domain::{Otp, Phone};

/// A way to deliver, as configuration names it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Adapter {
    /// Only logs that a password was made; for development.
    #[default]
    Log,
}

/// Delivers one-time passwords.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    adapter: Adapter,
}

/// A password on its way to a person.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where to.
    pub phone: Phone,
    /// What.
    pub otp: Otp,
}

impl Delivery {
    /// A delivery by `adapter`. Refuses in production what does not reach people.
    pub fn new(adapter: Adapter, environment: Environment) -> anyhow::Result<Self> {
        ensure!(
            !(adapter == Adapter::Log && environment == Environment::Production),
            "TALKTIME_AUTH__OTP_DELIVERY: the log reaches nobody's phone and does not start in \
             production"
        );
        Ok(Self { adapter })
    }

    /// Delivers a password.
    pub fn deliver(&self, message: &Message) {
        match self.adapter {
            // Never the password: logs are copied further than Redis, where a developer finds it.
            Adapter::Log => {
                tracing::info!(phone_ends_in = message.phone.last_two_digits(), "otp sent");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_refuses_the_log() {
        assert!(Delivery::new(Adapter::Log, Environment::Production).is_err());
        assert!(Delivery::new(Adapter::Log, Environment::Staging).is_ok());
        assert!(Delivery::new(Adapter::Log, Environment::Development).is_ok());
    }
}
