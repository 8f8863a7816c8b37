//! Heartbeats as gateways forward them.

use chrono::{DateTime, Utc};

/// A heartbeat, which may arrive after its session has ended or its user has gone offline.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserHeartbeat {
    pub user_id: i64,
    /// The session that sent it; empty if it is not known.
    pub session_id: String,
    /// When a gateway accepted it; `None` if it is not known.
    pub accepted_at: Option<DateTime<Utc>>,
}

/// Returns the latest heartbeat of each session.
fn latest_of_sessions(mut heartbeats: Vec<UserHeartbeat>) -> Vec<UserHeartbeat> {
    let key = |heartbeat: &UserHeartbeat| (heartbeat.user_id, heartbeat.session_id.clone());
    heartbeats
        .sort_by_cached_key(|heartbeat| (key(heartbeat), std::cmp::Reverse(heartbeat.accepted_at)));
    heartbeats.dedup_by_key(|heartbeat| key(heartbeat));
    heartbeats
}

/// Splits heartbeats into rounds in which each user occurs once, because one statement updates a row only
/// once. There is nearly always one round: few users send from two devices within the same milliseconds.
pub fn split_into_rounds(heartbeats: Vec<UserHeartbeat>) -> Vec<Vec<UserHeartbeat>> {
    let mut rounds: Vec<Vec<UserHeartbeat>> = Vec::new();
    let mut previous: Option<(i64, usize)> = None;
    for heartbeat in latest_of_sessions(heartbeats) {
        let round = match previous {
            Some((user_id, round)) if user_id == heartbeat.user_id => round + 1,
            _ => 0,
        };
        previous = Some((heartbeat.user_id, round));
        if rounds.len() == round {
            rounds.push(Vec::new());
        }
        rounds[round].push(heartbeat);
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(user_id: i64, session_id: &str, accepted_at: i64) -> UserHeartbeat {
        UserHeartbeat {
            user_id,
            session_id: session_id.to_owned(),
            accepted_at: DateTime::from_timestamp(accepted_at, 0),
        }
    }

    #[test]
    fn a_round_has_each_user_once_and_only_the_latest_of_a_session() {
        let heartbeats = vec![
            heartbeat(2, "c", 1),
            heartbeat(1, "a", 1),
            heartbeat(1, "b", 1),
            heartbeat(1, "a", 2),
        ];
        let expected = vec![
            vec![heartbeat(1, "a", 2), heartbeat(2, "c", 1)],
            vec![heartbeat(1, "b", 1)],
        ];
        assert_eq!(split_into_rounds(heartbeats), expected);
        assert!(split_into_rounds(Vec::new()).is_empty());
    }
}
