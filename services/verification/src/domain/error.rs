//! What verification refuses, and why.

use talktime_kit::text::TextError;
use talktime_kit::{Error, Kind};

/// Why something about verification is refused; the text is for a person.
#[derive(Debug, thiserror::Error)]
pub enum VerificationError {
    /// Only listeners are verified.
    #[error("Only listeners can be verified.")]
    NotAListener,
    /// The user was deleted while they asked.
    #[error("There is no such user.")]
    UserGone,
    /// A sample waits for its review.
    #[error("Your last audio sample still waits for its review.")]
    AlreadyPending,
    /// More than [`super::AUDIO_BYTES_MAX`].
    #[error("An audio sample has at most 10 MB.")]
    TooLarge,
    /// No bytes at all.
    #[error("The audio file is empty.")]
    Empty,
    /// Not one of the formats, or another codec in one of the containers, by its content.
    #[error(
        "An audio sample must be MP3, WAV with PCM (8 to 32 bits, float, A-law or mu-law), M4A with one \
         AAC track, or AAC in ADTS."
    )]
    UnsupportedAudio,
    /// One of the formats at first sight, but it cannot be played through.
    #[error("The audio file is damaged or incomplete.")]
    DamagedAudio,
    /// Not 30 seconds to 5 minutes.
    #[error("An audio sample must last 30 seconds to 5 minutes.")]
    WrongDuration,
    /// The client went away before the end.
    #[error("The upload ended before the file did.")]
    IncompleteUpload,
    /// Too many uploads at once.
    #[error("Too many uploads at once; please try again in a moment.")]
    Busy,
    /// Not an https address as we take it.
    #[error("audio_url must be an https address with a host name, and nothing unusual in it.")]
    InvalidAddress,
    /// A host that is not on the list.
    #[error("Audio from this host is not accepted.")]
    HostNotAllowed,
    /// Not a length that a sample can have.
    #[error("length_bytes must be 1 to 10485760.")]
    InvalidLength,
    /// Not one of the media types.
    #[error(
        "content_type must be audio/mpeg, audio/wav, audio/mp4, audio/aac or a common alias of these, \
         such as audio/x-m4a."
    )]
    InvalidContentType,
    /// No ticket of this listener, or nothing was put under it.
    #[error("Nothing was uploaded under this id.")]
    NoSuchUpload,
    /// A description or a note that is too long, or not text.
    #[error("{field} {error}.")]
    InvalidText {
        /// Its name on the wire.
        field: &'static str,
        /// Why it is refused.
        error: TextError,
    },
    /// No such page.
    #[error("page must be 1 or more, per_page 1 to 100.")]
    InvalidPage,
    /// More users than one answer is about.
    #[error("Ask about fewer users at once.")]
    TooManyUsers,
    /// Neither approve nor reject.
    #[error("action must be approve or reject.")]
    InvalidAction,
    /// No such sample.
    #[error("There is no such verification.")]
    NoSuchVerification,
    /// Somebody has decided already.
    #[error("This verification has been reviewed already.")]
    AlreadyReviewed,
    /// There is nothing to revoke.
    #[error("This user is not verified.")]
    NotVerified,
    /// Not a refusal: a part failed.
    #[error(transparent)]
    Other(#[from] Error),
}

impl VerificationError {
    /// Kind and stable code.
    fn parts(&self) -> (Kind, &'static str) {
        match self {
            Self::NotAListener => (Kind::PermissionDenied, "listener_only"),
            Self::UserGone => (Kind::NotFound, "user_not_found"),
            Self::AlreadyPending => (Kind::Conflict, "verification_pending"),
            Self::TooLarge => (Kind::TooLarge, "audio_too_large"),
            Self::Empty => (Kind::InvalidArgument, "empty_audio"),
            Self::UnsupportedAudio => (Kind::InvalidArgument, "unsupported_audio"),
            Self::DamagedAudio => (Kind::InvalidArgument, "damaged_audio"),
            Self::WrongDuration => (Kind::InvalidArgument, "invalid_audio_duration"),
            Self::IncompleteUpload => (Kind::InvalidArgument, "incomplete_upload"),
            Self::Busy => (Kind::Unavailable, "too_many_uploads"),
            Self::InvalidAddress => (Kind::InvalidArgument, "invalid_audio_url"),
            Self::HostNotAllowed => (Kind::InvalidArgument, "audio_host_not_allowed"),
            Self::InvalidLength => (Kind::InvalidArgument, "invalid_length_bytes"),
            Self::InvalidContentType => (Kind::InvalidArgument, "invalid_content_type"),
            Self::NoSuchUpload => (Kind::NotFound, "upload_not_found"),
            Self::InvalidText {
                error: TextError::TooLong { .. },
                ..
            } => (Kind::InvalidArgument, "text_too_long"),
            Self::InvalidText { .. } => (Kind::InvalidArgument, "invalid_text"),
            Self::InvalidPage => (Kind::InvalidArgument, "invalid_page"),
            Self::TooManyUsers => (Kind::InvalidArgument, "too_many_users"),
            Self::InvalidAction => (Kind::InvalidArgument, "invalid_action"),
            Self::NoSuchVerification => (Kind::NotFound, "verification_not_found"),
            Self::AlreadyReviewed => (Kind::Conflict, "already_reviewed"),
            Self::NotVerified => (Kind::Conflict, "not_verified"),
            Self::Other(_) => unreachable!("converted as it is"),
        }
    }
}

impl From<VerificationError> for Error {
    fn from(error: VerificationError) -> Self {
        if let VerificationError::Other(error) = error {
            return error;
        }
        let (kind, code) = error.parts();
        Self::new(kind, code, error.to_string())
    }
}

impl From<sqlx::Error> for VerificationError {
    fn from(error: sqlx::Error) -> Self {
        Self::Other(error.into())
    }
}
