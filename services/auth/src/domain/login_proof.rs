//! What a login is made with.

use uuid::Uuid;

/// What somebody has logged in with. Each opens one session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LoginProof {
    /// A one-time password.
    Code {
        /// Which one: the digits alone are not unique.
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
