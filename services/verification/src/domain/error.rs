//! Reasons for which verification refuses a request.

use talktime_kit::text::TextError;
use talktime_kit::{Error, ErrorKind};

/// A refusal; its text is shown to the user.
#[derive(Debug, thiserror::Error)]
pub enum VerificationError {
    #[error("Only listeners can be verified.")]
    NotAListener,
    /// The user was deleted during the request.
    #[error("There is no such user.")]
    UserGone,
    #[error("Your last audio sample still waits for its review.")]
    AlreadyPending,
    #[error("An audio sample has at most 10 MB.")]
    TooLarge,
    #[error("The audio file is empty.")]
    Empty,
    /// The content is in another format, or in another codec in an accepted container.
    #[error(
        "An audio sample must be MP3, WAV with PCM (8 to 32 bits, float, A-law or mu-law), M4A with one \
         AAC track, or AAC in ADTS."
    )]
    UnsupportedAudio,
    /// The file begins in an accepted format, but it cannot be played to its end.
    #[error("The audio file is damaged or incomplete.")]
    DamagedAudio,
    #[error("An audio sample must last 30 seconds to 5 minutes.")]
    WrongDuration,
    /// The client disconnected before the end.
    #[error("The upload ended before the file did.")]
    IncompleteUpload,
    #[error("Too many uploads at once; please try again in a moment.")]
    Busy,
    #[error("audio_url must be an https address with a host name, and nothing unusual in it.")]
    InvalidAddress,
    #[error("Audio from this host is not accepted.")]
    HostNotAllowed,
    #[error("length_bytes must be 1 to 10485760.")]
    InvalidLength,
    #[error(
        "content_type must be audio/mpeg, audio/wav, audio/mp4, audio/aac or a common alias of these, \
         such as audio/x-m4a."
    )]
    InvalidContentType,
    /// The listener has no such ticket, or nothing was uploaded with it.
    #[error("Nothing was uploaded under this id.")]
    NoSuchUpload,
    #[error("{field} {error}.")]
    InvalidText {
        /// Name on the wire.
        field: &'static str,
        error: TextError,
    },
    #[error("Ask about fewer users at once.")]
    TooManyUsers,
    #[error("action must be approve or reject.")]
    InvalidAction,
    #[error("A photo has at most 10 MB.")]
    PhotoTooLarge,
    #[error("The file is empty.")]
    EmptyPhoto,
    /// The content is in another format than announced, or in one that is not accepted.
    #[error("A photo must be JPEG, PNG or WebP, of the type that its ticket was issued for.")]
    UnsupportedPhoto,
    /// The file begins in an accepted format, but it cannot be decoded to its end.
    #[error("The photo is damaged or incomplete.")]
    DamagedPhoto,
    #[error(
        "A photo must be 64 to 8192 pixels wide and high, and have at most 16 megapixels (16777216)."
    )]
    InvalidPhotoSize,
    #[error("content_type must be image/jpeg, image/png or image/webp.")]
    InvalidPhotoType,
    #[error("There is no such photo.")]
    NoSuchPhoto,
    #[error("This photo has been reviewed already.")]
    PhotoAlreadyReviewed,
    #[error("You have requested an export within the last 24 hours.")]
    ExportTooSoon,
    #[error("You have not requested an export yet.")]
    NoSuchExport,
    #[error("There is no such verification.")]
    NoSuchVerification,
    #[error("This verification has been reviewed already.")]
    AlreadyReviewed,
    #[error("This user is not verified.")]
    NotVerified,
    /// A failure, not a refusal.
    #[error(transparent)]
    Other(#[from] Error),
}

impl VerificationError {
    /// Returns the kind and the stable code.
    fn parts(&self) -> (ErrorKind, &'static str) {
        match self {
            Self::NotAListener => (ErrorKind::PermissionDenied, "listener_only"),
            Self::UserGone => (ErrorKind::NotFound, "user_not_found"),
            Self::AlreadyPending => (ErrorKind::Conflict, "verification_pending"),
            Self::TooLarge => (ErrorKind::TooLarge, "audio_too_large"),
            Self::Empty => (ErrorKind::InvalidArgument, "empty_audio"),
            Self::UnsupportedAudio => (ErrorKind::InvalidArgument, "unsupported_audio"),
            Self::DamagedAudio => (ErrorKind::InvalidArgument, "damaged_audio"),
            Self::WrongDuration => (ErrorKind::InvalidArgument, "invalid_audio_duration"),
            Self::IncompleteUpload => (ErrorKind::InvalidArgument, "incomplete_upload"),
            Self::Busy => (ErrorKind::Unavailable, "too_many_uploads"),
            Self::InvalidAddress => (ErrorKind::InvalidArgument, "invalid_audio_url"),
            Self::HostNotAllowed => (ErrorKind::InvalidArgument, "audio_host_not_allowed"),
            Self::InvalidLength => (ErrorKind::InvalidArgument, "invalid_length_bytes"),
            Self::InvalidContentType | Self::InvalidPhotoType => {
                (ErrorKind::InvalidArgument, "invalid_content_type")
            }
            Self::PhotoTooLarge => (ErrorKind::TooLarge, "photo_too_large"),
            Self::EmptyPhoto => (ErrorKind::InvalidArgument, "empty_photo"),
            Self::UnsupportedPhoto => (ErrorKind::InvalidArgument, "unsupported_photo"),
            Self::DamagedPhoto => (ErrorKind::InvalidArgument, "damaged_photo"),
            Self::InvalidPhotoSize => (ErrorKind::InvalidArgument, "invalid_photo_size"),
            Self::ExportTooSoon => (ErrorKind::Conflict, "export_too_soon"),
            Self::NoSuchExport => (ErrorKind::NotFound, "export_not_found"),
            Self::NoSuchPhoto => (ErrorKind::NotFound, "photo_not_found"),
            Self::NoSuchUpload => (ErrorKind::NotFound, "upload_not_found"),
            Self::InvalidText {
                error: TextError::TooLong { .. },
                ..
            } => (ErrorKind::InvalidArgument, "text_too_long"),
            Self::InvalidText { .. } => (ErrorKind::InvalidArgument, "invalid_text"),
            Self::TooManyUsers => (ErrorKind::InvalidArgument, "too_many_users"),
            Self::InvalidAction => (ErrorKind::InvalidArgument, "invalid_action"),
            Self::NoSuchVerification => (ErrorKind::NotFound, "verification_not_found"),
            Self::AlreadyReviewed | Self::PhotoAlreadyReviewed => {
                (ErrorKind::Conflict, "already_reviewed")
            }
            Self::NotVerified => (ErrorKind::Conflict, "not_verified"),
            Self::Other(_) => unreachable!("converted without a code of its own"),
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
