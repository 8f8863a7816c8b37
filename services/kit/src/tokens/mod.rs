//! Access tokens, which auth signs: the gateway verifies them for apps, and every service once more for itself.

mod access_token;
mod keys;
mod user_token;

use jsonwebtoken::{Algorithm, Validation};
use talktime_proto::auth::{TOKEN_AUDIENCE, TOKEN_ISSUER};

pub use access_token::{AccessTokenClaims, AccessTokenVerifier, VerifiedAccessToken};
pub use keys::SigningKeys;
pub use user_token::{UserToken, parse_bearer};

use crate::error::{Error, ErrorKind};

/// Returns the validation of the algorithm, the issuer and the audience. The times are compared by the caller,
/// with its own clock and without leeway.
pub fn claim_validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_required_spec_claims(&["iss", "aud", "exp"]);
    validation.set_issuer(&[TOKEN_ISSUER]);
    validation.set_audience(&[TOKEN_AUDIENCE]);
    validation.validate_exp = false;
    validation
}

/// Returns the refusal of a token that auth has not signed, or not for this use.
pub fn invalid_token() -> Error {
    let detail = "The access token is not valid.";
    Error::new(ErrorKind::Unauthenticated, "invalid_token", detail)
}
