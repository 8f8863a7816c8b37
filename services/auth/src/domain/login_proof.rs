//! Proofs that a login is made with.

use uuid::Uuid;

/// The proof of a login. Each proof opens one session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LoginProof {
    /// A one-time password.
    Code {
        /// The id of the password, since its digits are not unique.
        code_id: Uuid,
    },
    /// A registration token.
    Registration {
        /// The token's `jti`.
        registration_id: Uuid,
        /// A hash of the fields that it was used with.
        content_hash: Vec<u8>,
    },
}
