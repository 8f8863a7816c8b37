//! The checks that auth and the gateways share for tokens.

use jsonwebtoken::{Algorithm, Validation};
use talktime_proto::auth::{TOKEN_AUDIENCE, TOKEN_ISSUER};

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
