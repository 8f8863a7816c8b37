//! Attestations that were used.

use chrono::TimeDelta;
use talktime_kit::redis::Pool;
use talktime_kit::redis::commands::{Expiration, KeysInterface as _, SetOptions};

use super::keys;
use crate::domain::AuthError;

/// Uses up the attestation with this fingerprint; returns false if it was used before. The use is remembered for
/// `kept_for`, after which the attestation must have expired.
pub async fn insert_used(
    redis: &Pool,
    fingerprint: &str,
    kept_for: TimeDelta,
) -> Result<bool, AuthError> {
    let key = keys::used_attestation(fingerprint);
    let expires = Some(Expiration::EX(kept_for.num_seconds()));
    let inserted: Option<String> = redis
        .set(key, 1, expires, Some(SetOptions::NX), false)
        .await?;
    Ok(inserted.is_some())
}
