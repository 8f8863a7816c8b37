//! The statuses of users (contract, section 4).

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use talktime_kit::grpc::client::retry_idempotent;
use talktime_kit::{Clock, Error, ErrorKind};
use talktime_proto::presence::v1::{
    CleanUpRequest, GetStatusRequest, GetStatusesRequest, Status, UpdateStatusRequest,
};
use talktime_proto::timestamp;
use utoipa::{IntoParams, ToSchema};

use super::{Message, time};
use crate::clients::{CallsClient, PresenceClient, ProfileClient};
use crate::extract::{AdminUser, Json, PathId, Query};
use crate::heartbeats::HeartbeatForwarder;
use crate::problem::Result;
use crate::status_viewers::filter_visible;
use crate::token::CurrentUser;

const ASKED_TOGETHER_MAX: usize = 50;

#[derive(Serialize, ToSchema)]
pub(super) struct OwnStatus {
    user_id: i64,
    is_online: bool,
    is_busy: bool,
    /// The expected wait in minutes.
    wait_time: Option<i32>,
    /// Whether the user takes calls. Only the user changes it.
    accepting_calls: bool,
    last_seen: Option<DateTime<Utc>>,
    created_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
}

impl From<Status> for OwnStatus {
    fn from(status: Status) -> Self {
        Self {
            user_id: status.user_id,
            is_online: status.is_online,
            is_busy: status.is_busy,
            wait_time: status.wait_time,
            accepting_calls: status.takes_calls(),
            last_seen: time(status.last_seen),
            created_at: time(status.created_at),
            updated_at: time(status.updated_at),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct OthersStatus {
    user_id: i64,
    username: String,
    is_online: bool,
    is_busy: bool,
    /// The expected wait in minutes.
    wait_time: Option<i32>,
    last_seen: Option<DateTime<Utc>>,
    /// Online, not busy and taking calls.
    is_available: bool,
}

impl From<Status> for OthersStatus {
    fn from(status: Status) -> Self {
        let is_available = status.is_available();
        Self {
            user_id: status.user_id,
            username: status.username,
            is_online: status.is_online,
            is_busy: status.is_busy,
            wait_time: status.wait_time,
            last_seen: time(status.last_seen),
            is_available,
        }
    }
}

async fn status_of(presence: &PresenceClient, user_id: i64) -> Result<Status, Error> {
    retry_idempotent(
        presence,
        PresenceClient::get_status,
        GetStatusRequest { user_id },
    )
    .await
}

/// Read the current user's status.
#[utoipa::path(
    get,
    path = "/users/me/status",
    tag = "presence",
    security(("access_token" = [])),
    responses(
        (status = 200, body = OwnStatus),
        (status = 404, description = "user_not_found"),
    )
)]
pub(super) async fn read_own_status(
    State(presence): State<PresenceClient>,
    current_user: CurrentUser,
) -> Result<Json<OwnStatus>> {
    let status = status_of(&presence, current_user.user_id).await?;
    Ok(Json(status.into()))
}

#[derive(eserde::Deserialize, ToSchema)]
#[schema(as = StatusBody)]
pub(super) struct UserStatusBody {
    #[serde(default)]
    is_online: Option<bool>,
    #[serde(default)]
    is_busy: Option<bool>,
    /// The expected wait in minutes.
    #[serde(default)]
    wait_time: Option<i64>,
    /// False refuses calls until it is set to true again, even while the user is online.
    #[serde(default)]
    accepting_calls: Option<bool>,
}

impl UserStatusBody {
    fn into_request(
        self,
        current_user: CurrentUser,
        accepted_at: DateTime<Utc>,
    ) -> Result<UpdateStatusRequest, Error> {
        let wait_time = self.wait_time.map(i32::try_from).transpose();
        Ok(UpdateStatusRequest {
            user_id: current_user.user_id,
            session_id: current_user.session_id,
            accepted_at: Some(timestamp(accepted_at)),
            is_online: self.is_online,
            is_busy: self.is_busy,
            accepting_calls: self.accepting_calls,
            wait_time: wait_time
                .map_err(|_| Error::invalid("invalid_wait_time", "wait_time is out of range."))?,
        })
    }
}

/// Change the current user's status.
///
/// Fields that are missing keep their value; at least one is required (`no_field`). Sockets report the change.
#[utoipa::path(
    put,
    path = "/users/me/status",
    tag = "presence",
    security(("access_token" = [])),
    responses(
        (status = 200, body = OwnStatus),
        (status = 400, description = "no_field, invalid_wait_time"),
        (status = 404, description = "user_not_found"),
    )
)]
pub(super) async fn update_own_status(
    State(mut presence): State<PresenceClient>,
    State(clock): State<Clock>,
    current_user: CurrentUser,
    Json(body): Json<UserStatusBody>,
) -> Result<Json<OwnStatus>> {
    let request = body.into_request(current_user, clock.now())?;
    let status = presence.update_status(request).await?.into_inner();
    Ok(Json(status.into()))
}

