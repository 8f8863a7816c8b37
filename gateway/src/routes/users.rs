//! The profile of the current user (contract, section 3).

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::profile::v1::{
    DeleteUserRequest, GetUserRequest, Interests, UpdateUserRequest, User,
};
use utoipa::{IntoParams, ToSchema};

use super::{Message, time};
use crate::clients::{ProfileClient, WalletClient};
use crate::extract::{BodyOrQuery, Json};
use crate::number::{DecimalNumber, Hundredths};
use crate::openapi::values::{Role, Sex};
use crate::problem::Result;
use crate::recent_login::RecentLoginRule;
use crate::routes::wallet::check_no_payout_in_progress;
use crate::token::CurrentUser;

#[derive(Serialize, ToSchema)]
pub(super) struct ProfileAnswer {
    user_id: i64,
    /// The phone number in E.164 format.
    phone: String,
    username: String,
    #[schema(value_type = Sex)]
    sex: String,
    #[schema(format = Date)]
    dob: String,
    bio: Option<String>,
    interests: Vec<String>,
    profile_image_url: Option<String>,
    preferred_language: String,
    /// The mean of all ratings; 0 without ratings.
    rating: Hundredths,
    country: Option<String>,
    #[schema(value_type = Vec<Role>)]
    roles: Vec<String>,
    /// The version of the terms that were accepted last.
    terms_version: Option<String>,
    terms_accepted_at: Option<DateTime<Utc>>,
    created_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
}

impl From<User> for ProfileAnswer {
    fn from(user: User) -> Self {
        Self {
            user_id: user.user_id,
            phone: user.phone,
            username: user.username,
            sex: user.sex,
            dob: user.dob,
            bio: user.bio,
            interests: user.interests,
            profile_image_url: user.profile_image_url,
            preferred_language: user.preferred_language,
            rating: Hundredths::from_rating(user.rating_hundredths),
            country: user.country,
            roles: user.roles,
            terms_version: user.terms_version,
            terms_accepted_at: time(user.terms_accepted_at),
            created_at: time(user.created_at),
            updated_at: time(user.updated_at),
        }
    }
}

/// Read the current user's profile.
#[utoipa::path(
    get,
    path = "/users/me",
    tag = "people",
    security(("access_token" = [])),
    responses(
        (status = 200, body = ProfileAnswer),
        (status = 404, description = "user_not_found"),
    )
)]
pub(super) async fn read_profile(
    State(profile): State<ProfileClient>,
    current_user: CurrentUser,
) -> Result<Json<ProfileAnswer>> {
    let user_id = current_user.user_id;
    let user = retry_idempotent(
        &profile,
        ProfileClient::get_user,
        GetUserRequest { user_id },
    )
    .await?;
    Ok(Json(user.into()))
}

#[derive(eserde::Deserialize, ToSchema)]
#[schema(as = UpdateBody)]
pub(super) struct ProfileUpdateBody {
    #[serde(default)]
    #[schema(
        min_length = 3,
        max_length = 50,
        pattern = "^[A-Za-z0-9_]+$",
        example = "asha_p"
    )]
    username: Option<String>,
    /// An empty text removes the value.
    #[serde(default)]
    #[schema(max_length = 500)]
    bio: Option<String>,
    /// Each has up to 50 letters, digits, spaces and hyphens.
    #[serde(default)]
    #[schema(max_items = 10, example = json!(["music", "films"]))]
    interests: Option<Vec<String>>,
    /// An empty text removes the value.
    #[serde(default)]
    profile_image_url: Option<String>,
    /// A language tag.
    #[serde(default)]
    preferred_language: Option<String>,
    /// An empty text removes the value.
    #[serde(default)]
    country: Option<String>,
    /// Only admins may change it, to 0.0 to 5.0.
    #[serde(default)]
    #[eserde(compat)]
    rating: Option<DecimalNumber>,
    /// The version of the terms that the user accepts; it is stored with the time.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 32, example = "2026-01")]
    terms_version: Option<String>,
}

