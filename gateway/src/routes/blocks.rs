//! The users whom the current user has blocked (contract, section 3).

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::profile::v1::{
    BlockRequest, BlockUserRequest, BlockedUser, ListBlockedRequest, ListBlockedResponse,
};
use utoipa::{IntoParams, ToSchema};

use super::time;
use crate::clients::ProfileClient;
use crate::extract::{BodyOrQuery, Json, PathId, Query, missing_field_error};
use crate::openapi::values::{BlockAction, Sex};
use crate::paging::{ClientPageRequest, Pagination};
use crate::problem::Result;
use crate::token::CurrentUser;

#[derive(eserde::Deserialize, ToSchema)]
pub(super) struct BlockBody {
    /// The user to block. Required, here or as `user_id`.
    #[serde(default)]
    blocked_id: Option<i64>,
    /// An alias of `blocked_id`.
    #[serde(default)]
    user_id: Option<i64>,
    /// The default is `block`.
    #[serde(default)]
    #[schema(value_type = Option<BlockAction>)]
    action_type: Option<String>,
    #[serde(default)]
    #[schema(max_length = 500)]
    reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct BlockAnswer {
    success: bool,
    message: &'static str,
    blocked_id: i64,
    /// The same as `blocked_id`.
    user_id: i64,
    /// `block`, `report` or `unblock`.
    action_type: String,
    is_blocked: bool,
}

/// Returns the user whom a body or a query names in either field.
fn named_user(blocked_id: Option<i64>, user_id: Option<i64>) -> Result<i64, Error> {
    match (blocked_id, user_id) {
        (Some(one), Some(other)) if one != other => Err(Error::invalid(
            "invalid_blocked_id",
            "blocked_id and user_id must name the same person.",
        )),
        _ => blocked_id
            .or(user_id)
            .ok_or_else(|| missing_field_error("blocked_id")),
    }
}

/// Block or report a user.
///
/// Neither user sees or calls the other from now on. Blocking a user again replaces `action_type` and `reason`.
#[utoipa::path(
    post,
    path = "/block",
    tag = "people",
    security(("access_token" = [])),
    responses(
        (status = 200, body = BlockAnswer),
        (status = 400, description = "block_of_oneself, invalid_blocked_id, invalid_action_type, invalid_reason"),
        (status = 404, description = "user_not_found"),
    )
)]
pub(super) async fn block_user(
    State(profile): State<ProfileClient>,
    current_user: CurrentUser,
    Json(body): Json<BlockBody>,
) -> Result<Json<BlockAnswer>> {
    let blocked_id = named_user(body.blocked_id, body.user_id)?;
    let request = BlockUserRequest {
        user_id: current_user.user_id,
        blocked_id,
        action_type: body.action_type.unwrap_or_else(|| "block".to_owned()),
        reason: body.reason,
    };
    let answer = retry_idempotent(&profile, ProfileClient::block_user, request).await?;
    Ok(Json(BlockAnswer {
        success: true,
        message: "User blocked",
        blocked_id,
        user_id: blocked_id,
        action_type: answer.action_type,
        is_blocked: answer.is_blocked,
    }))
}

#[derive(eserde::Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
pub(super) struct UnblockBody {
    /// The user to block. Required, here or as `user_id`.
    #[serde(default)]
    blocked_id: Option<i64>,
    /// An alias of `blocked_id`.
    #[serde(default)]
    user_id: Option<i64>,
}

/// Unblock a user.
///
/// Unblocking a user again has no effect. The fields may be sent as query parameters instead of a body.
#[utoipa::path(
    delete,
    path = "/block",
    tag = "people",
    security(("access_token" = [])),
    params(UnblockBody),
    request_body = Option<UnblockBody>,
    responses(
        (status = 200, body = BlockAnswer),
        (status = 400, description = "invalid_blocked_id"),
        (status = 404, description = "user_not_found"),
    )
)]
pub(super) async fn unblock_user(
    State(profile): State<ProfileClient>,
    current_user: CurrentUser,
    BodyOrQuery(body): BodyOrQuery<UnblockBody>,
) -> Result<Json<BlockAnswer>> {
    let blocked_id = named_user(body.blocked_id, body.user_id)?;
    let request = block_request(&current_user, blocked_id);
    let answer = retry_idempotent(&profile, ProfileClient::unblock_user, request).await?;
    Ok(Json(BlockAnswer {
        success: true,
        message: "User unblocked",
        blocked_id,
        user_id: blocked_id,
        action_type: "unblock".to_owned(),
        is_blocked: answer.is_blocked,
    }))
}

