//! How busy the platform is (contract, section 7).

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_kit::error::{ErrorKind, chain};
use talktime_kit::grpc::client::retry_idempotent;
use talktime_kit::{Clock, Error};
use talktime_proto::calls::v1::{GetActivityRequest, GetActivityResponse, GetExactActivityRequest};
use talktime_proto::profile::v1::{ListListenersRequest, ListListenersResponse};
use utoipa::ToSchema;

use crate::clients::{CallsClient, PresenceHealth, ProfileClient};
use crate::extract::{Json, is_admin};
use crate::number::Hundredths;
use crate::problem::Result;
use crate::token::CurrentUser;

#[derive(Serialize, ToSchema)]
#[schema(as = ActivityAnswer)]
pub(super) struct PlatformActivityAnswer {
    /// `operational`, or `degraded` while some of the values are missing or outdated.
    system_status: &'static str,
    active_calls: i64,
    total_calls_today: i64,
    /// The average duration of a call in minutes, with one decimal.
    average_call_duration: Hundredths,
    avg_call_duration_seconds: i64,
    total_coins_processed: i64,
    /// The last known number while the presence service is unavailable; null while the feed is unavailable.
    listeners_online: Option<i64>,
    /// The last known number while the presence service is unavailable; null while the feed is unavailable.
    listeners_busy: Option<i64>,
    last_updated: DateTime<Utc>,
}

/// Read how busy the platform is.
///
/// Numbers of calls are rounded down to tens and never more than 100, coins to hundreds and never more than 1,000. Admins
/// get the exact figures, if they give a reason where the operator requires one.
#[utoipa::path(
    get,
    path = "/calls/status",
    tag = "calls",
    security(("access_token" = [])),
    responses((status = 200, body = PlatformActivityAnswer))
)]
// The answer needs the calls service. Without the counts of the feed it is incomplete and says so.
pub(super) async fn read_activity(
    State(calls): State<CallsClient>,
    State(profile): State<ProfileClient>,
    State(presence): State<PresenceHealth>,
    State(clock): State<Clock>,
    current_user: CurrentUser,
) -> Result<Json<PlatformActivityAnswer>> {
    let counted = load_activity(&calls, &profile, current_user.user_id);
    let feed = load_feed_counts(&profile, current_user.user_id);
    let (activity, feed) = tokio::join!(counted, feed);
    let activity = activity?;
    let feed = feed.ok();
    let is_whole = feed.is_some() && presence.has_current_statuses();
    Ok(Json(PlatformActivityAnswer {
        system_status: if is_whole { "operational" } else { "degraded" },
        active_calls: activity.active_calls,
        total_calls_today: activity.calls_today,
        average_call_duration: Hundredths::from_seconds(activity.avg_duration_seconds),
        avg_call_duration_seconds: activity.avg_duration_seconds,
        total_coins_processed: activity.coins_processed,
        listeners_online: feed.as_ref().map(|feed| feed.online_count),
        listeners_busy: feed
            .as_ref()
            .map(|feed| feed.online_count - feed.available_count),
        last_updated: clock.now(),
    }))
}

/// Loads the figures that this user may know. A user whose roles are not known now, or whose reading cannot be recorded, gets
/// what everybody gets.
async fn load_activity(
    calls: &CallsClient,
    profile: &ProfileClient,
    user_id: i64,
) -> Result<GetActivityResponse, Error> {
    if is_admin(profile, user_id).await.unwrap_or(false) {
        let request = GetExactActivityRequest {};
        match retry_idempotent(calls, CallsClient::get_exact_activity, request).await {
            Ok(activity) => return Ok(activity),
            // The operator requires a reason of admins, and this one has given none.
            Err(error) if error.kind() == ErrorKind::InvalidArgument => {}
            Err(error) => tracing::warn!(
                user_id,
                error = chain(&error),
                "failed to read the exact activity for an admin; the answer has the coarse one"
            ),
        }
    }
    retry_idempotent(calls, CallsClient::get_activity, GetActivityRequest {}).await
}

/// Loads the counts of the feed, which come with any page of it.
async fn load_feed_counts(
    profile: &ProfileClient,
    viewer_id: i64,
) -> Result<ListListenersResponse, Error> {
    let request = ListListenersRequest {
        viewer_id,
        page: 1,
        per_page: 1,
        ..ListListenersRequest::default()
    };
    retry_idempotent(profile, ProfileClient::list_listeners, request).await
}
