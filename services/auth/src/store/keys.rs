//! The names of all Redis keys (contract, section 2).

use uuid::Uuid;

use crate::domain::{ClientAddress, ClientNetwork, PhoneNumber};

/// The active code: six digits.
pub fn otp(phone: &PhoneNumber) -> String {
    format!("otp:{phone}")
}

/// The active code with the id of its challenge: `{code}:{id}`. A code that has no challenge gets a random id with its
/// first right guess, which distinguishes it from another code with the same digits.
pub fn otp_id(phone: &PhoneNumber) -> String {
    format!("otp_id:{phone}")
}

/// The beginning of the keys of challenges.
pub const OTP_CHALLENGES: &str = "otp_challenge:";

/// The login that a code begins: a hash of its phone, its code, the id of the code's one use, and wrong tries.
pub fn otp_challenge(challenge_id: Uuid) -> String {
    format!("{OTP_CHALLENGES}{challenge_id}")
}

/// Wrong tries at the active code without a challenge: a hash from an address to their number. Deleted together with
/// the code.
pub fn otp_guesses(phone: &PhoneNumber) -> String {
    format!("otp_guesses:{phone}")
}

/// The number of codes that were made in this window.
pub fn otp_sends(phone: &PhoneNumber) -> String {
    format!("otp_rl:{phone}")
}

/// Wrong tries of a day without a challenge, over all codes of a phone.
pub fn otp_daily_tries(phone: &PhoneNumber) -> String {
    format!("otp_wrong:{phone}")
}

/// Wrong tries of a day at a phone that come from one address.
pub fn otp_daily_tries_from(phone: &PhoneNumber, address: ClientAddress) -> String {
    format!("otp_wrong:{phone}:{address}")
}

/// Wrong tries of a day with challenges, over all codes of a phone.
pub fn otp_daily_challenge_tries(phone: &PhoneNumber) -> String {
    format!("otp_wrong:{phone}:challenges")
}

/// Wrong tries of this window by clients in a network, at any phones.
pub fn otp_network_tries(network: ClientNetwork) -> String {
    format!("otp_wrong:address:{network}")
}

/// Messages of this window that clients in a network requested.
pub fn otp_network_sends(network: ClientNetwork) -> String {
    format!("otp_rl:address:{network}")
}

/// Messages of this window to neighbouring numbers.
pub fn otp_prefix_sends(phone: &PhoneNumber) -> String {
    format!("otp_rl:prefix:{}", phone.prefix())
}

/// Messages of this window to everybody.
pub const OTP_PLATFORM_SENDS: &str = "otp_rl:platform";

/// Exists while the last resend is recent.
pub fn otp_resend(phone: &PhoneNumber) -> String {
    format!("otp_resend:{phone}")
}

/// Exists once an attestation was used, until it has expired.
pub fn used_attestation(fingerprint: &str) -> String {
    format!("attestation:{fingerprint}")
}

/// Exists while a refresh token can be used; holds its session's id.
pub fn refresh_token(user_id: i64, jti: Uuid) -> String {
    format!("{}:{jti}", sessions(user_id))
}

/// A user's sessions: a hash from a session's id to the `jti` of its one refresh token. Scripts
/// append `:{jti}` to get at the tokens.
pub fn sessions(user_id: i64) -> String {
    format!("refresh:{user_id}")
}

/// The pattern of the hashes that describe sessions: `refresh:{user}:session:{session}`.
pub const ALL_SESSION_DETAILS: &str = "refresh:*:session:*";

/// Reads user and session from the key of such a hash.
pub fn read_session_details(key: &str) -> Option<(i64, String)> {
    let (user_id, session_id) = key.strip_prefix("refresh:")?.split_once(":session:")?;
    Some((user_id.parse().ok()?, session_id.to_owned()))
}
