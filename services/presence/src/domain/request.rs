//! What a request may ask for (contract, section 4).

use chrono::DateTime;

use super::{PresenceError, Settings, SignOfLife};

/// Longest wait that a person may announce: a day.
pub const WAIT_TIME_MINUTES_MAX: i32 = 24 * 60;
/// Statuses that one request may ask for.
pub const STATUSES_MAX: usize = 200;
/// Signs of life in one request.
pub const HEARTBEATS_MAX: usize = 1_000;
/// People in one answer about who is online.
pub const ONLINE_MAX: i32 = 1_000;
/// Beginnings and ends of calls in one request.
pub const CALL_CHANGES_MAX: usize = 1_000;
const PARTIES_MAX: usize = 2;

/// An update has at least one field, and a wait that somebody might wait.
pub fn check_settings(settings: Settings) -> Result<Settings, PresenceError> {
    let is_empty = settings.is_online.is_none() && settings.is_busy.is_none();
    if is_empty && settings.wait_time.is_none() {
        return Err(PresenceError::NoField);
    }
    let allowed = 0..=WAIT_TIME_MINUTES_MAX;
    if settings
        .wait_time
        .is_some_and(|wait_time| !allowed.contains(&wait_time))
    {
        return Err(PresenceError::WaitTimeOutOfRange);
    }
    Ok(settings)
}

/// A bounded list of ids.
pub fn check_many(user_ids: Vec<i64>) -> Result<Vec<i64>, PresenceError> {
    if user_ids.len() > STATUSES_MAX {
        return Err(PresenceError::TooManyUsers);
    }
    Ok(user_ids)
}

/// A bounded group of signs of life, whose sessions and times come in lists of their own or not at all.
pub fn check_heartbeats(
    user_ids: Vec<i64>,
    session_ids: Vec<String>,
    accepted_at_micros: Vec<i64>,
) -> Result<Vec<SignOfLife>, PresenceError> {
    let count = user_ids.len();
    if count > HEARTBEATS_MAX {
        return Err(PresenceError::TooManyHeartbeats);
    }
    let fits = |other: usize| other == 0 || other == count;
    if !fits(session_ids.len()) || !fits(accepted_at_micros.len()) {
        return Err(PresenceError::HeartbeatsMismatched);
    }
    let mut session_ids = session_ids.into_iter();
    let mut accepted_at_micros = accepted_at_micros.into_iter();
    let signs = user_ids.into_iter().map(|user_id| SignOfLife {
        user_id,
        session_id: session_ids.next().unwrap_or_default(),
        accepted_at: accepted_at_micros
            .next()
            .and_then(DateTime::from_timestamp_micros),
    });
    Ok(signs.collect())
}

/// How many an answer about who is online may hold.
pub fn check_limit(limit: i32) -> Result<usize, PresenceError> {
    usize::try_from(limit)
        .ok()
        .filter(|_| (1..=ONLINE_MAX).contains(&limit))
        .ok_or(PresenceError::LimitOutOfRange)
}

/// A bounded number of calls that begin and end.
pub fn check_call_changes(changes: usize) -> Result<(), PresenceError> {
    if changes > CALL_CHANGES_MAX {
        return Err(PresenceError::TooManyCallChanges);
    }
    Ok(())
}

/// A call as its beginning and end tell of it.
pub fn check_call(call_id: i64, parties: &[i64]) -> Result<(), PresenceError> {
    if call_id <= 0 || !(1..=PARTIES_MAX).contains(&parties.len()) {
        return Err(PresenceError::InvalidCall);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<Settings, PresenceError>) -> Option<String> {
        let error = talktime_kit::Error::from(result.err()?);
        Some(error.code().to_owned())
    }

    #[test]
    fn settings_have_a_field_and_a_wait_within_a_day() {
        let with_wait = |wait_time| Settings {
            wait_time: Some(wait_time),
            ..Settings::default()
        };
        for (settings, expected) in [
            (Settings::default(), Some("no_field")),
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
    fn each_sign_of_life_has_its_session_or_none_has() {
        let check = |sessions: &[&str], times: &[i64]| {
            let sessions = sessions.iter().map(ToString::to_string).collect();
            check_heartbeats(vec![1, 2], sessions, times.to_vec())
        };
        assert_eq!(
            check(&[], &[]).expect("allowed"),
            [SignOfLife::of_user(1), SignOfLife::of_user(2)]
        );
        let signs = check(&["a", "b"], &[0, 1]).expect("allowed");
        assert_eq!(signs[1].session_id, "b");
        assert_eq!(signs[1].accepted_at, DateTime::from_timestamp_micros(1));
        assert!(check(&["a"], &[]).is_err());
        assert!(check(&[], &[0]).is_err());
        let too_many = vec![1; HEARTBEATS_MAX + 1];
        assert!(check_heartbeats(too_many, vec![], vec![]).is_err());
    }

    #[test]
    fn lists_are_bounded() {
        assert!(check_many(vec![1; STATUSES_MAX]).is_ok());
        assert!(check_many(vec![1; STATUSES_MAX + 1]).is_err());
        assert!(check_call_changes(CALL_CHANGES_MAX).is_ok());
        assert!(check_call_changes(CALL_CHANGES_MAX + 1).is_err());
        assert!(check_call(1, &[1, 2]).is_ok());
        assert!(check_call(1, &[]).is_err());
        assert!(check_call(1, &[1, 2, 3]).is_err());
        assert!(check_call(0, &[1, 2]).is_err());
    }
}
