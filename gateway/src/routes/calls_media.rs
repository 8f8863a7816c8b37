//! Calls whose sound and picture the platform carries.

use axum::extract::State;
use utoipa::ToSchema;

use crate::clients::CallsClient;
use crate::extract::{Json, OptionalJson, PathId};
use crate::media_join::{JoinedMessage, join_call};
use crate::problem::Result;
use crate::token::CurrentUser;

#[derive(eserde::Deserialize, ToSchema)]
pub(super) struct JoinBody {
    #[serde(default)]
    /// Whether to take the seat from another device of the user. False by default.
    take_over: bool,
}

/// Take a seat in a call that the platform carries.
///
/// This is `join` on `/ws/calls` for a device that has no socket yet, for example one that a push has just woken: it
/// receives the credentials for the relay. The device joins again on its socket, which gives it a new `epoch`, and goes
/// on with its connection. The body may be left out.
#[utoipa::path(
    post,
    path = "/calls/{call_id}/join",
    tag = "calls",
    security(("access_token" = [])),
    request_body(content = Option<JoinBody>, content_type = "application/json"),
    responses(
        (status = 200, body = JoinedMessage),
        (status = 403, description = "not_a_party"),
        (status = 404, description = "call_not_found"),
        (status = 409, description = "not_in_call, media_not_platform, seat_taken"),
        (status = 503, description = "no_relay"),
    )
)]
pub(super) async fn take_seat(
    State(calls): State<CallsClient>,
    current_user: CurrentUser,
    PathId(call_id): PathId,
    OptionalJson(body): OptionalJson<JoinBody>,
) -> Result<Json<JoinedMessage>> {
    let joined = join_call(&calls, &current_user, call_id, body.take_over).await?;
    Ok(Json(joined.into()))
}
