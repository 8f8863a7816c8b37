//! The badges of listeners, which decide what they earn a minute (contract, section 10).

use axum::extract::State;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::calls::v1::{
    AssignBadgesRequest, AssignBadgesResponse, Badge, BadgeCount, GetBadgeRequest,
    GetBadgeStatisticsRequest, GetBadgeStatisticsResponse, GetStandingRequest, GetStandingResponse,
    ListBadgesRequest,
};
use utoipa::{IntoParams, ToSchema};

use super::time;
use crate::clients::CallsClient;
use crate::extract::{AdminUser, Json, ListenerUser, PathId, Query};
use crate::number::Hundredths;
use crate::openapi::values;
use crate::problem::Result;
use crate::token::CurrentUser;

#[derive(Serialize, ToSchema)]
pub(super) struct BadgeBody {
    listener_id: i64,
    #[schema(value_type = NaiveDate)]
    date: String,
    #[schema(value_type = values::BadgeName)]
    badge: String,
    /// Rupees a minute of audio calls.
    audio_rate_per_minute: Hundredths,
    /// Rupees a minute of video calls.
    video_rate_per_minute: Hundredths,
    assigned_at: Option<DateTime<Utc>>,
}

impl From<Badge> for BadgeBody {
    fn from(badge: Badge) -> Self {
        Self {
            listener_id: badge.listener_id,
            audio_rate_per_minute: Hundredths(badge.audio_paise_per_minute),
            video_rate_per_minute: Hundredths(badge.video_paise_per_minute),
            assigned_at: time(badge.assigned_at),
            date: badge.date,
            badge: badge.badge,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = CurrentAnswer)]
pub(super) struct CurrentBadgeAnswer {
    current_badge: BadgeBody,
    yesterday_duration_hours: Hundredths,
    /// The hours a day that the next badge needs. Null with the highest badge.
    next_badge_threshold: Option<i32>,
}

impl CurrentBadgeAnswer {
    fn new(standing: GetStandingResponse) -> Option<Self> {
        Some(Self {
            current_badge: standing.badge?.into(),
            // Rounded down, so that the hours never seem to reach a threshold that they do not reach.
            yesterday_duration_hours: Hundredths(standing.yesterday_secs * 100 / 3_600),
            next_badge_threshold: standing.next_threshold_hours,
        })
    }
}

/// Read the current listener's badge of today.
///
/// The badge depends on the hours of completed calls of yesterday, by the calendar of India.
#[utoipa::path(
    get,
    path = "/badges/current",
    tag = "badges",
    security(("access_token" = ["listener"])),
    responses(
        (status = 200, body = CurrentBadgeAnswer),
        (status = 403, description = "listener_only"),
    )
)]
pub(super) async fn read_current_badge(
    State(calls): State<CallsClient>,
    ListenerUser(current_user): ListenerUser,
) -> Result<Json<CurrentBadgeAnswer>> {
    let listener_id = current_user.user_id;
    let standing = retry_idempotent(
        &calls,
        CallsClient::get_standing,
        GetStandingRequest { listener_id },
    )
    .await?;
    let answer = CurrentBadgeAnswer::new(standing);
    Ok(Json(answer.ok_or_else(|| {
        Error::internal("calls answered without a badge")
    })?))
}

#[derive(Deserialize, IntoParams)]
pub(super) struct BadgeDateRangeQuery {
    start_date: Option<NaiveDate>,
    end_date: Option<NaiveDate>,
}

/// List the current listener's badges, newest first.
///
/// The default range is the last thirty days.
#[utoipa::path(
    get,
    path = "/badges/history",
    tag = "badges",
    security(("access_token" = ["listener"])),
    params(BadgeDateRangeQuery),
    responses(
        (status = 200, body = Vec<BadgeBody>),
        (status = 400, description = "invalid_date_range"),
        (status = 403, description = "listener_only"),
    )
)]
pub(super) async fn list_badges(
    State(calls): State<CallsClient>,
    ListenerUser(current_user): ListenerUser,
    Query(range): Query<BadgeDateRangeQuery>,
) -> Result<Json<Vec<BadgeBody>>> {
    let request = ListBadgesRequest {
        listener_id: current_user.user_id,
        first_date: text(range.start_date),
        last_date: text(range.end_date),
    };
    let found = retry_idempotent(&calls, CallsClient::list_badges, request).await?;
    Ok(Json(found.badges.into_iter().map(Into::into).collect()))
}

#[derive(Serialize, ToSchema)]
#[schema(as = StatisticsAnswer)]
pub(super) struct BadgeStatisticsAnswer {
    statistics: Vec<BadgeCountBody>,
    total_listeners: i64,
    /// The first and the last day as one text.
    #[schema(example = "2026-11-01 to 2026-11-30")]
    date_range: String,
    #[schema(value_type = NaiveDate)]
    start_date: String,
    #[schema(value_type = NaiveDate)]
    end_date: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CountBody)]
