//! Ratings of listeners after calls.

use axum::extract::State;
use serde::Serialize;
use talktime_kit::Error;
use talktime_proto::calls::v1::RateCallRequest;
use utoipa::ToSchema;

use crate::clients::CallsClient;
use crate::extract::{Json, PathId};
use crate::problem::Result;
use crate::token::CurrentUser;

#[derive(eserde::Deserialize, ToSchema)]
pub(super) struct RatingBody {
    /// From 1 to 5.
    #[schema(minimum = 1, maximum = 5)]
    stars: i64,
    /// Only operators can read it. At most 500 characters.
    #[serde(default)]
    #[schema(max_length = 500)]
    comment: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct RatingAnswer {
    call_id: i64,
    listener_id: i64,
    stars: i32,
    message: &'static str,
}

/// Rate the listener of a call.
///
/// Only the caller may rate a call, once (`already_rated`), within seven days after it was completed (`rating_closed`).
/// The listener's `rating`, in their profile and in the feed, is the mean of all ratings.
#[utoipa::path(
    post,
    path = "/calls/{call_id}/rating",
    tag = "calls",
    security(("access_token" = [])),
    responses(
        (status = 200, body = RatingAnswer),
        (status = 400, description = "invalid_stars, invalid_comment"),
        (status = 403, description = "not_a_party, not_the_caller"),
        (status = 404, description = "call_not_found, listener_not_found"),
        (status = 409, description = "call_not_completed, rating_closed, already_rated"),
    )
)]
// The gateway does not retry: a second attempt would find the call rated and hide the success of the first one.
pub(super) async fn rate_call(
    State(mut calls): State<CallsClient>,
    current_user: CurrentUser,
    PathId(call_id): PathId,
    Json(body): Json<RatingBody>,
) -> Result<Json<RatingAnswer>> {
    let stars = i32::try_from(body.stars)
        .map_err(|_| Error::invalid("invalid_stars", "stars must be 1 to 5."))?;
    let request = RateCallRequest {
        call_id,
        user_id: current_user.user_id,
        stars,
        comment: body.comment,
    };
    let rated = calls.rate_call(request).await?.into_inner();
    Ok(Json(RatingAnswer {
        call_id,
        listener_id: rated.listener_id,
        stars,
        message: "Thank you for rating this call",
    }))
}
