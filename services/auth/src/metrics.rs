//! Metrics of auth.

use uuid::Uuid;

use crate::domain::{AttestationFailure, AuthError};
use crate::store::otps::shared_limits;

const OTP_SENDS: &str = "auth_otp_sends_total";
const SENT: &str = "sent";
const SENT_FROM_RESERVE: &str = "sent_from_reserve";
const PHONE_LIMIT: &str = "phone";
const RESEND_LIMIT: &str = "resend";
const OTP_GUESSES: &str = "auth_otp_guesses_total";
const ATTESTATIONS: &str = "auth_attestations_total";
const ATTESTED: &str = "valid";

/// Registers counters at zero, so that their first increments are visible as an increase.
pub(crate) fn register_metrics() {
    record_lost_refusals(0);
    let outcomes = [SENT, SENT_FROM_RESERVE, PHONE_LIMIT, RESEND_LIMIT];
    for outcome in outcomes.into_iter().chain(shared_limits()) {
        metrics::counter!(OTP_SENDS, "outcome" => outcome).increment(0);
    }
    let failures = AttestationFailure::ALL.map(AttestationFailure::name);
    for outcome in failures.into_iter().chain([ATTESTED]) {
        metrics::counter!(ATTESTATIONS, "outcome" => outcome).increment(0);
    }
    for with in ["challenge", "phone"] {
        for outcome in ["right", "wrong", "limited"] {
            metrics::counter!(OTP_GUESSES, "with" => with, "outcome" => outcome).increment(0);
        }
    }
}

/// Records a request that is to be attested.
pub(crate) fn record_attestation(outcome: Result<(), AttestationFailure>) {
    let outcome = outcome.map_or_else(AttestationFailure::name, |()| ATTESTED);
    metrics::counter!(ATTESTATIONS, "outcome" => outcome).increment(1);
}

/// Records a message with a one-time password, or the limit that refused it. Other failures are not recorded.
pub(crate) fn record_otp_send(refusal: Option<&AuthError>, uses_reserve: bool) {
    let outcome = match refusal {
        None if uses_reserve => SENT_FROM_RESERVE,
        None => SENT,
        Some(AuthError::OtpRateLimited { .. }) => PHONE_LIMIT,
        Some(AuthError::OtpResentRecently { .. }) => RESEND_LIMIT,
        Some(AuthError::OtpSendsLimited { limit, .. }) => limit,
        Some(_) => return,
    };
    metrics::counter!(OTP_SENDS, "outcome" => outcome).increment(1);
}

/// Records a guess at a one-time password, which named its challenge or only the phone. A guess that could not be
/// checked is not recorded.
pub(crate) fn record_otp_guess(names_challenge: bool, checked: &Result<Option<Uuid>, AuthError>) {
    let outcome = match checked {
        Ok(Some(_)) => "right",
        Ok(None) => "wrong",
        Err(AuthError::OtpTriesLimited { .. }) => "limited",
        Err(_) => return,
    };
    let with = if names_challenge {
        "challenge"
    } else {
        "phone"
    };
    metrics::counter!(OTP_GUESSES, "with" => with, "outcome" => outcome).increment(1);
}

/// Records refusals that the audit log does not have.
pub(crate) fn record_lost_refusals(refusals: usize) {
    let refusals = u64::try_from(refusals).unwrap_or(u64::MAX);
    metrics::counter!("auth_audit_refusals_lost_total").increment(refusals);
}

/// Records a text message by its outcome.
pub(crate) fn record_sms(outcome: &'static str) {
    metrics::counter!("auth_sms_total", "outcome" => outcome).increment(1);
}
