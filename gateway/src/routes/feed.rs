//! The feed of listeners (contract, section 5).

use std::collections::BTreeMap;

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::profile::v1::{
    GetFeedStatsRequest, InterestCount, ListListenersResponse, Listener,
};
use utoipa::ToSchema;

use super::feed_filters::{FeedFilters, ListenerFeedQuery, SEXES};
use super::time;
use crate::clients::{PresenceHealth, ProfileClient};
use crate::extract::{Json, Query};
use crate::number::Hundredths;
use crate::openapi::values::{Role, Sex};
use crate::paging::Pagination;
use crate::problem::Result;
use crate::token::CurrentUser;

/// List listeners, filtered and sorted.
///
/// The list contains neither the current user nor users who are blocked in either direction. While the presence service
/// is unavailable, statuses are the last known ones and `has_current_statuses` is false.
#[utoipa::path(
    get,
    path = "/feed/listeners",
    tag = "feed",
    security(("access_token" = [])),
    params(ListenerFeedQuery),
    responses(
        (status = 200, body = FeedAnswer),
        (status = 400, description = "invalid_call_type, invalid_sex, invalid_rating, invalid_interests, invalid_sort_by, invalid_sort_order, invalid_cursor, invalid_language, invalid_search"),
    )
)]
pub(super) async fn list_listeners(
    State(profile): State<ProfileClient>,
    State(presence): State<PresenceHealth>,
    current_user: CurrentUser,
    Query(query): Query<ListenerFeedQuery>,
) -> Result<Json<FeedAnswer>> {
    let page = query.page()?;
    let filters = query.filters()?;
    let is_deep = query.cursor.is_some();
    let request = filters.to_request(current_user.user_id, page, query.cursor);
    let found = retry_idempotent(&profile, ProfileClient::list_listeners, request).await?;
    let pagination = Pagination {
        page: page.page,
        per_page: page.per_page,
        total: found.total_count,
        has_next: found.next_cursor.is_some(),
        has_previous: page.page > 1 || is_deep,
    };
    Ok(Json(FeedAnswer::new(found, filters, pagination, &presence)))
}

/// A page of listeners. The paging is part of the answer twice, nested and flat, for both kinds of clients.
#[derive(Serialize, ToSchema)]
pub(super) struct FeedAnswer {
    listeners: Vec<ListenerAnswer>,
    filters: FeedFilters,
    pagination: Pagination,
    total_count: i64,
    online_count: i64,
    available_count: i64,
    page: i32,
    per_page: i32,
    has_next: bool,
    has_previous: bool,
    /// The `cursor` of the next page. Null on the last page.
    next_cursor: Option<String>,
    /// Whether statuses, and counts and orders by status, are current. Otherwise they are the last known ones.
    has_current_statuses: bool,
}

