//! The wallet's own settings.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::TimeDelta;
use serde::Deserialize;
use talktime_kit::config::DeploymentEnvironment;
use talktime_kit::object_store::S3Config;

use crate::anchors::{AnchorBucket, AnchorStorage};
use crate::domain::anchor::AnchorSigner;
use crate::domain::payment::RateCard;
use crate::domain::withdrawal::WithdrawalLimits;
use crate::ledger::WalletTerms;
use crate::provider::PaymentProvider;
use crate::provider::razorpay::{RazorpayClient, RazorpayConfig};
use crate::sealing::BankDetailsConfig;

const PAISE_PER_RUPEE: i64 = 100;

/// The wallet's own settings.
#[derive(Clone, Debug, Deserialize)]
pub struct WalletConfig {
    /// The payment provider and its account.
    pub payments: PaymentProviderConfig,
    /// The prices of coins.
    #[serde(default)]
    pub rate_card: RateCard,
    /// Keys of bank details.
    pub bank_details: BankDetailsConfig,
    /// Limits of withdrawals.
    #[serde(default)]
    pub withdrawals: WithdrawalLimitsConfig,
    /// The most coins that one admin may give on one day in India. By default nothing is limited.
    #[serde(default)]
    pub daily_bonus_coins: Option<u32>,
    /// Whether minutes that are paid with given coins earn listeners as much as others, at the expense of the platform. By
    /// default they earn nothing.
    #[serde(default)]
    pub bonus_earns: bool,
    /// The interval between verifications of the books.
    #[serde(default)]
    pub verify: BooksVerificationConfig,
    /// Where the ends of chains are anchored. By default they are not.
    #[serde(default)]
    pub anchors: Option<LedgerAnchorsConfig>,
    /// Addresses of the services that the wallet calls.
    pub peers: PeerAddressConfig,
}

/// Addresses of other services, `https://host:port`.
#[derive(Clone, Debug, Deserialize)]
pub struct PeerAddressConfig {
    /// Auth signs the tokens of users, and knows who is an admin.
    pub auth: String,
}

/// Where the ends of chains are anchored: in a bucket with Object Lock, or in a folder for development.
#[derive(Clone, Debug, Deserialize)]
pub struct LedgerAnchorsConfig {
    /// A file with 64 hexadecimal digits, the private key of anchors. Whoever only verifies needs none.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// The public key of anchors, as 64 hexadecimal digits; that of the private key by default.
    #[serde(default)]
    pub public_key: Option<String>,
    /// The folder of anchors.
    #[serde(default)]
    pub folder: Option<PathBuf>,
    /// The bucket of anchors.
    #[serde(default)]
    pub s3: Option<S3Config>,
    /// Days for which nobody can delete or replace an anchor in the bucket.
    #[serde(default = "default_locked_days")]
    pub locked_days: u32,
    /// Seconds between two anchors.
    #[serde(default = "default_anchor_every_secs")]
    pub every_secs: u32,
}

/// Eight years, for which companies in India keep their books, and some reserve.
const fn default_locked_days() -> u32 {
    3_000
}

const fn default_anchor_every_secs() -> u32 {
    3_600
}

/// The payment provider and its account.
#[derive(Clone, Debug, Deserialize)]
pub struct PaymentProviderConfig {
    /// The provider.
    pub provider: PaymentProviderName,
    /// The account at Razorpay, where that is the provider.
    #[serde(default)]
    pub razorpay: Option<RazorpayConfig>,
}

/// A payment provider (contract, section 9).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum PaymentProviderName {
    /// Credits every order without money; for development only.
    Sandbox,
    /// Razorpay, with real money.
    Razorpay,
}

/// Limits of withdrawals. By default nothing is limited.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct WithdrawalLimitsConfig {
    /// The least that may be withdrawn at once, in rupees.
    pub minimum_rupees: u32,
    /// The most that one listener may withdraw in 24 hours, in rupees.
    pub daily_rupees: Option<u32>,
    /// Above this two admins must agree to what a listener requests within 24 hours, in rupees.
    pub two_admins_above_rupees: u32,
    /// The delay of payouts after a change of bank details.
    pub bank_change_delay_hours: u32,
    /// Whether the delay applies to the first bank details of a listener as well.
    pub delay_first_bank_details: bool,
    /// The hours for which the earnings of a call cannot be withdrawn after its settlement.
    pub earnings_hold_hours: u32,
}

