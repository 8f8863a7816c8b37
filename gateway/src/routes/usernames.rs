//! Whether a user name is free, for forms that ask before the registration does.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::profile::v1::CheckUsernameRequest;
use utoipa::{IntoParams, ToSchema};

use crate::clients::ProfileClient;
use crate::extract::{Json, Query};
use crate::problem::Result;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct UsernameAvailabilityQuery {
    #[param(
        min_length = 3,
        max_length = 50,
        pattern = "^[A-Za-z0-9_]+$",
        example = "asha_p"
    )]
    username: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct UsernameAnswer {
    available: bool,
    /// Free names that begin like the requested one; empty if it is free.
    #[schema(max_items = 3, example = json!([]))]
    suggestions: Vec<String>,
}

/// Check whether a user name is free, ignoring case.
///
/// The check reserves nothing: another user may register with the name before the registration is sent.
#[utoipa::path(
    get,
    path = "/auth/username-available",
    tag = "auth",
    security(()),
    params(UsernameAvailabilityQuery),
    responses(
        (status = 200, body = UsernameAnswer),
        (status = 400, description = "invalid_username"),
    )
)]
pub(super) async fn check_username(
    State(profile): State<ProfileClient>,
    Query(UsernameAvailabilityQuery { username }): Query<UsernameAvailabilityQuery>,
) -> Result<Json<UsernameAnswer>> {
    let checked = retry_idempotent(
        &profile,
        ProfileClient::check_username,
        CheckUsernameRequest { username },
    )
    .await?;
    Ok(Json(UsernameAnswer {
        available: checked.is_available,
        suggestions: checked.suggestions,
    }))
}
