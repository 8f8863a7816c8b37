//! Access tokens that hold no more, though they have not expired.

use chrono::{DateTime, TimeDelta, Utc};

use super::claims::TokenLifetimes;

/// How far the clocks of two replicas may be apart: a revocation that goes by time covers tokens that a
/// replica with a fast clock has issued, and is kept until those have expired as well.
const CLOCK_SKEW_MAX: TimeDelta = TimeDelta::minutes(1);

/// Access tokens of a user that hold no more. What is none of the three kinds goes on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenRevocation {
    /// Whose.
    pub user_id: i64,
    /// Single tokens, by their `jti`.
    pub token_ids: Vec<String>,
    /// All tokens of sessions, by their `sid`.
    pub session_ids: Vec<String>,
    /// All that were issued until then.
    pub issued_until: Option<DateTime<Utc>>,
    /// When the last of them has expired.
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

    /// Every token that was issued until then.
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
