//! Refusals of auth and their reasons.

use std::time::Duration;

use talktime_kit::redis::commands;
use talktime_kit::{Error, ErrorKind};

use super::AttestationFailure;

/// A refusal or a failure of auth.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Not a phone number that can be called.
    #[error("not a valid phone number")]
    InvalidPhone,
    /// The phone belongs to a country that may not log in, or to none.
    #[error("a phone number of a country that is not allowed")]
    PhoneCountryRefused,
    /// The phone is not a mobile one.
    #[error("not a mobile phone number")]
    PhoneNotMobile,
    /// The phone was sent too many passwords.
    #[error("too many one-time passwords for one phone")]
    OtpRateLimited {
        /// The pause before the next request.
        retry_after: Duration,
    },
    /// The last resend is too recent.
    #[error("resent a moment ago")]
    OtpResentRecently {
        /// The pause before the next request.
        retry_after: Duration,
    },
    /// A limit that many phones share is used up.
    #[error("too many one-time passwords for one {limit}")]
    OtpSendsLimited {
        /// Which one: `address`, `prefix` or `platform`.
        limit: &'static str,
        /// The pause before the next request.
        retry_after: Duration,
    },
    /// There were too many wrong tries: at this phone, or from this network.
    #[error("too many wrong one-time passwords for one {limit}")]
    OtpTriesLimited {
        /// The name of the limit: `phone`, `phone_from_address`, or the size of a network.
        limit: &'static str,
        /// The pause before the next try.
        retry_after: Duration,
    },
    /// The request has no valid attestation, and one is required.
    #[error("no valid attestation")]
    NotAttested(#[from] AttestationFailure),
    /// A wrong, used, burnt or expired password; the answer does not distinguish them.
    #[error("wrong or expired one-time password")]
    InvalidOtp,
    /// No message can be sent to this phone.
    #[error("the one-time password was refused on its way")]
    PhoneUnreachable,
    /// The message was not sent, or it is unknown whether it was.
    #[error("the one-time password may not have been sent")]
    OtpNotSent,
    /// The registration token is not ours, or not valid any more.
    #[error("bad or expired registration token")]
    InvalidRegistrationToken,
    /// The registration token was used with other fields.
    #[error("a registration token was used again with other fields")]
    RegistrationReused,
    /// The account has ended, but its profile is not deleted yet.
    #[error("the account is being deleted")]
    AccountDeletionInProgress,
    /// The client would not get the answer in time, so nothing was done.
    #[error("too little time is left to answer")]
    OutOfTime,
    /// The login may have been recorded, but nobody gets its tokens.
    #[error("the login may have been recorded, but cannot be answered")]
    LoginUnconfirmed,
    /// The refresh token is not ours, or not valid any more.
    #[error("bad, expired, used or revoked refresh token")]
    InvalidRefreshToken,
    /// The access token was revoked before its end.
    #[error("a revoked access token")]
    AccessTokenRevoked,
    /// The operator requires a reason for each request of an admin.
    #[error("a request of an admin without a reason")]
    AuditReasonRequired,
    /// The user does not have the role of an admin.
    #[error("not an admin")]
    NotAdmin,
    /// The user has no such open session.
    #[error("no such session")]
    SessionNotFound,
    /// The id does not have the form of ids of tokens.
    #[error("not a token id")]
    InvalidTokenId,
    /// A store or a peer failed, or refused.
    #[error(transparent)]
    Other(#[from] Error),
}

impl From<commands::Error> for AuthError {
    fn from(error: commands::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<sqlx::Error> for AuthError {
    fn from(error: sqlx::Error) -> Self {
        Self::Other(error.into())
    }
}

impl AuthError {
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::OtpRateLimited { retry_after }
            | Self::OtpResentRecently { retry_after }
            | Self::OtpSendsLimited { retry_after, .. }
            | Self::OtpTriesLimited { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}

impl AuthError {
    fn parts(&self) -> (ErrorKind, &'static str, &'static str) {
        match self {
            Self::OtpRateLimited { .. }
            | Self::OtpResentRecently { .. }
            | Self::OtpSendsLimited { .. }
            | Self::OtpTriesLimited { .. }
            | Self::NotAttested(_)
            | Self::InvalidOtp
            | Self::PhoneUnreachable
            | Self::OtpNotSent => self.otp_parts(),
            Self::InvalidPhone => (
                ErrorKind::InvalidArgument,
                "invalid_phone",
                "The phone must be a valid number with its country code, such as +919812345678.",
            ),
            Self::PhoneCountryRefused => (
                ErrorKind::InvalidArgument,
                "phone_country_refused",
                "Phone numbers of this country are not accepted.",
            ),
            Self::PhoneNotMobile => (
                ErrorKind::InvalidArgument,
                "phone_not_mobile",
                "The phone must be a mobile number, which can receive text messages.",
            ),
            Self::InvalidRegistrationToken => (
                ErrorKind::Unauthenticated,
                "invalid_registration_token",
                "The registration token is invalid or expired; please verify the phone again.",
            ),
            Self::RegistrationReused => (
                ErrorKind::Conflict,
                "registration_reused",
                "This registration was made with other details.",
            ),
            Self::AccountDeletionInProgress => (
                ErrorKind::Unavailable,
                "account_deletion_in_progress",
                "The account is being deleted; please try again in a moment.",
            ),
            Self::OutOfTime | Self::LoginUnconfirmed => (
                ErrorKind::Unavailable,
                "login_not_completed",
                "Please try again in a moment.",
            ),
            Self::InvalidRefreshToken
            | Self::AccessTokenRevoked
            | Self::AuditReasonRequired
            | Self::NotAdmin
            | Self::SessionNotFound
            | Self::InvalidTokenId => self.session_parts(),
            Self::Other(_) => unreachable!("converted as it is"),
        }
    }

    fn session_parts(&self) -> (ErrorKind, &'static str, &'static str) {
        match self {
            Self::InvalidRefreshToken => (
                ErrorKind::Unauthenticated,
                "invalid_refresh_token",
                "The refresh token is invalid or expired; please log in again.",
            ),
            Self::AccessTokenRevoked => (
                ErrorKind::Unauthenticated,
                "token_revoked",
                "The access token has been revoked.",
            ),
            Self::AuditReasonRequired => (
                ErrorKind::InvalidArgument,
                "audit_reason_required",
                "Please give the reason of this request in X-Audit-Reason.",
            ),
            Self::NotAdmin => (
                ErrorKind::PermissionDenied,
                "admin_only",
                "This is for admins only.",
            ),
            Self::SessionNotFound => (
                ErrorKind::NotFound,
                "session_not_found",
                "There is no such session.",
            ),
            Self::InvalidTokenId => (
                ErrorKind::InvalidArgument,
                "invalid_token_id",
                "This is not the id of a token.",
            ),
            _ => unreachable!("not an error of sessions"),
        }
    }

    fn otp_parts(&self) -> (ErrorKind, &'static str, &'static str) {
        match self {
            Self::OtpRateLimited { .. } => (
                ErrorKind::RateLimited,
                "otp_rate_limited",
                "Too many codes were sent to this phone; please wait.",
            ),
            Self::OtpResentRecently { .. } => (
                ErrorKind::RateLimited,
                "otp_resent_recently",
                "The code was sent again a moment ago; please wait.",
            ),
            Self::OtpSendsLimited { .. } => (
                ErrorKind::RateLimited,
                "otp_sends_limited",
                "Too many codes are being asked for; please wait.",
            ),
            Self::OtpTriesLimited { .. } => (
                ErrorKind::RateLimited,
                "otp_tries_limited",
                "Too many wrong codes were entered; please wait.",
            ),
            Self::NotAttested(AttestationFailure::Missing) => (
                ErrorKind::PermissionDenied,
                "attestation_required",
                "The request must prove that it comes from the app; please update it.",
            ),
            Self::NotAttested(_) => (
                ErrorKind::PermissionDenied,
                "attestation_failed",
                "The app and this device could not be verified.",
            ),
            Self::PhoneUnreachable => (
                ErrorKind::InvalidArgument,
                "phone_unreachable",
                "No code can be sent to this phone.",
            ),
            Self::OtpNotSent => (
                ErrorKind::Unavailable,
                "otp_not_sent",
                "The code may not have been sent; please try again in a moment.",
            ),
            // The contract, section 2, has this sentence word by word.
            _ => (
                ErrorKind::InvalidArgument,
                "invalid_otp",
                "Invalid or expired OTP",
            ),
        }
    }
}

impl From<AuthError> for Error {
    fn from(error: AuthError) -> Self {
        if let AuthError::Other(error) = error {
            return error;
        }
        let (kind, code, detail) = error.parts();
        let refusal = Self::new(kind, code, detail);
        let refusal = match error.retry_after() {
            Some(retry_after) => refusal.with_retry_after(retry_after),
            None => refusal,
        };
        refusal.with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_has_a_retry_after() {
        let retry_after = Duration::from_secs(42);
        let error = Error::from(AuthError::OtpRateLimited { retry_after });
        assert_eq!(error.kind().http(), 429);
        assert_eq!(error.code(), "otp_rate_limited");
        assert_eq!(error.retry_after(), Some(retry_after));
    }

    #[test]
    fn a_wrong_otp_reads_as_the_contract_says() {
        let error = Error::from(AuthError::InvalidOtp);
        assert_eq!(error.kind().http(), 400);
        assert_eq!(error.detail(), "Invalid or expired OTP");
        assert_eq!(error.retry_after(), None);
    }
}
