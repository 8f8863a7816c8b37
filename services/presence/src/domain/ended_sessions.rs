//! The most recently ended sessions of a user, whose late heartbeats are ignored.

/// Number of ended sessions that are remembered per user. A late heartbeat arrives within moments, in which
/// no user ends more sessions.
const ENDED_SESSIONS_MAX: usize = 16;

/// Puts newly ended sessions, most recently used first, before the remembered ones. Adding the same sessions
/// again changes nothing.
pub(super) fn add_ended_sessions(remembered: &mut Vec<String>, ended: &[String]) {
    let ended = ended.iter().take(ENDED_SESSIONS_MAX);
    let mut newest: Vec<String> = ended
        .filter(|id| !remembered.contains(id))
        .cloned()
        .collect();
    newest.append(remembered);
    newest.truncate(ENDED_SESSIONS_MAX);
    *remembered = newest;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<usize>) -> Vec<String> {
        range.map(|id| id.to_string()).collect()
    }

    #[test]
    fn the_latest_sessions_are_remembered_once_up_to_the_bound() {
        let mut remembered = Vec::new();
        add_ended_sessions(&mut remembered, &ids(1..2));
        for _ in ["the first time", "again"] {
            add_ended_sessions(&mut remembered, &ids(2..4));
            assert_eq!(remembered, ["2", "3", "1"]);
        }
        for _ in ["the first time", "again"] {
            add_ended_sessions(&mut remembered, &ids(10..50));
            assert_eq!(remembered, ids(10..10 + ENDED_SESSIONS_MAX));
        }
    }
}
