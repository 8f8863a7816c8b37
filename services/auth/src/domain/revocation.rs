//! Access tokens that hold no more, though they have not expired.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Access tokens of a user that hold no more. What is none of the three kinds goes on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Revocation {
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

impl Revocation {
    /// One token.
    pub fn of_token(user_id: i64, jti: Uuid, expires_at: DateTime<Utc>) -> Self {
        Self {
            token_ids: vec![jti.to_string()],
            ..Self::of_nothing(user_id, expires_at)
        }
    }

    /// Every token of these sessions.
    pub fn of_sessions(user_id: i64, session_ids: Vec<String>, expires_at: DateTime<Utc>) -> Self {
        Self {
            session_ids,
            ..Self::of_nothing(user_id, expires_at)
        }
    }

    /// Every token that was issued until then.
    pub fn of_user(user_id: i64, issued_until: DateTime<Utc>, expires_at: DateTime<Utc>) -> Self {
        Self {
            issued_until: Some(issued_until),
            ..Self::of_nothing(user_id, expires_at)
        }
    }

    fn of_nothing(user_id: i64, expires_at: DateTime<Utc>) -> Self {
        Self {
            user_id,
            token_ids: Vec::new(),
            session_ids: Vec::new(),
            issued_until: None,
            expires_at,
        }
    }
}
