//! Delivery of one-time passwords: one interface with an implementation for each way.

mod sms;

use anyhow::{Context, ensure};
use serde::Deserialize;
use talktime_kit::config::DeploymentEnvironment;

pub use self::sms::{SmsProviderClient, SmsProviderConfig};
use crate::domain::{OneTimePassword, PhoneNumber};

/// The configured way of delivery.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum OtpDeliveryAdapter {
    /// Only logs that a password was made; for development.
    #[default]
    Log,
    /// A text message, by a provider over HTTP.
    Sms,
}

/// Delivers one-time passwords.
#[derive(Debug)]
pub enum OtpDelivery {
    /// See [`OtpDeliveryAdapter::Log`].
    Log,
    /// See [`OtpDeliveryAdapter::Sms`].
    Sms(Box<SmsProviderClient>),
}

/// A password and the phone that it is sent to.
#[derive(Clone, Debug)]
pub struct OtpMessage {
    pub phone: PhoneNumber,
    pub otp: OneTimePassword,
}

/// The reason why a password may not have been delivered.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OtpDeliveryFailure {
    /// Nothing was sent, and another attempt at once would fail as well.
    #[error("the provider refused the message")]
    Refused,
    /// Nothing was sent.
    #[error("the provider does not take messages now")]
    NotSent,
    /// It may have been sent: the answer is missing.
    #[error("the provider did not say whether it took the message")]
    Unknown,
}

impl OtpDelivery {
    /// A delivery by `adapter`. Refuses in production what does not reach people.
    pub fn new(
        adapter: OtpDeliveryAdapter,
        sms: Option<SmsProviderConfig>,
        environment: DeploymentEnvironment,
    ) -> anyhow::Result<Self> {
        match adapter {
            OtpDeliveryAdapter::Log => {
                ensure!(
                    environment != DeploymentEnvironment::Production,
                    "TALKTIME_AUTH__OTP_DELIVERY: the log reaches nobody's phone and does not start \
                     in production"
                );
                Ok(Self::Log)
            }
            OtpDeliveryAdapter::Sms => {
                let sms = sms.context(
                    "TALKTIME_AUTH__OTP_DELIVERY is sms, and nothing of TALKTIME_AUTH__SMS is set",
                )?;
                Ok(Self::Sms(Box::new(SmsProviderClient::new(
                    sms,
                    environment,
                )?)))
            }
        }
    }

    /// Checks whether a password could be delivered now.
    pub fn check_open(&self) -> Result<(), OtpDeliveryFailure> {
        match self {
            Self::Log => Ok(()),
            Self::Sms(sms) => sms.check_open(),
        }
    }

    /// Delivers a password.
    pub async fn deliver(&self, message: &OtpMessage) -> Result<(), OtpDeliveryFailure> {
        match self {
            // The password is not logged, because logs are copied to other systems; developers find it in
            // Redis.
            Self::Log => {
                tracing::info!(phone_ends_in = message.phone.last_two_digits(), "otp sent");
                Ok(())
            }
            Self::Sms(sms) => sms.send(message).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_refuses_the_log() {
        let log = |environment| OtpDelivery::new(OtpDeliveryAdapter::Log, None, environment);
        assert!(log(DeploymentEnvironment::Production).is_err());
        assert!(log(DeploymentEnvironment::Staging).is_ok());
        assert!(log(DeploymentEnvironment::Development).is_ok());
    }

    #[test]
    fn text_messages_need_a_provider() {
        let error = OtpDelivery::new(
            OtpDeliveryAdapter::Sms,
            None,
            DeploymentEnvironment::Staging,
        );
        let message = error.expect_err("nothing is set").to_string();
        assert!(message.contains("TALKTIME_AUTH__SMS"), "{message}");
    }
}
