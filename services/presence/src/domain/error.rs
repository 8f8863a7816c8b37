//! Refusals of presence.

use talktime_kit::{Error, ErrorKind};

use super::limits::{
    CALL_CHANGES_MAX, HEARTBEATS_MAX, ONLINE_MAX, SESSION_CHANGES_MAX, STATUSES_MAX,
    WAIT_TIME_MINUTES_MAX,
};

/// A refused request. The text is a sentence for the user.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// The user has no status.
    #[error("There is no such user.")]
    UserNotFound,
    /// An update has no field to change.
    #[error("Give at least one of is_online, is_busy, wait_time and accepting_calls.")]
    NoField,
    /// The announced wait is negative or longer than a day.
    #[error("wait_time is a number of minutes from 0 to {WAIT_TIME_MINUTES_MAX}.")]
    WaitTimeOutOfRange,
    /// A request names more users than one answer holds.
    #[error("Ask for at most {STATUSES_MAX} users at once.")]
    TooManyUsers,
    /// A request has more heartbeats than one statement takes.
    #[error("Send at most {HEARTBEATS_MAX} signs of life at once.")]
    TooManyHeartbeats,
    /// The lists of a heartbeat request differ in length.
    #[error("Send a session and a time for each sign of life, or for none.")]
    HeartbeatsMismatched,
    /// The session of the request has ended.
    #[error("The access token has been revoked.")]
    SessionEnded,
    /// The requested number of users is zero or too large.
    #[error("Ask for 1 to {ONLINE_MAX} people.")]
    LimitOutOfRange,
    /// A request has too many logins and logouts.
    #[error("Report at most {SESSION_CHANGES_MAX} logins and logouts at once.")]
    TooManySessionChanges,
    /// A request has too many starts and ends of calls.
    #[error("Tell of at most {CALL_CHANGES_MAX} calls at once.")]
    TooManyCallChanges,
    /// A call has no id, or an impossible number of parties.
    #[error("A call has an id and one or two parties.")]
    InvalidCall,
    /// A login or logout has no time.
    #[error("Say when the login or logout happened.")]
    MissingHappenedAt,
    /// Too many heartbeats wait for the database.
    #[error("Please try again in a moment.")]
    Overloaded,
    /// The database failed.
    #[error(transparent)]
    Other(#[from] Error),
}

impl From<sqlx::Error> for PresenceError {
    fn from(error: sqlx::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<PresenceError> for Error {
    fn from(error: PresenceError) -> Self {
        let (kind, code) = match error {
            PresenceError::Other(error) => return error,
            PresenceError::UserNotFound => (ErrorKind::NotFound, "user_not_found"),
            PresenceError::NoField => (ErrorKind::InvalidArgument, "no_field"),
            PresenceError::WaitTimeOutOfRange => (ErrorKind::InvalidArgument, "invalid_wait_time"),
            PresenceError::TooManyUsers => (ErrorKind::InvalidArgument, "too_many_users"),
            PresenceError::TooManyHeartbeats => (ErrorKind::InvalidArgument, "too_many_heartbeats"),
            PresenceError::HeartbeatsMismatched => {
                (ErrorKind::InvalidArgument, "invalid_heartbeats")
            }
            PresenceError::SessionEnded => (ErrorKind::Unauthenticated, "token_revoked"),
            PresenceError::LimitOutOfRange => (ErrorKind::InvalidArgument, "invalid_limit"),
            PresenceError::TooManySessionChanges => {
                (ErrorKind::InvalidArgument, "too_many_sessions")
            }
            PresenceError::TooManyCallChanges => (ErrorKind::InvalidArgument, "too_many_calls"),
            PresenceError::InvalidCall => (ErrorKind::InvalidArgument, "invalid_call"),
            PresenceError::MissingHappenedAt => (ErrorKind::InvalidArgument, "no_happened_at"),
            PresenceError::Overloaded => (ErrorKind::Unavailable, "overloaded"),
        };
        Self::new(kind, code, error.to_string())
    }
}
