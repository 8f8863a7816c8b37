//! Attestations for development: signed with a key of the developer's machine instead of by the platform of a phone. They
//! prove nothing about app and device, and everything else is verified as in production.

use std::path::PathBuf;

use anyhow::Context;
use chrono::DateTime;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;

use super::{AttestationVerifier, verify_signed};
use crate::domain::{AttestationFailure, AttestationStatement};

/// The key of the developer's machine.
#[derive(Clone, Debug, Deserialize)]
pub struct DevelopmentAttestationConfig {
    /// The file with the public key, of the curve P-256 in PEM. `cargo dev` creates one.
    pub key_file: PathBuf,
}

/// Verifies JWTs with an ES256 signature.
pub(super) struct DevelopmentVerifier {
    key: DecodingKey,
}

#[derive(Deserialize)]
struct DevelopmentClaims {
    nonce: String,
    /// Seconds since 1970.
    iat: i64,
}

impl DevelopmentVerifier {
    pub(super) fn new(config: &DevelopmentAttestationConfig) -> anyhow::Result<Self> {
        const VARIABLE: &str = "TALKTIME_AUTH__ATTESTATION__DEVELOPMENT__KEY_FILE";
        let pem = std::fs::read(&config.key_file).context(VARIABLE)?;
        let key = DecodingKey::from_ec_pem(&pem).context(VARIABLE)?;
        Ok(Self { key })
    }
}

impl AttestationVerifier for DevelopmentVerifier {
    fn verify(&self, token: &str) -> Result<AttestationStatement, AttestationFailure> {
        let signed = verify_signed::<DevelopmentClaims>(token, &self.key)?;
        let issued_at = DateTime::from_timestamp(signed.claims.iat, 0);
        Ok(AttestationStatement {
            nonce: signed.claims.nonce,
            issued_at: issued_at.ok_or(AttestationFailure::Malformed)?,
            fingerprint: signed.fingerprint,
        })
    }
}
