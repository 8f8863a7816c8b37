//! Checks of requests (contract, section 4).

use chrono::DateTime;

use super::limits::{
    CALL_CHANGES_MAX, HEARTBEATS_MAX, ONLINE_MAX, SESSION_CHANGES_MAX, STATUSES_MAX,
    WAIT_TIME_MINUTES_MAX,
};
use super::{PresenceError, StatusSettingsChange, UserHeartbeat};

const PARTIES_MAX: usize = 2;

/// Checks that an update has at least one field, and a wait within a day.
pub fn check_settings(
    settings: StatusSettingsChange,
) -> Result<StatusSettingsChange, PresenceError> {
    let StatusSettingsChange {
        is_online,
        is_busy,
        wait_time,
        accepting_calls,
        accepted_at: _,
    } = settings;
    let has_flag = [is_online, is_busy, accepting_calls]
        .iter()
        .any(Option::is_some);
    if !has_flag && wait_time.is_none() {
        return Err(PresenceError::NoField);
    }
    let allowed = 0..=WAIT_TIME_MINUTES_MAX;
    if wait_time.is_some_and(|wait_time| !allowed.contains(&wait_time)) {
        return Err(PresenceError::WaitTimeOutOfRange);
    }
    Ok(settings)
}

/// Checks the number of requested users.
pub fn check_user_ids(user_ids: Vec<i64>) -> Result<Vec<i64>, PresenceError> {
    if user_ids.len() > STATUSES_MAX {
        return Err(PresenceError::TooManyUsers);
    }
    Ok(user_ids)
}

/// Checks the number of heartbeats and combines them with their sessions and times, which are lists of the same
/// length or empty.
pub fn check_heartbeats(
    user_ids: Vec<i64>,
    session_ids: Vec<String>,
    accepted_at_micros: Vec<i64>,
) -> Result<Vec<UserHeartbeat>, PresenceError> {
    let count = user_ids.len();
    if count > HEARTBEATS_MAX {
        return Err(PresenceError::TooManyHeartbeats);
    }
    let is_empty_or_complete = |other: usize| other == 0 || other == count;
    if !is_empty_or_complete(session_ids.len()) || !is_empty_or_complete(accepted_at_micros.len()) {
        return Err(PresenceError::HeartbeatsMismatched);
    }
    let mut session_ids = session_ids.into_iter();
    let mut accepted_at_micros = accepted_at_micros.into_iter();
    let heartbeats = user_ids.into_iter().map(|user_id| UserHeartbeat {
        user_id,
        session_id: session_ids.next().unwrap_or_default(),
        accepted_at: accepted_at_micros
            .next()
            .and_then(DateTime::from_timestamp_micros),
    });
    Ok(heartbeats.collect())
}

/// Checks the requested number of online users.
pub fn check_limit(limit: i32) -> Result<usize, PresenceError> {
    usize::try_from(limit)
        .ok()
        .filter(|_| (1..=ONLINE_MAX).contains(&limit))
        .ok_or(PresenceError::LimitOutOfRange)
}

/// Checks the number of logins and logouts.
pub fn check_session_changes(changes: usize) -> Result<(), PresenceError> {
    if changes > SESSION_CHANGES_MAX {
        return Err(PresenceError::TooManySessionChanges);
    }
    Ok(())
}

/// Checks the number of starts and ends of calls.
pub fn check_call_changes(changes: usize) -> Result<(), PresenceError> {
    if changes > CALL_CHANGES_MAX {
        return Err(PresenceError::TooManyCallChanges);
    }
    Ok(())
}

/// Checks the id of a call and the number of its parties.
pub fn check_call(call_id: i64, parties: &[i64]) -> Result<(), PresenceError> {
    if call_id <= 0 || !(1..=PARTIES_MAX).contains(&parties.len()) {
        return Err(PresenceError::InvalidCall);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<StatusSettingsChange, PresenceError>) -> Option<String> {
        let error = talktime_kit::Error::from(result.err()?);
        Some(error.code().to_owned())
    }

    #[test]
    fn settings_have_a_field_and_a_wait_within_a_day() {
        let with_wait = |wait_time| StatusSettingsChange {
            wait_time: Some(wait_time),
            ..StatusSettingsChange::default()
        };
        for (settings, expected) in [
            (StatusSettingsChange::default(), Some("no_field")),
            (with_wait(-1), Some("invalid_wait_time")),
            (with_wait(0), None),
            (with_wait(1_440), None),
            (with_wait(1_441), Some("invalid_wait_time")),
        ] {
            let found = code(check_settings(settings));
            assert_eq!(found.as_deref(), expected, "{settings:?}");
        }
    }

    #[test]
    fn every_heartbeat_has_its_session_or_none_has() {
        let check = |sessions: &[&str], times: &[i64]| {
            let sessions = sessions.iter().map(ToString::to_string).collect();
            check_heartbeats(vec![1, 2], sessions, times.to_vec())
        };
        assert_eq!(
            check(&[], &[]).expect("allowed"),
            [1, 2].map(|user_id| UserHeartbeat {
                user_id,
                session_id: String::new(),
                accepted_at: None,
            })
        );
        let heartbeats = check(&["a", "b"], &[0, 1]).expect("allowed");
        assert_eq!(heartbeats[1].session_id, "b");
        assert_eq!(
            heartbeats[1].accepted_at,
            DateTime::from_timestamp_micros(1)
        );
        assert!(check(&["a"], &[]).is_err());
        assert!(check(&[], &[0]).is_err());
        let too_many = vec![1; HEARTBEATS_MAX + 1];
        assert!(check_heartbeats(too_many, vec![], vec![]).is_err());
    }

    #[test]
    fn lists_are_bounded() {
        assert!(check_user_ids(vec![1; STATUSES_MAX]).is_ok());
        assert!(check_user_ids(vec![1; STATUSES_MAX + 1]).is_err());
        assert!(check_session_changes(SESSION_CHANGES_MAX).is_ok());
        assert!(check_session_changes(SESSION_CHANGES_MAX + 1).is_err());
        assert!(check_call_changes(CALL_CHANGES_MAX).is_ok());
        assert!(check_call_changes(CALL_CHANGES_MAX + 1).is_err());
        assert!(check_call(1, &[1, 2]).is_ok());
        assert!(check_call(1, &[]).is_err());
        assert!(check_call(1, &[1, 2, 3]).is_err());
        assert!(check_call(0, &[1, 2]).is_err());
    }
}
