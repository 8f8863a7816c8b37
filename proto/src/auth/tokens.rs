//! The form of tokens, which auth issues and the gateways check.

/// `iss` of every token.
pub const TOKEN_ISSUER: &str = "talktime";
/// `aud` of every token.
pub const TOKEN_AUDIENCE: &str = "talktime";

/// The Redis key that exists from the revocation of an access token until its end.
pub fn revoked_token_key(user_id: i64, token_id: &str) -> String {
    format!("access:{user_id}:{token_id}")
}

/// The Redis key that exists from the end of a session until the end of its last access token.
pub fn ended_session_key(user_id: i64, session_id: &str) -> String {
    format!("access:{user_id}:session:{session_id}")
}

/// The Redis key of the second, in Unix time, up to which all access tokens of a user are revoked.
pub fn revoked_before_key(user_id: i64) -> String {
    format!("access:{user_id}:revoked_before")
}
