//! Refusals of the calls service, with their kinds, codes and texts.

use std::borrow::Cow;
use std::time::Duration;

use talktime_kit::text::TextError;
use talktime_kit::{Error, ErrorKind};

use super::call::CallStatus;
use super::ending::RingOutcome;

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
    /// The called listener is ringing the caller.
    #[error("the listener is ringing the caller")]
    IncomingCall { call_id: i64 },
    #[error("every call must ring")]
    RingRequired,
    /// The platform has no engine for media.
    #[error("the platform carries no media")]
    MediaNotAvailable,
    /// The platform carries only calls that ring.
    #[error("the platform carries only calls that ring")]
    MediaNeedsRing,
    /// The apps carry the media of this call themselves.
    #[error("the platform does not carry the call")]
    MediaNotPlatform,
    /// The call is not accepted yet, or over.
    #[error("the call has no seats now")]
    NotInCall,
    /// Another session of the user holds the seat.
    #[error("another session holds the seat")]
    SeatTaken,
    /// The seat has been taken by another session, or given up.
    #[error("the seat is not the present one")]
    StaleEpoch,
    /// A count in the report of an app is out of range, or its connection has an unknown name.
    #[error("the report of the media is invalid")]
    InvalidMediaReport,
    /// No relay is known at the moment.
    #[error("no relay is known")]
    NoRelay,
    /// Too many of the caller's rings led to no call lately.
    #[error("too many unanswered rings")]
    RingLimit { retry_after_secs: i64 },
    #[error("not the listener of the call")]
    NotTheListener,
    #[error("not the caller of the ring")]
    OnlyCallerCancels,
    /// Another session of the listener accepted first.
    #[error("another session has accepted the call")]
    AcceptedElsewhere,
    /// The call does not ring any more: it has an outcome, or goes on and has a status.
    #[error("the ring is over")]
    RingOver {
        outcome: Option<RingOutcome>,
        status: Option<CallStatus>,
    },
    /// The listener accepted, but the caller cannot pay the first minute.
    #[error("the caller cannot pay the first minute")]
    RingUnpaid,
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
    fn parts(&self) -> (ErrorKind, &'static str, Cow<'static, str>) {
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
            Self::IncomingCall { .. }
            | Self::RingRequired
            | Self::RingLimit { .. }
            | Self::NotTheListener
            | Self::OnlyCallerCancels
            | Self::AcceptedElsewhere
            | Self::RingOver { .. }
            | Self::RingUnpaid => self.ring_parts(),
            Self::MediaNotAvailable
            | Self::MediaNeedsRing
            | Self::MediaNotPlatform
            | Self::NotInCall
            | Self::SeatTaken
            | Self::StaleEpoch
            | Self::InvalidMediaReport
            | Self::NoRelay => self.media_parts(),
            Self::Oneself | Self::UnknownCallType | Self::EstimateOutOfRange | Self::TooManyIds => {
                self.request_parts()
            }
            Self::InvalidComment(error) => {
                let detail = format!("The comment {error}.");
                return (ErrorKind::InvalidArgument, "invalid_comment", detail.into());
            }
            Self::InsufficientCoins {
                required,
                available,
            } => {
                let detail =
                    format!("Insufficient coins. Required: {required}, Available: {available}");
                return (
                    ErrorKind::InvalidArgument,
                    "insufficient_coins",
                    detail.into(),
                );
            }
            Self::CallerOutOfCoins => (
                ErrorKind::InvalidArgument,
                "insufficient_coins",
                "The caller is out of coins; the call has ended.",
            ),
            Self::OnACall | Self::NoSuchCall | Self::NotAParty => self.call_parts(),
            Self::Overloaded | Self::Undone => self.retry_parts(),
            Self::Other(_) => unreachable!("converted as it is"),
        };
        (kind, code, detail.into())
    }

    fn call_parts(&self) -> (ErrorKind, &'static str, &'static str) {
        match self {
            Self::OnACall => (
                ErrorKind::Conflict,
                "on_a_call",
                "One of the two is on a call already.",
            ),
            Self::NotAParty => (
                ErrorKind::PermissionDenied,
                "not_a_party",
                "This is not a call of yours.",
            ),
            _ => (
                ErrorKind::NotFound,
                "call_not_found",
                "There is no such call, or it has ended.",
            ),
        }
    }

    fn request_parts(&self) -> (ErrorKind, &'static str, &'static str) {
        match self {
            Self::Oneself => (
                ErrorKind::InvalidArgument,
                "cannot_call_oneself",
                "You cannot call yourself.",
            ),
            Self::UnknownCallType => (
                ErrorKind::InvalidArgument,
                "invalid_call_type",
                "call_type must be audio or video.",
            ),
            Self::EstimateOutOfRange => (
                ErrorKind::InvalidArgument,
                "invalid_estimated_duration",
                "estimated_duration_minutes must be 1 to 1440.",
            ),
            _ => (
                ErrorKind::InvalidArgument,
                "too_many_ids",
                "Ask about fewer at once.",
            ),
        }
    }

    fn retry_parts(&self) -> (ErrorKind, &'static str, &'static str) {
        match self {
            Self::Overloaded => (
                ErrorKind::Unavailable,
                "overloaded",
                "Too many calls are on. Please try again in a moment.",
            ),
            _ => (
                ErrorKind::Unavailable,
                "call_not_started",
                "The call was not started; please try again.",
            ),
        }
    }

    fn listener_parts(&self) -> (ErrorKind, &'static str, &'static str) {
        match self {
            Self::NotAListener => (
                ErrorKind::InvalidArgument,
                "not_a_listener",
                "This person does not take calls.",
            ),
            Self::ListenerNotVerified => (
                ErrorKind::Conflict,
                "listener_not_verified",
                "This listener is not verified and takes no calls yet.",
            ),
            Self::Blocked => (
                ErrorKind::PermissionDenied,
                "blocked",
                "You cannot call this person.",
            ),
            Self::ListenerOffline => (
                ErrorKind::Conflict,
                "listener_offline",
                "The listener is offline.",
            ),
            Self::ListenerUnavailable => (
                ErrorKind::Conflict,
                "listener_unavailable",
                "The listener takes no calls at the moment.",
            ),
            Self::CallTypeDisabled => (
                ErrorKind::Conflict,
                "call_type_disabled",
                "The listener takes no calls of this type.",
            ),
            _ => (
                ErrorKind::NotFound,
                "listener_not_found",
                "There is no such listener.",
            ),
        }
    }

    fn ring_parts(&self) -> (ErrorKind, &'static str, &'static str) {
        match self {
            Self::IncomingCall { .. } => (
                ErrorKind::Conflict,
                "incoming_call",
                "This person is calling you: answer their call.",
            ),
            Self::RingRequired => (
                ErrorKind::Conflict,
                "ring_required",
                "Calls ring here: start them with ring.",
            ),
            Self::RingLimit { .. } => (
                ErrorKind::RateLimited,
                "ring_limit",
                "Too many of your calls were not answered. Please wait a while.",
            ),
            Self::NotTheListener => (
                ErrorKind::PermissionDenied,
                "not_the_listener",
                "Only the listener answers a call.",
            ),
            Self::OnlyCallerCancels => (
                ErrorKind::PermissionDenied,
                "not_the_caller",
                "Only the caller takes a call back.",
            ),
            Self::AcceptedElsewhere => (
                ErrorKind::Conflict,
                "accepted_elsewhere",
                "The call was answered on another device.",
            ),
            Self::RingUnpaid => (
                ErrorKind::Conflict,
                "caller_out_of_coins",
                "The caller is out of coins; nothing was charged.",
            ),
            _ => (
                ErrorKind::Conflict,
                "ring_over",
                "The call does not ring any more.",
            ),
        }
    }

    /// Adds what programs need beside the code.
    fn add_facts(&self, error: Error) -> Error {
        match self {
            Self::IncomingCall { call_id } => error.with_member("call_id", *call_id),
            Self::RingLimit { retry_after_secs } => {
                let secs = u64::try_from(*retry_after_secs).unwrap_or_default();
                error.with_retry_after(Duration::from_secs(secs.max(1)))
            }
            Self::RingOver { outcome, status } => {
                let outcome = outcome.map(|outcome| ("outcome", outcome.name()));
                let status = status.map(|status| ("call_status", status.name()));
                let facts = outcome.into_iter().chain(status);
                facts.fold(error, |error, (name, word)| error.with_member(name, word))
            }
            _ => error,
        }
    }

    fn rating_parts(&self) -> (ErrorKind, &'static str, &'static str) {
        match self {
            Self::NotTheCaller => (
                ErrorKind::PermissionDenied,
                "not_the_caller",
                "Only the caller rates a call.",
            ),
            Self::NotCompleted => (
                ErrorKind::Conflict,
                "call_not_completed",
                "Only a completed call can be rated.",
            ),
            Self::RatingClosed => (
                ErrorKind::Conflict,
                "rating_closed",
                "A call can be rated for seven days.",
            ),
            Self::AlreadyRated => (
                ErrorKind::Conflict,
                "already_rated",
                "You have rated this call already.",
            ),
            Self::InvalidStars => (
                ErrorKind::InvalidArgument,
                "invalid_stars",
                "stars must be 1 to 5.",
            ),
            _ => (
                ErrorKind::NotFound,
                "call_not_found",
                "There is no such call.",
            ),
        }
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        if let CallError::Other(error) = error {
            return error;
        }
        let (kind, code, detail) = error.parts();
        error
            .add_facts(Self::new(kind, code, detail))
            .with_source(error)
    }
}
