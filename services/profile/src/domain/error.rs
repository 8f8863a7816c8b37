//! Refusals of profile.

use talktime_kit::text::TextError;
use talktime_kit::{Error, ErrorKind};

use super::fields::{
    INTEREST_CHARACTERS_MAX, INTERESTS_MAX, USERNAME_CHARACTERS_MAX, USERNAME_CHARACTERS_MIN,
};

/// A refusal of profile. The text is for the user who made the request.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error(
        "A user name has {USERNAME_CHARACTERS_MIN} to {USERNAME_CHARACTERS_MAX} letters, digits \
         and underscores."
    )]
    InvalidUsername,
    #[error("The phone number must be in the form +919876543210.")]
    InvalidPhone,
    #[error("sex must be male, female or other.")]
    InvalidSex,
    #[error("dob must be a date of birth such as 1999-12-31.")]
    InvalidDob,
    #[error("You must be at least 18 years old.")]
    UnderAge,
    /// The role cannot be chosen at a registration.
    #[error("role must be user or listener.")]
    InvalidRole,
    #[error("The bio {0}.")]
    InvalidBio(TextError),
    #[error(
        "Up to {INTERESTS_MAX} interests of up to {INTEREST_CHARACTERS_MAX} letters, digits, \
         spaces and hyphens."
    )]
    InvalidInterests,
    #[error("The image must be an http or https URL.")]
    InvalidImageUrl,
    #[error("Images by address are not accepted; upload a photo instead.")]
    ExternalImage,
    #[error("The language must be a code such as en or hi.")]
    InvalidLanguage,
    #[error("The country {0}.")]
    InvalidCountry(TextError),
    /// A rating is not between zero and five stars, or the minimum exceeds the maximum.
    #[error("A rating is from 0.0 to 5.0.")]
    InvalidRating,
    #[error("A registration needs an id.")]
    InvalidRegistrationId,
    #[error("page starts at 1, per_page is 1 to 100.")]
    InvalidPage,
    #[error("At most 200 users at once.")]
    TooManyUsers,
    /// The feed did not issue this cursor for this order.
    #[error("This cursor does not belong to this list.")]
    InvalidCursor,
    #[error("Search for up to {USERNAME_CHARACTERS_MAX} letters, digits and underscores.")]
    InvalidSearch,
    #[error("sort_by must be rating, online or recent.")]
    InvalidSort,
    #[error("call_type must be audio or video.")]
    InvalidCallType,
    /// An update of preferences that changes nothing, or would leave no type of calls.
    #[error(
        "Give audio_enabled, video_enabled or both; at least one type of calls must stay enabled."
    )]
    InvalidPreferences,
    #[error("terms_version must have 1 to 32 letters, digits or signs.")]
    InvalidTermsVersion,
    #[error("Please accept the current terms first.")]
    TermsOutdated,
    #[error("This user name is taken.")]
    UsernameTaken,
    #[error("This user name is reserved. Please choose another one.")]
    UsernameReserved,
    /// A name or a bio contains a phone number or an address, which this deployment refuses.
    #[error("Phone numbers and addresses are not allowed in names and bios.")]
    ContactDetails,
    #[error("This phone number is registered already.")]
    PhoneTaken,
    /// The registration has created a user with other content.
    #[error("This registration was used for something else.")]
    RegistrationReused,
    /// The user that the registration created has been deleted.
    #[error("The registration token is invalid or expired; please verify the phone again.")]
    RegistrationSpent,
    #[error("Only an admin may set a rating.")]
    RatingNotAllowed,
    #[error("There is no such user.")]
    UserNotFound,
    #[error("There is no such listener.")]
    ListenerNotFound,
    #[error("You cannot be a favourite of your own.")]
    FavoriteOfOneself,
    #[error("You cannot block yourself.")]
    BlockOfOneself,
    #[error("action_type must be block or report.")]
    InvalidAction,
    #[error("The reason {0}.")]
    InvalidReason(TextError),
    #[error("End your call first.")]
    OnACall,
    #[error(transparent)]
    Other(#[from] Error),
}