struct BadgeCountBody {
    #[schema(value_type = values::BadgeName)]
    badge: String,
    count: i64,
    avg_audio_rate: Hundredths,
    avg_video_rate: Hundredths,
}

impl From<BadgeCount> for BadgeCountBody {
    fn from(count: BadgeCount) -> Self {
        Self {
            badge: count.badge,
            count: count.count,
            avg_audio_rate: Hundredths(count.avg_audio_paise),
            avg_video_rate: Hundredths(count.avg_video_paise),
        }
    }
}

impl From<GetBadgeStatisticsResponse> for BadgeStatisticsAnswer {
    fn from(found: GetBadgeStatisticsResponse) -> Self {
        Self {
            statistics: found.counts.into_iter().map(Into::into).collect(),
            total_listeners: found.total_listeners,
            date_range: format!("{} to {}", found.first_date, found.last_date),
            start_date: found.first_date,
            end_date: found.last_date,
        }
    }
}

/// Read how often each badge was assigned.
///
/// The default range is the last thirty days.
#[utoipa::path(
    get,
    path = "/badges/statistics",
    tag = "badges",
    security(("access_token" = [])),
    params(BadgeDateRangeQuery),
    responses(
        (status = 200, body = BadgeStatisticsAnswer),
        (status = 400, description = "invalid_date_range"),
    )
)]
pub(super) async fn read_badge_statistics(
    State(calls): State<CallsClient>,
    _caller: CurrentUser,
    Query(range): Query<BadgeDateRangeQuery>,
) -> Result<Json<BadgeStatisticsAnswer>> {
    let request = GetBadgeStatisticsRequest {
        first_date: text(range.start_date),
        last_date: text(range.end_date),
    };
    let found = retry_idempotent(&calls, CallsClient::get_badge_statistics, request).await?;
    Ok(Json(found.into()))
}

#[derive(Deserialize, IntoParams)]
pub(super) struct BadgeDateQuery {
    target_date: Option<NaiveDate>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AssignAnswer)]
pub(super) struct BadgeAssignmentAnswer {
    message: &'static str,
    #[schema(value_type = NaiveDate)]
    date: String,
    total_listeners: i64,
    basic_assigned: i64,
    bronze_assigned: i64,
    silver_assigned: i64,
    gold_assigned: i64,
    /// Always 0, because the badges of a day are assigned together or not at all.
    errors: i64,
}

impl From<AssignBadgesResponse> for BadgeAssignmentAnswer {
    fn from(given: AssignBadgesResponse) -> Self {
        Self {
            message: "Badges assigned",
            date: given.date,
            total_listeners: given.basic + given.bronze + given.silver + given.gold,
            basic_assigned: given.basic,
            bronze_assigned: given.bronze,
            silver_assigned: given.silver,
            gold_assigned: given.gold,
            errors: 0,
        }
    }
}

/// Assign the badges of a day again.
///
/// The server assigns them every day at 00:01 in India. The default day is today.
#[utoipa::path(
    post,
    path = "/badges/assign",
    tag = "admin",
    security(("access_token" = ["admin"])),
    params(BadgeDateQuery),
    responses(
        (status = 200, body = BadgeAssignmentAnswer),
        (status = 400, description = "invalid_target_date"),
        (status = 403, description = "admin_only"),
        (status = 409, description = "badges_are_being_given"),
    )
)]
pub(super) async fn assign_badges(
    State(mut calls): State<CallsClient>,
    _admin: AdminUser,
    Query(target): Query<BadgeDateQuery>,
) -> Result<Json<BadgeAssignmentAnswer>> {
    let request = AssignBadgesRequest {
        date: text(target.target_date),
    };
    let assignment = calls.assign_badges(request).await?.into_inner();
    Ok(Json(assignment.into()))
}

/// Read a listener's badge of a day.
///
/// The default day is today.
#[utoipa::path(
    get,
    path = "/badges/{listener_id}",
    tag = "admin",
    security(("access_token" = ["admin"])),
    params(BadgeDateQuery),
    responses(
        (status = 200, body = BadgeBody),
        (status = 400, description = "invalid_target_date"),
        (status = 403, description = "admin_only"),
        (status = 404, description = "badge_not_found"),
    )
)]
pub(super) async fn read_badge(
    State(calls): State<CallsClient>,
    _admin: AdminUser,
    PathId(listener_id): PathId,
    Query(target): Query<BadgeDateQuery>,
) -> Result<Json<BadgeBody>> {
    let request = GetBadgeRequest {
        listener_id,
        date: text(target.target_date),
    };
    let badge = retry_idempotent(&calls, CallsClient::get_badge, request).await?;
    Ok(Json(badge.into()))
}

fn text(date: Option<NaiveDate>) -> Option<String> {
    date.map(|date| date.to_string())
}
