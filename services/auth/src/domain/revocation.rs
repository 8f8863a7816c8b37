//! Revocations of access tokens that have not expired.

use chrono::{DateTime, TimeDelta, Utc};

use super::claims::TokenLifetimes;

/// Maximum difference between the clocks of two replicas. A revocation by time also covers tokens that a
/// replica with a fast clock has issued, and is stored until those have expired as well.
const CLOCK_SKEW_MAX: TimeDelta = TimeDelta::minutes(1);

/// Revoked access tokens of a user, named in three ways. All other tokens stay valid.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenRevocation {
    pub user_id: i64,
    /// Single tokens, by their `jti`.
    pub token_ids: Vec<String>,
    /// All tokens of sessions, by their `sid`.
    pub session_ids: Vec<String>,
    /// All tokens that were issued until this instant.
    pub issued_until: Option<DateTime<Utc>>,
    /// The instant at which the last of these tokens expires.
    pub expires_at: DateTime<Utc>,
}

impl TokenRevocation {
    /// Every token of these sessions, which issue none from now on.
    pub fn for_sessions(
        user_id: i64,
        session_ids: Vec<String>,
        now: DateTime<Utc>,
        lifetimes: &TokenLifetimes,
    ) -> Self {
        Self {
            session_ids,
            ..Self::empty(user_id, now + lifetimes.access() + CLOCK_SKEW_MAX)
        }
    }

    /// Every token of a user whose account has ended, which issues none from now on.
    pub fn for_ended_account(user_id: i64, now: DateTime<Utc>, lifetimes: &TokenLifetimes) -> Self {
        let issued_until = now + CLOCK_SKEW_MAX;
        Self::for_user(user_id, issued_until, issued_until + lifetimes.access())
    }

    /// Every token of a user that was issued until `issued_until`.
    pub fn for_user(user_id: i64, issued_until: DateTime<Utc>, expires_at: DateTime<Utc>) -> Self {
        Self {
            issued_until: Some(issued_until),
            ..Self::empty(user_id, expires_at)
        }
    }

    fn empty(user_id: i64, expires_at: DateTime<Utc>) -> Self {
        Self {
            user_id,
            token_ids: Vec::new(),
            session_ids: Vec::new(),
            issued_until: None,
            expires_at,
        }
    }
}
