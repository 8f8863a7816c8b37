//! Attestations: proofs by the platform of a phone that a request comes from our app on a genuine device. What they must
//! say, whichever platform has signed them.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};

/// Time by which the clock of the signer may be ahead of ours.
pub const ATTESTATION_CLOCK_SKEW_MAX: TimeDelta = TimeDelta::minutes(1);

/// The operation that an attestation is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AttestedOperation {
    /// A new one-time password.
    RequestOtp,
    /// The active one-time password once more, or a new one.
    ResendOtp,
}

impl AttestedOperation {
    /// The name of the operation in nonces and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::RequestOtp => "request_otp",
            Self::ResendOtp => "resend_otp",
        }
    }
}

/// Returns the nonce that binds an attestation to an operation and to a phone, as the client has written it.
pub fn attestation_nonce(operation: AttestedOperation, phone: &str) -> String {
    let request = format!("talktime:{}:{phone}", operation.name());
    URL_SAFE_NO_PAD.encode(digest(&SHA256, request.as_bytes()))
}

/// The content of an attestation whose signature, app and device have been verified.
#[derive(Clone, Debug)]
pub struct AttestationStatement {
    /// The nonce that the app has had signed.
    pub nonce: String,
    /// The time of the signature.
    pub issued_at: DateTime<Utc>,
    /// A digest of what was signed. The signature is no part of it, because a signature can be rewritten into another
    /// valid one.
    pub fingerprint: String,
}

impl AttestationStatement {
    /// Checks that the statement was made for this request, and not too long ago.
    pub fn check_request(
        &self,
        operation: AttestedOperation,
        phone: &str,
        now: DateTime<Utc>,
        lifetime: TimeDelta,
    ) -> Result<(), AttestationFailure> {
        if self.nonce.trim_end_matches('=') != attestation_nonce(operation, phone) {
            return Err(AttestationFailure::OtherRequest);
        }
        let age = now.signed_duration_since(self.issued_at);
        if age > lifetime || age < -ATTESTATION_CLOCK_SKEW_MAX {
            return Err(AttestationFailure::Expired);
        }
        Ok(())
    }
}

/// The reason why a request is not attested.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AttestationFailure {
    /// The request has no attestation.
    #[error("there is no attestation")]
    Missing,
    /// The attestation does not have the form of the configured platform.
    #[error("the attestation is malformed")]
    Malformed,
    /// Nobody has signed the attestation whom we trust, or it is encrypted for somebody else.
    #[error("the attestation is not signed by the platform")]
    Forged,
    /// The attestation is of another app, or of a copy of ours that was changed.
    #[error("the attestation is of another app")]
    OtherApp,
    /// The platform does not vouch for the device.
    #[error("the device is not genuine")]
    OtherDevice,
    /// The attestation was made for another phone or operation.
    #[error("the attestation is for another request")]
    OtherRequest,
    /// The attestation is too old, or from the future.
    #[error("the attestation has expired")]
    Expired,
    /// The attestation was used before.
    #[error("the attestation was used before")]
    Used,
}

impl AttestationFailure {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::Missing,
        Self::Malformed,
        Self::Forged,
        Self::OtherApp,
        Self::OtherDevice,
        Self::OtherRequest,
        Self::Expired,
        Self::Used,
    ];

    /// The name of the reason in metrics and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Forged => "forged",
            Self::OtherApp => "other_app",
            Self::OtherDevice => "other_device",
            Self::OtherRequest => "other_request",
            Self::Expired => "expired",
            Self::Used => "used",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: &str = "+919812345678";
    const LIFETIME: TimeDelta = TimeDelta::minutes(5);

    fn statement(nonce: String) -> AttestationStatement {
        AttestationStatement {
            nonce,
            issued_at: DateTime::from_timestamp(1_750_000_000, 0).expect("valid"),
            fingerprint: String::new(),
        }
    }

    fn check_at_age(age: TimeDelta) -> Result<(), AttestationFailure> {
        let statement = statement(attestation_nonce(AttestedOperation::RequestOtp, PHONE));
        let now = statement.issued_at + age;
        statement.check_request(AttestedOperation::RequestOtp, PHONE, now, LIFETIME)
    }

    #[test]
    fn apps_can_compute_the_nonce() {
        // printf talktime:request_otp:+919812345678 | openssl dgst -sha256 -binary | basenc --base64url
        assert_eq!(
            attestation_nonce(AttestedOperation::RequestOtp, PHONE),
            "WXupoxN8Xel9IaPmfz34itX7lyGQwPeaqpnY9PKjf6Q"
        );
    }

    #[test]
    fn a_statement_is_for_one_operation_and_one_phone() {
        let padded = attestation_nonce(AttestedOperation::RequestOtp, PHONE) + "=";
        let statement = statement(padded);
        let check = |operation, phone| {
            statement.check_request(operation, phone, statement.issued_at, LIFETIME)
        };
        assert_eq!(check(AttestedOperation::RequestOtp, PHONE), Ok(()));
        let other_request = Err(AttestationFailure::OtherRequest);
        assert_eq!(check(AttestedOperation::ResendOtp, PHONE), other_request);
        let other_phone = check(AttestedOperation::RequestOtp, "+919812345679");
        assert_eq!(other_phone, other_request);
    }

    #[test]
    fn a_statement_is_valid_for_its_lifetime_and_a_little_early() {
        let second = TimeDelta::seconds(1);
        assert_eq!(check_at_age(LIFETIME), Ok(()));
        assert_eq!(check_at_age(-ATTESTATION_CLOCK_SKEW_MAX), Ok(()));
        let expired = Err(AttestationFailure::Expired);
        assert_eq!(check_at_age(LIFETIME + second), expired);
        assert_eq!(check_at_age(-ATTESTATION_CLOCK_SKEW_MAX - second), expired);
    }
}
