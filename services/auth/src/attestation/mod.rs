//! Verification of attestations: one interface, with an implementation for each platform that signs them.

mod development;
mod guard;
mod jwe;
mod play_integrity;

use anyhow::{Context, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use talktime_kit::config::DeploymentEnvironment;

pub use self::development::DevelopmentAttestationConfig;
use self::development::DevelopmentVerifier;
pub use self::guard::AttestationGuard;
pub use self::play_integrity::PlayIntegrityConfig;
use self::play_integrity::PlayIntegrityVerifier;
use crate::domain::{AttestationFailure, AttestationStatement};

/// The longest time for which an attestation may be accepted, in seconds. Used ones are remembered for as long.
const LIFETIME_SECS_MAX: u32 = 3_600;

/// The platform whose attestations are verified.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum AttestationAdapter {
    /// None is verified, and every request is accepted.
    #[default]
    None,
    /// A key of the developer's machine.
    Development,
    /// Play Integrity, by classic requests.
    PlayIntegrity,
}

/// Proofs that requests for one-time passwords come from our app on a genuine device.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct AttestationConfig {
    /// The platform whose attestations are verified.
    pub adapter: AttestationAdapter,
    /// Whether requests without a valid attestation are refused. Otherwise they are only counted, as long as apps that
    /// send none are in use.
    pub required: bool,
    /// Seconds from its signature in which an attestation is accepted, an hour at most.
    pub lifetime_secs: u32,
    /// The key of the developer's machine, for `development`.
    pub development: Option<DevelopmentAttestationConfig>,
    /// The app and its keys, for `play_integrity`.
    pub play_integrity: Option<PlayIntegrityConfig>,
}

impl Default for AttestationConfig {
    fn default() -> Self {
        Self {
            adapter: AttestationAdapter::default(),
            required: false,
            lifetime_secs: 300,
            development: None,
            play_integrity: None,
        }
    }
}

impl AttestationConfig {
    fn check(&self, environment: DeploymentEnvironment) -> anyhow::Result<()> {
        ensure!(
            (1..=LIFETIME_SECS_MAX).contains(&self.lifetime_secs),
            "TALKTIME_AUTH__ATTESTATION__LIFETIME_SECS must be between 1 and {LIFETIME_SECS_MAX}"
        );
        ensure!(
            !self.required || self.adapter != AttestationAdapter::None,
            "TALKTIME_AUTH__ATTESTATION__REQUIRED needs an adapter that verifies attestations"
        );
        ensure!(
            self.adapter != AttestationAdapter::Development
                || environment == DeploymentEnvironment::Development,
            "TALKTIME_AUTH__ATTESTATION__ADAPTER: a key of a developer's machine vouches for no device, and does not \
             start outside of development"
        );
        Ok(())
    }

    /// Creates the verifier of the configured platform, if there is one.
    fn create_verifier(self) -> anyhow::Result<Option<Box<dyn AttestationVerifier>>> {
        let missing = |section: &str| {
            format!("TALKTIME_AUTH__ATTESTATION__ADAPTER is set, and nothing of {section} is")
        };
        let verifier: Box<dyn AttestationVerifier> = match self.adapter {
            AttestationAdapter::None => return Ok(None),
            AttestationAdapter::Development => {
                let config = self.development.with_context(|| missing("DEVELOPMENT"))?;
                Box::new(DevelopmentVerifier::new(&config)?)
            }
            AttestationAdapter::PlayIntegrity => {
                let config = self.play_integrity;
                let config = config.with_context(|| missing("PLAY_INTEGRITY"))?;
                Box::new(PlayIntegrityVerifier::new(config)?)
            }
        };
        Ok(Some(verifier))
    }
}

/// Verifies attestations of one platform: signature, app and device. Whether an attestation is for the request that
/// it comes with is the same for all platforms, and no concern of this.
trait AttestationVerifier: Send + Sync {
    fn verify(&self, token: &str) -> Result<AttestationStatement, AttestationFailure>;
}

/// Claims with a valid signature, and a digest of what was signed.
struct SignedClaims<T> {
    claims: T,
    fingerprint: String,
}

/// Verifies a signed token in compact form (RFC 7515) with an ES256 signature, which all platforms use.
fn verify_signed<T: DeserializeOwned>(
    token: &str,
    key: &DecodingKey,
) -> Result<SignedClaims<T>, AttestationFailure> {
    let (signed, _) = token
        .rsplit_once('.')
        .ok_or(AttestationFailure::Malformed)?;
    let mut validation = Validation::new(Algorithm::ES256);
    // Platforms write the time and the app in claims of their own.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let verified = decode::<T>(token, key, &validation).map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => AttestationFailure::Forged,
        _ => AttestationFailure::Malformed,
    })?;
    Ok(SignedClaims {
        claims: verified.claims,
        fingerprint: hex::encode(digest(&SHA256, signed.as_bytes())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(adapter: AttestationAdapter) -> AttestationConfig {
        AttestationConfig {
            adapter,
            ..AttestationConfig::default()
        }
    }

    #[test]
    fn a_key_of_a_developer_counts_in_development_only() {
        let development = config(AttestationAdapter::Development);
        let check = |environment| development.check(environment);
        assert!(check(DeploymentEnvironment::Development).is_ok());
        assert!(check(DeploymentEnvironment::Staging).is_err());
        assert!(check(DeploymentEnvironment::Production).is_err());
    }

    #[test]
    fn attestations_cannot_be_required_and_not_verified() {
        let required = |adapter| AttestationConfig {
            required: true,
            ..config(adapter)
        };
        let production = DeploymentEnvironment::Production;
        assert!(
            required(AttestationAdapter::None)
                .check(production)
                .is_err()
        );
        let play = required(AttestationAdapter::PlayIntegrity);
        assert!(play.check(production).is_ok());
    }

    #[test]
    fn an_adapter_needs_its_settings() {
        for (adapter, section) in [
            (AttestationAdapter::Development, "DEVELOPMENT"),
            (AttestationAdapter::PlayIntegrity, "PLAY_INTEGRITY"),
        ] {
            let Err(error) = config(adapter).create_verifier() else {
                panic!("{section} is not set");
            };
            assert!(error.to_string().contains(section), "{error}");
        }
    }
}
