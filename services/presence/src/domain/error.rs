//! What presence refuses, and why.

use talktime_kit::{Error, Kind};

use super::{CALL_CHANGES_MAX, HEARTBEATS_MAX, ONLINE_MAX, STATUSES_MAX, WAIT_TIME_MINUTES_MAX};

/// What presence refuses. The text is for the person who asked.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// No status of this id.
    #[error("There is no such user.")]
    UserNotFound,
    /// An update that changes nothing by its form.
    #[error("Give at least one of is_online, is_busy and wait_time.")]
    NoField,
    /// Minutes that nobody waits.
    #[error("wait_time is a number of minutes from 0 to {WAIT_TIME_MINUTES_MAX}.")]
    WaitTimeOutOfRange,
    /// More ids than one answer holds.
    #[error("Ask for at most {STATUSES_MAX} users at once.")]
    TooManyUsers,
    /// More signs of life than one statement takes.
    #[error("Send at most {HEARTBEATS_MAX} signs of life at once.")]
    TooManyHeartbeats,
    /// Lists that do not belong together.
    #[error("Send a session and a time for each sign of life, or for none.")]
    HeartbeatsMismatched,
    /// The session that asks has ended.
    #[error("The access token has been revoked.")]
    SessionEnded,
    /// An answer that would be empty or too long.
    #[error("Ask for 1 to {ONLINE_MAX} people.")]
    LimitOutOfRange,
    /// More beginnings and ends of calls than one request brings.
    #[error("Tell of at most {CALL_CHANGES_MAX} calls at once.")]
    TooManyCallChanges,
    /// A call without an id, or with parties that no call has.
    #[error("A call has an id and one or two parties.")]
    InvalidCall,
    /// A login or logout that does not say when it happened.
    #[error("Say when the login or logout happened.")]
    NoInstant,
    /// More signs of life than the store keeps up with.
    #[error("Please try again in a moment.")]
    Overloaded,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<sqlx::Error> for PresenceError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<PresenceError> for Error {
    fn from(error: PresenceError) -> Self {
        let (kind, code) = match error {
            PresenceError::Store(error) => return error,
            PresenceError::UserNotFound => (Kind::NotFound, "user_not_found"),
            PresenceError::NoField => (Kind::InvalidArgument, "no_field"),
            PresenceError::WaitTimeOutOfRange => (Kind::InvalidArgument, "invalid_wait_time"),
            PresenceError::TooManyUsers => (Kind::InvalidArgument, "too_many_users"),
            PresenceError::TooManyHeartbeats => (Kind::InvalidArgument, "too_many_heartbeats"),
            PresenceError::HeartbeatsMismatched => (Kind::InvalidArgument, "invalid_heartbeats"),
            PresenceError::SessionEnded => (Kind::Unauthenticated, "token_revoked"),
            PresenceError::LimitOutOfRange => (Kind::InvalidArgument, "invalid_limit"),
            PresenceError::TooManyCallChanges => (Kind::InvalidArgument, "too_many_calls"),
            PresenceError::InvalidCall => (Kind::InvalidArgument, "invalid_call"),
            PresenceError::NoInstant => (Kind::InvalidArgument, "no_happened_at"),
            PresenceError::Overloaded => (Kind::Unavailable, "overloaded"),
        };
        Self::new(kind, code, error.to_string())
    }
}