impl Default for WithdrawalLimitsConfig {
    fn default() -> Self {
        Self {
            minimum_rupees: 0,
            daily_rupees: None,
            two_admins_above_rupees: 10_000,
            bank_change_delay_hours: 24,
            delay_first_bank_details: false,
            earnings_hold_hours: 0,
        }
    }
}

/// The interval between verifications of the books.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct BooksVerificationConfig {
    /// Seconds between two verifications.
    pub every_secs: u32,
}

impl Default for BooksVerificationConfig {
    fn default() -> Self {
        Self { every_secs: 3_600 }
    }
}

impl LedgerAnchorsConfig {
    /// Reads the private key, where one is configured.
    pub fn read_signer(&self) -> anyhow::Result<Option<AnchorSigner>> {
        let Some(file) = &self.key_file else {
            return Ok(None);
        };
        let digits = std::fs::read_to_string(file)
            .with_context(|| format!("anchors.key_file: cannot read {}", file.display()))?;
        let signer = AnchorSigner::from_hex(&digits).context("anchors.key_file")?;
        Ok(Some(signer))
    }

    /// Opens the bucket or the folder.
    pub fn open_storage(&self) -> anyhow::Result<AnchorStorage> {
        match (&self.s3, &self.folder) {
            (Some(s3), None) => {
                let bucket = AnchorBucket::new(s3, self.locked_days)?;
                Ok(AnchorStorage::Bucket(bucket))
            }
            (None, Some(folder)) => Ok(AnchorStorage::Folder(folder.clone())),
            _ => bail!("either anchors.s3 or anchors.folder must be set"),
        }
    }

    /// The interval between two anchors.
    pub fn every(&self) -> Duration {
        Duration::from_secs(self.every_secs.max(1).into())
    }
}

impl WalletConfig {
    /// Refuses to start the sandbox where real money is used, and to keep no anchors or to keep them in a folder.
    pub fn check(&self, environment: DeploymentEnvironment) -> anyhow::Result<()> {
        let is_sandbox = self.payments.provider == PaymentProviderName::Sandbox;
        ensure!(
            !(is_sandbox && environment == DeploymentEnvironment::Production),
            "TALKTIME_WALLET__PAYMENTS__PROVIDER: the sandbox gives coins for nothing and does not \
             start in production"
        );
        let bucket = self
            .anchors
            .as_ref()
            .and_then(|anchors| anchors.s3.as_ref());
        if let Some(bucket) = bucket {
            bucket.check(environment, "TALKTIME_WALLET__ANCHORS__S3__ENDPOINT")?;
        }
        ensure!(
            bucket.is_some() || environment != DeploymentEnvironment::Production,
            "TALKTIME_WALLET__ANCHORS__S3__ENDPOINT: production anchors its chains in a bucket"
        );
        Ok(())
    }

    /// The provider that is configured.
    pub fn provider(&self) -> anyhow::Result<PaymentProvider> {
        match self.payments.provider {
            PaymentProviderName::Sandbox => Ok(PaymentProvider::Sandbox),
            PaymentProviderName::Razorpay => {
                let account = self.payments.razorpay.as_ref().context(
                    "TALKTIME_WALLET__PAYMENTS__RAZORPAY__KEY_ID, \
                     TALKTIME_WALLET__PAYMENTS__RAZORPAY__KEY_SECRET and \
                     TALKTIME_WALLET__PAYMENTS__RAZORPAY__WEBHOOK_SECRET are not set",
                )?;
                Ok(PaymentProvider::Razorpay(Arc::new(RazorpayClient::new(
                    account,
                )?)))
            }
        }
    }