impl ProfileUpdateBody {
    fn into_request(self, user_id: i64) -> Result<UpdateUserRequest, Error> {
        Ok(UpdateUserRequest {
            user_id,
            username: self.username,
            bio: self.bio,
            interests: self.interests.map(|values| Interests { values }),
            profile_image_url: self.profile_image_url,
            preferred_language: self.preferred_language,
            country: self.country,
            rating_hundredths: self.rating.as_ref().map(rating_hundredths).transpose()?,
            terms_version: self.terms_version,
        })
    }
}

/// Converts a rating. The profile service checks its range.
fn rating_hundredths(rating: &DecimalNumber) -> Result<i32, Error> {
    let hundredths = rating.hundredths();
    hundredths
        .and_then(|hundredths| i32::try_from(hundredths).ok())
        .ok_or_else(|| {
            Error::invalid(
                "invalid_rating",
                "A rating is 0.0 to 5.0, with at most two decimals.",
            )
        })
}

/// Change the current user's profile.
///
/// Fields that are missing or null keep their value. A profile may be sent back as it was read; fields that cannot be
/// changed are ignored.
#[utoipa::path(
    put,
    path = "/users/me",
    tag = "people",
    security(("access_token" = [])),
    responses(
        (status = 200, body = ProfileAnswer),
        (status = 400, description = "invalid_username, invalid_bio, invalid_interests, invalid_profile_image_url, external_image_refused, invalid_language, invalid_country, invalid_rating, invalid_terms_version, contact_details_refused"),
        (status = 403, description = "rating_not_allowed, terms_outdated"),
        (status = 404, description = "user_not_found"),
        (status = 409, description = "username_taken, username_reserved"),
    )
)]
pub(super) async fn update_profile(
    State(mut profile): State<ProfileClient>,
    current_user: CurrentUser,
    Json(body): Json<ProfileUpdateBody>,
) -> Result<Json<ProfileAnswer>> {
    let request = body.into_request(current_user.user_id)?;
    let user = profile.update_user(request).await?.into_inner();
    Ok(Json(user.into()))
}

#[derive(eserde::Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[schema(as = DeletionBody)]
pub(super) struct AccountDeletionBody {
    /// The reason, in the user's own words. It is stored with the role and the day, but without the user.
    #[serde(default)]
    #[schema(max_length = 500)]
    #[param(max_length = 500)]
    reason: Option<String>,
}

/// Delete the current user's account.
///
/// Every service deletes the user's data, and all tokens are revoked before the answer. The account cannot be deleted
/// during a call (`on_a_call`) or while a withdrawal is in progress (`payout_in_progress`). A deletion that is answered
/// with 503 may have begun; then the server completes it.
#[utoipa::path(
    delete,
    path = "/users/me",
    tag = "people",
    security(("access_token" = [])),
    params(AccountDeletionBody),
    request_body = Option<AccountDeletionBody>,
    responses(
        (status = 200, body = Message),
        (status = 400, description = "invalid_reason"),
        (status = 403, description = "recent_login_required"),
        (status = 404, description = "user_not_found"),
        (status = 409, description = "on_a_call, payout_in_progress"),
    )
)]
pub(super) async fn delete_account(
    State(mut profile): State<ProfileClient>,
    State(wallet): State<WalletClient>,
    State(recent_login): State<RecentLoginRule>,
    current_user: CurrentUser,
    BodyOrQuery(body): BodyOrQuery<AccountDeletionBody>,
) -> Result<Json<Message>> {
    recent_login.check(&current_user)?;
    let user_id = current_user.user_id;
    check_no_payout_in_progress(&wallet, user_id).await?;
    let request = DeleteUserRequest {
        user_id,
        reason: body.reason,
    };
    profile.delete_user(request).await?;
    Ok(Json(Message::new("User deleted successfully")))
}
