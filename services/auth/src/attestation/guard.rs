//! The attestations of requests that need no login and cost a message.

use chrono::TimeDelta;
use talktime_kit::Clock;
use talktime_kit::config::DeploymentEnvironment;
use talktime_kit::redis::Pool;

use super::{AttestationConfig, AttestationVerifier};
use crate::domain::{ATTESTATION_CLOCK_SKEW_MAX, AttestationFailure, AttestedOperation, AuthError};
use crate::metrics::record_attestation;
use crate::store::attestations;

/// Longest attestation in bytes. Those of Play Integrity have two to three thousand.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Checks attestations, and that none is used twice.
pub struct AttestationGuard {
    verifier: Option<Box<dyn AttestationVerifier>>,
    is_required: bool,
    lifetime: TimeDelta,
    redis: Pool,
    clock: Clock,
}

impl AttestationGuard {
    /// A guard with these settings. Fails if they are incomplete, or not allowed in this environment.
    pub fn new(
        config: AttestationConfig,
        environment: DeploymentEnvironment,
        redis: Pool,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        config.check(environment)?;
        Ok(Self {
            is_required: config.required,
            lifetime: TimeDelta::seconds(config.lifetime_secs.into()),
            verifier: config.create_verifier()?,
            redis,
            clock,
        })
    }

    /// Uses up the attestation of a request. Fails if it is not valid and attestations are required.
    pub async fn check(
        &self,
        operation: AttestedOperation,
        phone: &str,
        token: Option<&str>,
    ) -> Result<(), AuthError> {
        let Some(verifier) = &self.verifier else {
            return Ok(());
        };
        let verified = self.verify(verifier.as_ref(), operation, phone, token);
        let outcome = verified.await?;
        record_attestation(outcome);
        match outcome {
            Err(failure) if self.is_required => {
                tracing::info!(
                    operation = operation.name(),
                    reason = failure.name(),
                    "a request has no valid attestation; it is refused"
                );
                Err(failure.into())
            }
            // While none is required, apps that send none are expected.
            Ok(()) | Err(AttestationFailure::Missing) => Ok(()),
            Err(failure) => {
                tracing::info!(
                    operation = operation.name(),
                    reason = failure.name(),
                    "a request has an invalid attestation; it is accepted, since none is required"
                );
                Ok(())
            }
        }
    }

    async fn verify(
        &self,
        verifier: &dyn AttestationVerifier,
        operation: AttestedOperation,
        phone: &str,
        token: Option<&str>,
    ) -> Result<Result<(), AttestationFailure>, AuthError> {
        let statement = match token.unwrap_or_default() {
            "" => Err(AttestationFailure::Missing),
            token if token.len() > TOKEN_BYTES_MAX => Err(AttestationFailure::Malformed),
            token => verifier.verify(token),
        };
        let now = self.clock.now();
        let checked = statement.and_then(|statement| {
            statement.check_request(operation, phone, now, self.lifetime)?;
            Ok(statement)
        });
        let statement = match checked {
            Ok(statement) => statement,
            Err(failure) => return Ok(Err(failure)),
        };
        let kept_for = self.lifetime + ATTESTATION_CLOCK_SKEW_MAX;
        let fingerprint = &statement.fingerprint;
        let is_first = attestations::insert_used(&self.redis, fingerprint, kept_for).await?;
        Ok(if is_first {
            Ok(())
        } else {
            Err(AttestationFailure::Used)
        })
    }
}