/// Send a heartbeat.
///
/// It updates `last_seen` and shows an offline user as online. A user without a heartbeat for five minutes is shown as
/// offline.
#[utoipa::path(
    post,
    path = "/users/me/heartbeat",
    tag = "presence",
    security(("access_token" = [])),
    responses(
        (status = 200, body = Message),
        (status = 404, description = "user_not_found"),
    )
)]
pub(super) async fn forward_heartbeat(
    State(heartbeats): State<HeartbeatForwarder>,
    current_user: CurrentUser,
) -> Result<Json<Message>> {
    heartbeats.forward(&current_user).await?;
    Ok(Json(Message::new("Heartbeat received")))
}

/// Read a user's status.
///
/// It is found of listeners, of favourites, and of users with whom the current user has had a call, unless one of the two
/// has blocked the other.
#[utoipa::path(
    get,
    path = "/users/{user_id}/presence",
    tag = "presence",
    security(("access_token" = [])),
    responses(
        (status = 200, body = OthersStatus),
        (status = 404, description = "user_not_found"),
    )
)]
pub(super) async fn read_status(
    State(profile): State<ProfileClient>,
    State(calls): State<CallsClient>,
    State(presence): State<PresenceClient>,
    current_user: CurrentUser,
    PathId(user_id): PathId,
) -> Result<Json<OthersStatus>> {
    let visible = filter_visible(&profile, &calls, current_user.user_id, vec![user_id]);
    let (visible, status) = tokio::join!(visible, status_of(&presence, user_id));
    if visible?.is_empty() {
        return Err(Error::new(
            ErrorKind::NotFound,
            "user_not_found",
            "There is no such user.",
        )
        .into());
    }
    Ok(Json(status?.into()))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct UserStatusesQuery {
    /// The ids of up to 50 users, separated by commas.
    #[serde(default)]
    #[param(required = true, example = "1,2,3")]
    user_ids: String,
}

/// Read the statuses of up to 50 users.
///
/// The answer has no entry for an unknown id, or for a user whose status is not found alone.
#[utoipa::path(
    get,
    path = "/users/presence",
    tag = "presence",
    security(("access_token" = [])),
    params(UserStatusesQuery),
    responses(
        (status = 200, body = Vec<OthersStatus>),
        (status = 400, description = "invalid_user_ids, too_many_users"),
    )
)]
pub(super) async fn read_statuses(
    State(profile): State<ProfileClient>,
    State(calls): State<CallsClient>,
    State(presence): State<PresenceClient>,
    current_user: CurrentUser,
    Query(query): Query<UserStatusesQuery>,
) -> Result<Json<Vec<OthersStatus>>> {
    let user_ids = parse_ids(&query.user_ids)?;
    let visible = filter_visible(&profile, &calls, current_user.user_id, user_ids.clone());
    let statuses = retry_idempotent(
        &presence,
        PresenceClient::get_statuses,
        GetStatusesRequest { user_ids },
    );
    let (visible, answer) = tokio::join!(visible, statuses);
    let (visible, answer) = (visible?, answer?);
    let statuses = answer.statuses.into_iter();
    let shown = statuses.filter(|status| visible.contains(&status.user_id));
    Ok(Json(shown.map(Into::into).collect()))
}

#[derive(Serialize, ToSchema)]
pub(super) struct PresenceCleanUpAnswer {
    message: &'static str,
    users_marked_offline: i64,
    busy_status_cleared: i64,
}

/// Correct outdated statuses.
///
/// Users without a heartbeat for five minutes become offline, and users who are busy without a call become free. The
/// server does this by itself every minute.
#[utoipa::path(
    post,
    path = "/admin/cleanup-presence",
    tag = "admin",
    security(("access_token" = ["admin"])),
    responses((status = 200, body = PresenceCleanUpAnswer))
)]
pub(super) async fn clean_up_statuses(
    State(mut presence): State<PresenceClient>,
    _admin: AdminUser,
) -> Result<Json<PresenceCleanUpAnswer>> {
    let cleaned = presence.clean_up(CleanUpRequest {}).await?.into_inner();
    Ok(Json(PresenceCleanUpAnswer {
        message: "Presence cleaned up",
        users_marked_offline: cleaned.users_marked_offline,
        busy_status_cleared: cleaned.busy_status_cleared,
    }))
}

fn parse_ids(list: &str) -> Result<Vec<i64>, Error> {
    let ids = list
        .split(',')
        .map(|id| id.trim().parse())
        .collect::<Result<Vec<i64>, _>>();
    ids.ok()
        .filter(|ids| ids.len() <= ASKED_TOGETHER_MAX)
        .ok_or_else(|| {
            Error::invalid(
                "invalid_user_ids",
                "user_ids must be 1 to 50 ids, separated by commas.",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_a_list_of_at_most_fifty() {
        let ids = |list: &str| parse_ids(list).map_err(|error| error.code().to_owned());
        assert_eq!(ids("1,2,3"), Ok(vec![1, 2, 3]));
        assert_eq!(ids("7, 8"), Ok(vec![7, 8]));
        let fifty = ["1"; ASKED_TOGETHER_MAX].join(",");
        assert_eq!(ids(&fifty).map(|ids| ids.len()), Ok(50));
        for list in ["", "1,", "one", "1;2", &format!("{fifty},1")] {
            assert_eq!(ids(list), Err("invalid_user_ids".to_owned()), "{list:?}");
        }
    }
}