    /// Returns the prices and limits in the units of the ledger.
    pub fn terms(&self) -> WalletTerms {
        let paise = |rupees: u32| i64::from(rupees) * PAISE_PER_RUPEE;
        let withdrawals = self.withdrawals;
        WalletTerms {
            rate_card: self.rate_card.clone(),
            withdrawals: WithdrawalLimits {
                minimum_paise: paise(withdrawals.minimum_rupees),
                daily_paise: withdrawals.daily_rupees.map(paise),
                two_admins_above_paise: paise(withdrawals.two_admins_above_rupees),
                bank_change_delay: TimeDelta::hours(withdrawals.bank_change_delay_hours.into()),
                delays_first_bank_details: withdrawals.delay_first_bank_details,
                earnings_hold: TimeDelta::hours(withdrawals.earnings_hold_hours.into()),
            },
            daily_bonus_coins: self.daily_bonus_coins.map(i64::from),
            bonus_earns: self.bonus_earns,
        }
    }

    /// The interval between two verifications of the books.
    pub fn verify_every(&self) -> Duration {
        Duration::from_secs(self.verify.every_secs.max(1).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(provider: PaymentProviderName) -> WalletConfig {
        WalletConfig {
            payments: PaymentProviderConfig {
                provider,
                razorpay: None,
            },
            rate_card: RateCard::default(),
            bank_details: BankDetailsConfig {
                key: "ab".repeat(32).into(),
                key_id: "1".to_owned(),
                retired_keys: None,
            },
            withdrawals: WithdrawalLimitsConfig::default(),
            daily_bonus_coins: None,
            bonus_earns: false,
            verify: BooksVerificationConfig::default(),
            anchors: None,
            peers: PeerAddressConfig {
                auth: "https://auth:7100".to_owned(),
            },
        }
    }

    #[test]
    fn production_refuses_the_sandbox() {
        let sandbox = config(PaymentProviderName::Sandbox);
        assert!(sandbox.check(DeploymentEnvironment::Production).is_err());
        assert!(sandbox.check(DeploymentEnvironment::Development).is_ok());
        assert!(
            with_anchors(Some("https://s3"))
                .check(DeploymentEnvironment::Production)
                .is_ok()
        );
    }

    /// A wallet with a provider, and with anchors in a bucket or in a folder.
    fn with_anchors(endpoint: Option<&str>) -> WalletConfig {
        let s3 = endpoint.map(|endpoint| S3Config {
            endpoint: endpoint.to_owned(),
            ca_file: None,
            bucket: "anchors".to_owned(),
            region: "us-east-1".to_owned(),
            access_key: "id".to_owned(),
            secret_key: "secret".into(),
            presigned_secs: 900,
        });
        let folder = s3.is_none().then(|| PathBuf::from("/anchors"));
        WalletConfig {
            anchors: Some(LedgerAnchorsConfig {
                key_file: None,
                public_key: None,
                folder,
                s3,
                locked_days: default_locked_days(),
                every_secs: default_anchor_every_secs(),
            }),
            ..config(PaymentProviderName::Razorpay)
        }
    }

    #[test]
    fn production_anchors_chains_in_a_bucket_that_it_reaches_encrypted() {
        for without_bucket in [config(PaymentProviderName::Razorpay), with_anchors(None)] {
            let refused = without_bucket.check(DeploymentEnvironment::Production);
            assert!(refused.is_err());
            assert!(without_bucket.check(DeploymentEnvironment::Staging).is_ok());
        }
        let in_clear = with_anchors(Some("http://s3"));
        let refused = in_clear.check(DeploymentEnvironment::Production);
        let refused = refused.expect_err("in clear").to_string();
        assert!(
            refused.contains("ANCHORS__S3__ENDPOINT needs https://"),
            "{refused}"
        );
    }

    #[test]
    fn a_provider_without_its_account_is_refused_with_the_missing_variables() {
        let error = config(PaymentProviderName::Razorpay)
            .provider()
            .expect_err("no account");
        assert!(
            error.to_string().contains("RAZORPAY__KEY_SECRET"),
            "{error}"
        );
        assert!(config(PaymentProviderName::Sandbox).provider().is_ok());
    }

    #[test]
    fn by_default_nothing_limits_a_withdrawal() {
        let limits = config(PaymentProviderName::Sandbox).terms().withdrawals;
        assert_eq!((limits.minimum_paise, limits.daily_paise), (0, None));
        assert_eq!(limits.earnings_hold, TimeDelta::zero());
        assert_eq!(limits.two_admins_above_paise, 1_000_000);
    }
}
