//! Refusals of the calls service, with their kinds, codes and texts.

use std::borrow::Cow;

use talktime_kit::text::TextError;
use talktime_kit::{Error, Kind};

/// A refusal or failure of the calls service.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("caller and listener are the same user")]
    Oneself,
    #[error("unknown call type")]
    UnknownCallType,
    /// The estimate is below one minute or above a day.
    #[error("estimate out of range")]
    EstimateOutOfRange,
    #[error("no such listener")]
    NoSuchListener,
    #[error("the called user is not a listener")]
    NotAListener,
    #[error("the listener is not verified")]
    ListenerNotVerified,
    /// One of the two has blocked the other.
    #[error("blocked")]
    Blocked,
    /// The listener is not online.
    #[error("the listener is offline")]
    ListenerOffline,
    /// The listener is online and takes no calls for now.
    #[error("the listener takes no calls")]
    ListenerUnavailable,
    /// The listener takes no calls of the requested type.
    #[error("the listener takes no calls of this type")]
    CallTypeDisabled,
    #[error("one of the two is on a call")]
    OnACall,
    /// The caller cannot pay the next minute; the answer for the caller.
    #[error("too few coins for the next minute")]
    InsufficientCoins {
        /// Price of a minute in coins.
        required: i64,
        /// Coins of the caller.
        available: i64,
    },
    /// The caller cannot pay the next minute; the answer for the listener, without the balance.
    #[error("the caller is out of coins")]
    CallerOutOfCoins,
    /// The call does not exist or has ended.
    #[error("no such live call")]
    NoSuchCall,
    /// The call belongs to other people.
    #[error("not a party to the call")]
    NotAParty,
    /// The call to be rated does not exist.
    #[error("no such call")]
    UnknownCall,
    #[error("only the caller may rate the call")]
    NotTheCaller,
    /// The call is still live, or was dropped or cancelled.
    #[error("the call was not completed")]
    NotCompleted,
    /// The time for ratings is over.
    #[error("the time for ratings is over")]
    RatingClosed,
    /// The call has a rating already.
    #[error("the call has a rating already")]
    AlreadyRated,
    #[error("stars out of range")]
    InvalidStars,
    #[error("the comment {0}")]
    InvalidComment(TextError),
    /// The request names too many ids.
    #[error("too many ids at once")]
    TooManyIds,
    /// No call may start while the minutes of live calls are billed late.
    #[error("new calls are refused while minutes are billed late")]
    Overloaded,
    /// The start was undone before it completed, or the caller is about to be deleted.
    #[error("the call was undone")]
    Undone,
    #[error(transparent)]
    Other(#[from] Error),
}

impl From<sqlx::Error> for CallError {
    fn from(error: sqlx::Error) -> Self {
        Self::Other(error.into())
    }
}

impl CallError {
    fn parts(&self) -> (Kind, &'static str, Cow<'static, str>) {
        let (kind, code, detail) = match self {
            Self::UnknownCall
            | Self::NotTheCaller
            | Self::NotCompleted
            | Self::RatingClosed
            | Self::AlreadyRated
            | Self::InvalidStars => self.rating_parts(),
            Self::NoSuchListener
            | Self::NotAListener
            | Self::ListenerNotVerified
            | Self::Blocked
            | Self::ListenerOffline
            | Self::ListenerUnavailable
            | Self::CallTypeDisabled => self.listener_parts(),
            Self::InvalidComment(error) => {
                let detail = format!("The comment {error}.");
                return (Kind::InvalidArgument, "invalid_comment", detail.into());
            }
            Self::Oneself => (
                Kind::InvalidArgument,
                "cannot_call_oneself",
                "You cannot call yourself.",
            ),
            Self::UnknownCallType => (
                Kind::InvalidArgument,
                "invalid_call_type",
                "call_type must be audio or video.",
            ),
            Self::EstimateOutOfRange => (
                Kind::InvalidArgument,
                "invalid_estimated_duration",
                "estimated_duration_minutes must be 1 to 1440.",
            ),
            Self::OnACall => (
                Kind::Conflict,
                "on_a_call",
                "One of the two is on a call already.",
            ),
            Self::InsufficientCoins {
                required,
                available,
            } => {
                let detail =
                    format!("Insufficient coins. Required: {required}, Available: {available}");
                return (Kind::InvalidArgument, "insufficient_coins", detail.into());
            }
            Self::CallerOutOfCoins => (
                Kind::InvalidArgument,
                "insufficient_coins",
                "The caller is out of coins; the call has ended.",
            ),
            Self::NoSuchCall => (
                Kind::NotFound,
                "call_not_found",
                "There is no such call, or it has ended.",
            ),
            Self::NotAParty => (
                Kind::PermissionDenied,
                "not_a_party",
                "This is not a call of yours.",
            ),
            Self::TooManyIds => (
                Kind::InvalidArgument,
                "too_many_ids",
                "Ask about fewer at once.",
            ),
            Self::Overloaded => (
                Kind::Unavailable,
                "overloaded",
                "Too many calls are on. Please try again in a moment.",
            ),
            Self::Undone => (
                Kind::Unavailable,
                "call_not_started",
                "The call was not started; please try again.",
            ),
            Self::Other(_) => unreachable!("converted as it is"),
        };
        (kind, code, detail.into())
    }

    fn listener_parts(&self) -> (Kind, &'static str, &'static str) {
        match self {
            Self::NotAListener => (
                Kind::InvalidArgument,
                "not_a_listener",
                "This person does not take calls.",
            ),
            Self::ListenerNotVerified => (
                Kind::Conflict,
                "listener_not_verified",
                "This listener is not verified and takes no calls yet.",
            ),
            Self::Blocked => (
                Kind::PermissionDenied,
                "blocked",
                "You cannot call this person.",
            ),
            Self::ListenerOffline => (
                Kind::Conflict,
                "listener_offline",
                "The listener is offline.",
            ),
            Self::ListenerUnavailable => (
                Kind::Conflict,
                "listener_unavailable",
                "The listener takes no calls at the moment.",
            ),
            Self::CallTypeDisabled => (
                Kind::Conflict,
                "call_type_disabled",
                "The listener takes no calls of this type.",
            ),
            _ => (
                Kind::NotFound,
                "listener_not_found",
                "There is no such listener.",
            ),
        }
    }

    fn rating_parts(&self) -> (Kind, &'static str, &'static str) {
        match self {
            Self::NotTheCaller => (
                Kind::PermissionDenied,
                "not_the_caller",
                "Only the caller rates a call.",
            ),
            Self::NotCompleted => (
                Kind::Conflict,
                "call_not_completed",
                "Only a completed call can be rated.",
            ),
            Self::RatingClosed => (
                Kind::Conflict,
                "rating_closed",
                "A call can be rated for seven days.",
            ),
            Self::AlreadyRated => (
                Kind::Conflict,
                "already_rated",
                "You have rated this call already.",
            ),
            Self::InvalidStars => (
                Kind::InvalidArgument,
                "invalid_stars",
                "stars must be 1 to 5.",
            ),
            _ => (Kind::NotFound, "call_not_found", "There is no such call."),
        }
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        if let CallError::Other(error) = error {
            return error;
        }
        let (kind, code, detail) = error.parts();
        Self::new(kind, code, detail).with_source(error)
    }
}