impl From<sqlx::Error> for ProfileError {
    fn from(error: sqlx::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<ProfileError> for Error {
    fn from(error: ProfileError) -> Self {
        let (kind, code) = match error {
            ProfileError::Other(error) => return error,
            ProfileError::InvalidUsername => (ErrorKind::InvalidArgument, "invalid_username"),
            ProfileError::InvalidPhone => (ErrorKind::InvalidArgument, "invalid_phone"),
            ProfileError::InvalidSex => (ErrorKind::InvalidArgument, "invalid_sex"),
            ProfileError::InvalidDob => (ErrorKind::InvalidArgument, "invalid_dob"),
            ProfileError::UnderAge => (ErrorKind::InvalidArgument, "under_age"),
            ProfileError::InvalidRole => (ErrorKind::InvalidArgument, "invalid_role"),
            ProfileError::InvalidBio(_) => (ErrorKind::InvalidArgument, "invalid_bio"),
            ProfileError::InvalidInterests => (ErrorKind::InvalidArgument, "invalid_interests"),
            ProfileError::InvalidImageUrl => {
                (ErrorKind::InvalidArgument, "invalid_profile_image_url")
            }
            ProfileError::ExternalImage => (ErrorKind::InvalidArgument, "external_image_refused"),
            ProfileError::InvalidLanguage => (ErrorKind::InvalidArgument, "invalid_language"),
            ProfileError::InvalidCountry(_) => (ErrorKind::InvalidArgument, "invalid_country"),
            ProfileError::InvalidRating => (ErrorKind::InvalidArgument, "invalid_rating"),
            ProfileError::InvalidRegistrationId => {
                (ErrorKind::InvalidArgument, "invalid_registration_id")
            }
            ProfileError::InvalidPage => (ErrorKind::InvalidArgument, "invalid_page"),
            ProfileError::TooManyUsers => (ErrorKind::InvalidArgument, "too_many_users"),
            ProfileError::InvalidCursor => (ErrorKind::InvalidArgument, "invalid_cursor"),
            ProfileError::InvalidSearch => (ErrorKind::InvalidArgument, "invalid_search"),
            ProfileError::InvalidSort => (ErrorKind::InvalidArgument, "invalid_sort"),
            ProfileError::InvalidCallType => (ErrorKind::InvalidArgument, "invalid_call_type"),
            ProfileError::InvalidPreferences => (ErrorKind::InvalidArgument, "invalid_preferences"),
            ProfileError::InvalidTermsVersion => {
                (ErrorKind::InvalidArgument, "invalid_terms_version")
            }
            ProfileError::TermsOutdated => (ErrorKind::PermissionDenied, "terms_outdated"),
            ProfileError::UsernameTaken => (ErrorKind::Conflict, "username_taken"),
            ProfileError::UsernameReserved => (ErrorKind::Conflict, "username_reserved"),
            ProfileError::ContactDetails => (ErrorKind::InvalidArgument, "contact_details_refused"),
            ProfileError::PhoneTaken => (ErrorKind::Conflict, "phone_taken"),
            ProfileError::RegistrationReused => (ErrorKind::Conflict, "registration_reused"),
            ProfileError::RegistrationSpent => {
                (ErrorKind::Unauthenticated, "invalid_registration_token")
            }
            ProfileError::RatingNotAllowed => (ErrorKind::PermissionDenied, "rating_not_allowed"),
            ProfileError::UserNotFound => (ErrorKind::NotFound, "user_not_found"),
            ProfileError::ListenerNotFound => (ErrorKind::NotFound, "listener_not_found"),
            ProfileError::FavoriteOfOneself => (ErrorKind::InvalidArgument, "favorite_of_oneself"),
            ProfileError::BlockOfOneself => (ErrorKind::InvalidArgument, "block_of_oneself"),
            ProfileError::InvalidAction => (ErrorKind::InvalidArgument, "invalid_action_type"),
            ProfileError::InvalidReason(_) => (ErrorKind::InvalidArgument, "invalid_reason"),
            ProfileError::OnACall => (ErrorKind::Conflict, "on_a_call"),
        };
        Self::new(kind, code, error.to_string())
    }
}