#[derive(Serialize, ToSchema)]
#[schema(as = CheckAnswer)]
pub(super) struct BlockCheckAnswer {
    success: bool,
    message: &'static str,
    blocked_id: i64,
    /// The same as `blocked_id`.
    user_id: i64,
    /// Null without a block.
    #[schema(value_type = Option<BlockAction>)]
    action_type: Option<String>,
    is_blocked: bool,
}

/// Check whether the current user has blocked a user.
#[utoipa::path(
    get,
    path = "/block/check/{user_id}",
    tag = "people",
    security(("access_token" = [])),
    responses(
        (status = 200, body = BlockCheckAnswer),
        (status = 404, description = "user_not_found"),
    )
)]
pub(super) async fn check_block(
    State(profile): State<ProfileClient>,
    current_user: CurrentUser,
    PathId(blocked_id): PathId,
) -> Result<Json<BlockCheckAnswer>> {
    let request = block_request(&current_user, blocked_id);
    let answer = retry_idempotent(&profile, ProfileClient::check_block, request).await?;
    let message = if answer.is_blocked {
        "User is blocked"
    } else {
        "User is not blocked"
    };
    Ok(Json(BlockCheckAnswer {
        success: true,
        message,
        blocked_id,
        user_id: blocked_id,
        action_type: Some(answer.action_type).filter(|_| answer.is_blocked),
        is_blocked: answer.is_blocked,
    }))
}

fn block_request(current_user: &CurrentUser, blocked_id: i64) -> BlockRequest {
    BlockRequest {
        user_id: current_user.user_id,
        blocked_id,
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct BlockedUsersQuery {
    #[param(minimum = 1)]
    page: Option<i64>,
    #[param(minimum = 1, maximum = 100)]
    per_page: Option<i64>,
    /// List only users with this type of block. The total refers to the filtered list.
    #[param(value_type = Option<BlockAction>, inline)]
    action_type: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct BlockedAnswer {
    blocked_users: Vec<BlockedEntry>,
    total_count: i64,
    #[serde(flatten)]
    pagination: Pagination,
}

impl BlockedAnswer {
    fn new(list: ListBlockedResponse, page: ClientPageRequest) -> Self {
        Self {
            blocked_users: list.blocked_users.into_iter().map(Into::into).collect(),
            total_count: list.total_count,
            pagination: page.with_total(list.total_count),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct BlockedEntry {
    user_id: i64,
    username: String,
    #[schema(value_type = Sex)]
    sex: String,
    /// An empty text if there is none.
    bio: String,
    profile_image_url: Option<String>,
    #[schema(value_type = BlockAction)]
    action_type: String,
    reason: Option<String>,
    blocked_at: Option<DateTime<Utc>>,
}

impl From<BlockedUser> for BlockedEntry {
    fn from(blocked: BlockedUser) -> Self {
        Self {
            user_id: blocked.user_id,
            username: blocked.username,
            sex: blocked.sex,
            bio: blocked.bio.unwrap_or_default(),
            profile_image_url: blocked.profile_image_url,
            action_type: blocked.action_type,
            reason: blocked.reason,
            blocked_at: time(blocked.blocked_at),
        }
    }
}

/// List the users whom the current user has blocked.
#[utoipa::path(
    get,
    path = "/blocked",
    tag = "people",
    security(("access_token" = [])),
    params(BlockedUsersQuery),
    responses(
        (status = 200, body = BlockedAnswer),
        (status = 400, description = "invalid_action_type"),
    )
)]
pub(super) async fn list_blocked_users(
    State(profile): State<ProfileClient>,
    current_user: CurrentUser,
    Query(query): Query<BlockedUsersQuery>,
) -> Result<Json<BlockedAnswer>> {
    let page = ClientPageRequest::new(query.page, query.per_page)?;
    let request = ListBlockedRequest {
        user_id: current_user.user_id,
        page: page.page,
        per_page: page.per_page,
        action_type: query.action_type,
    };
    let list = retry_idempotent(&profile, ProfileClient::list_blocked, request).await?;
    Ok(Json(BlockedAnswer::new(list, page)))
}