impl FeedAnswer {
    fn new(
        found: ListListenersResponse,
        filters: FeedFilters,
        pagination: Pagination,
        presence: &PresenceHealth,
    ) -> Self {
        Self {
            listeners: found.listeners.into_iter().map(Into::into).collect(),
            filters,
            pagination,
            total_count: found.total_count,
            online_count: found.online_count,
            available_count: found.available_count,
            page: pagination.page,
            per_page: pagination.per_page,
            has_next: pagination.has_next,
            has_previous: pagination.has_previous,
            next_cursor: found.next_cursor,
            has_current_statuses: presence.has_current_statuses(),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the contract's answer is flat"
)]
pub(super) struct ListenerAnswer {
    user_id: i64,
    username: String,
    #[schema(value_type = Sex)]
    sex: String,
    /// An empty text if there is none.
    bio: String,
    interests: Vec<String>,
    profile_image_url: Option<String>,
    preferred_language: String,
    country: Option<String>,
    /// The mean of all ratings; 0 without ratings.
    rating: Hundredths,
    #[schema(value_type = Vec<Role>)]
    roles: Vec<String>,
    is_online: bool,
    is_busy: bool,
    /// The expected wait in minutes.
    wait_time: Option<i32>,
    last_seen: Option<DateTime<Utc>>,
    /// Online, not busy and taking calls.
    is_available: bool,
    /// The number of calls that the listener took.
    call_count: i64,
    /// The average duration of a call in minutes, with one decimal.
    avg_call_duration: Hundredths,
    avg_call_duration_seconds: i64,
    is_verified: bool,
    /// The share of rings that the listener accepted, of those of the last thirty days that they could have: 0 to 1.
    /// Null below twenty rings. It is computed once a night.
    answer_rate: Option<Hundredths>,
    /// Whether they take audio calls.
    audio_enabled: bool,
    /// Whether they take video calls.
    video_enabled: bool,
}

impl From<Listener> for ListenerAnswer {
    fn from(listener: Listener) -> Self {
        let is_available = listener.is_available();
        Self {
            user_id: listener.user_id,
            username: listener.username,
            sex: listener.sex,
            bio: listener.bio.unwrap_or_default(),
            interests: listener.interests,
            profile_image_url: listener.profile_image_url,
            preferred_language: listener.preferred_language,
            country: listener.country,
            rating: Hundredths::from_rating(listener.rating_hundredths),
            roles: listener.roles,
            is_online: listener.is_online,
            is_busy: listener.is_busy,
            wait_time: listener.wait_time,
            last_seen: time(listener.last_seen),
            is_available,
            call_count: listener.call_count,
            avg_call_duration: Hundredths::from_seconds(listener.avg_call_duration_secs),
            avg_call_duration_seconds: listener.avg_call_duration_secs,
            is_verified: listener.is_verified,
            answer_rate: listener
                .answer_percent
                .map(|percent| Hundredths(percent.into())),
            audio_enabled: listener.audio_enabled.unwrap_or(true),
            video_enabled: listener.video_enabled.unwrap_or(true),
        }
    }
}

/// Statistics of all listeners.
#[derive(Serialize, ToSchema)]
#[schema(as = StatsAnswer)]
pub(super) struct FeedStatsAnswer {
    total_listeners: i64,
    online_listeners: i64,
    busy_listeners: i64,
    available_listeners: i64,
    /// The mean rating of all listeners; 0 without ratings.
    average_rating: Hundredths,
    /// The most frequent interests, in lower case.
    top_interests: Vec<InterestAnswer>,
    /// The number of listeners of each sex: `female`, `male` and `other`.
    gender_distribution: BTreeMap<String, i64>,
    /// The number of listeners of each language tag, in lower case.
    language_distribution: BTreeMap<String, i64>,
    /// When the listeners were counted.
    last_updated: Option<DateTime<Utc>>,
    /// Whether the numbers of online and busy listeners are current. Otherwise they are the last known ones.
    has_current_statuses: bool,
}

#[derive(Serialize, ToSchema)]
struct InterestAnswer {
    interest: String,
    count: i64,
}

/// Read statistics of all listeners.
///
/// The numbers are at most one second old.
#[utoipa::path(
    get,
    path = "/feed/stats",
    tag = "feed",
    security(("access_token" = [])),
    responses((status = 200, body = FeedStatsAnswer))
)]
pub(super) async fn read_statistics(
    State(profile): State<ProfileClient>,
    State(presence): State<PresenceHealth>,
    _caller: CurrentUser,
) -> Result<Json<FeedStatsAnswer>> {
    let stats = retry_idempotent(
        &profile,
        ProfileClient::get_feed_stats,
        GetFeedStatsRequest {},
    )
    .await?;
    let top = stats.top_interests.into_iter();
    Ok(Json(FeedStatsAnswer {
        total_listeners: stats.total_listeners,
        online_listeners: stats.online_listeners,
        busy_listeners: stats.busy_listeners,
        available_listeners: stats.available_listeners,
        average_rating: Hundredths::from_rating(stats.average_rating_hundredths),
        top_interests: top
            .map(|InterestCount { interest, count }| InterestAnswer { interest, count })
            .collect(),
        gender_distribution: count_sexes(stats.sexes),
        language_distribution: stats.languages.into_iter().collect(),
        last_updated: time(stats.counted_at),
        has_current_statuses: presence.has_current_statuses(),
    }))
}

/// Adds the sexes of which there is no listener.
fn count_sexes(counted: impl IntoIterator<Item = (String, i64)>) -> BTreeMap<String, i64> {
    let mut counts: BTreeMap<String, i64> = SEXES.map(|sex| (sex.to_owned(), 0)).into();
    counts.extend(counted);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sex_is_counted() {
        let counts = count_sexes([("female".to_owned(), 3)]);
        let expected = [("female", 3), ("male", 0), ("other", 0)];
        assert_eq!(
            counts,
            expected.map(|(sex, count)| (sex.to_owned(), count)).into()
        );
    }
}
