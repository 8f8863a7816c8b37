//! Signs of life as gateways pass them on.

use chrono::{DateTime, Utc};

/// A sign of life, which may arrive after its session has ended or its user has gone offline.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignOfLife {
    /// Whose it is.
    pub user_id: i64,
    /// The session that gave it; empty when the gateway did not name it.
    pub session_id: String,
    /// When a gateway accepted it; `None` when the gateway did not say.
    pub accepted_at: Option<DateTime<Utc>>,
}

impl SignOfLife {
    /// One of which no more is known.
    pub fn of_user(user_id: i64) -> Self {
        Self {
            user_id,
            session_id: String::new(),
            accepted_at: None,
        }
    }
}

/// One sign of life of each session, the latest.
fn latest_of_sessions(mut signs: Vec<SignOfLife>) -> Vec<SignOfLife> {
    let key = |sign: &SignOfLife| (sign.user_id, sign.session_id.clone());
    signs.sort_by_cached_key(|sign| (key(sign), std::cmp::Reverse(sign.accepted_at)));
    signs.dedup_by_key(|sign| key(sign));
    signs
}

/// Signs of life in rounds, in each of which a user occurs once: nearly always it is one round, since
/// few people are here on two devices within the same milliseconds.
pub fn rounds(signs: Vec<SignOfLife>) -> Vec<Vec<SignOfLife>> {
    let mut rounds: Vec<Vec<SignOfLife>> = Vec::new();
    let mut before: Option<(i64, usize)> = None;
    for sign in latest_of_sessions(signs) {
        let round = match before {
            Some((user_id, round)) if user_id == sign.user_id => round + 1,
            _ => 0,
        };
        before = Some((sign.user_id, round));
        if rounds.len() == round {
            rounds.push(Vec::new());
        }
        rounds[round].push(sign);
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(user_id: i64, session_id: &str, accepted_at: i64) -> SignOfLife {
        SignOfLife {
            user_id,
            session_id: session_id.to_owned(),
            accepted_at: DateTime::from_timestamp(accepted_at, 0),
        }
    }

    #[test]
    fn a_round_has_each_user_once_and_each_session_its_latest() {
        let signs = vec![
            sign(2, "c", 1),
            sign(1, "a", 1),
            sign(1, "b", 1),
            sign(1, "a", 2),
        ];
        let expected = vec![
            vec![sign(1, "a", 2), sign(2, "c", 1)],
            vec![sign(1, "b", 1)],
        ];
        assert_eq!(rounds(signs), expected);
        assert!(rounds(Vec::new()).is_empty());
    }
}
