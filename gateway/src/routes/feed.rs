//! The feed of listeners (contract, section 5).

use std::collections::BTreeMap;

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::profile::v1::{
    GetFeedStatsRequest, InterestCount, ListListenersRequest, ListListenersResponse, Listener,
    ListenerSort,
};
use utoipa::{IntoParams, ToSchema};

use super::{calls, time};
use crate::clients::{PresenceHealth, ProfileClient};
use crate::extract::{Json, Query};
use crate::number::{DecimalNumber, Hundredths};
use crate::openapi::values::{CallType, Role, Sex};
use crate::paging::{PageRequest, Pagination};
use crate::problem::Result;
use crate::token::CurrentUser;

const RATING_MIN: Hundredths = Hundredths(0);
const RATING_MAX: Hundredths = Hundredths(500);
const INTERESTS_MAX: usize = 10;
const SEXES: [&str; 3] = ["male", "female", "other"];

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FeedQuery {
    #[param(minimum = 1)]
    page: Option<i64>,
    #[param(minimum = 1, maximum = 100)]
    per_page: Option<i64>,
    /// The `next_cursor` of the previous page, for distant pages.
    cursor: Option<String>,
    /// List only listeners who are online.
    #[serde(default)]
    online_only: bool,
    /// List only listeners who can be called now.
    #[serde(default)]
    available_only: bool,
    /// List only listeners who take calls of this type.
    #[param(value_type = Option<CallType>, inline)]
    call_type: Option<String>,
    /// List only listeners of this sex.
    #[param(value_type = Option<Sex>, inline)]
    sex: Option<String>,
    /// The lowest rating, from 0.0 to 5.0. The default is 0.0.
    #[param(value_type = Option<f64>, minimum = 0, maximum = 5)]
    min_rating: Option<String>,
    /// The highest rating, from 0.0 to 5.0. The default is 5.0.
    #[param(value_type = Option<f64>, minimum = 0, maximum = 5)]
    max_rating: Option<String>,
    /// Up to 10 interests, separated by commas, of which a listener has at least one. Case is ignored.
    #[param(example = "music,films")]
    interests: Option<String>,
    /// A language tag. Case is ignored, and `hi` also finds `hi-IN`.
    #[param(example = "en")]
    language: Option<String>,
    /// The order of the list: by rating (the default), online listeners first, or by `last_seen` (`recent`).
    #[param(value_type = Option<SortBy>, inline)]
    sort_by: Option<String>,
    /// The default is `desc`.
    #[param(value_type = Option<SortOrder>, inline)]
    sort_order: Option<String>,
}

/// The filters and the order of the list.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Filters {
    online_only: bool,
    available_only: bool,
    #[schema(value_type = Option<CallType>)]
    call_type: Option<String>,
    #[schema(value_type = Option<Sex>)]
    sex: Option<String>,
    /// 0.0 by default.
    min_rating: Hundredths,
    /// 5.0 by default.
    max_rating: Hundredths,
    interests: Vec<String>,
    language: Option<String>,
    sort_by: SortBy,
    sort_order: SortOrder,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SortBy {
    Rating,
    Online,
    Recent,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SortOrder {
    Asc,
    Desc,
}

impl FeedQuery {
    fn filters(&self) -> Result<Filters, Error> {
        Ok(Filters {
            online_only: self.online_only,
            available_only: self.available_only,
            call_type: call_type(self.call_type.as_deref())?,
            sex: sex(self.sex.as_deref())?,
            min_rating: parse_rating(self.min_rating.as_deref())?.unwrap_or(RATING_MIN),
            max_rating: parse_rating(self.max_rating.as_deref())?.unwrap_or(RATING_MAX),
            interests: interests(self.interests.as_deref())?,
            language: self.language.clone(),
            sort_by: sort_by(self.sort_by.as_deref())?,
            sort_order: sort_order(self.sort_order.as_deref())?,
        })
    }
}

fn sex(text: Option<&str>) -> Result<Option<String>, Error> {
    match text {
        Some(text) if !SEXES.contains(&text) => Err(Error::invalid(
            "invalid_sex",
            "sex must be male, female or other.",
        )),
        known => Ok(known.map(str::to_owned)),
    }
}

fn call_type(text: Option<&str>) -> Result<Option<String>, Error> {
    if let Some(text) = text {
        calls::call_type(text)?;
    }
    Ok(text.map(str::to_owned))
}

fn parse_rating(text: Option<&str>) -> Result<Option<Hundredths>, Error> {
    let Some(text) = text else { return Ok(None) };
    DecimalNumber::parse(text)
        .and_then(|number| number.hundredths())
        .filter(|rating| (RATING_MIN.0..=RATING_MAX.0).contains(rating))
        .map(|rating| Some(Hundredths(rating)))
        .ok_or_else(|| Error::invalid("invalid_rating", "Ratings are 0.0 to 5.0."))
}

fn interests(text: Option<&str>) -> Result<Vec<String>, Error> {
    let names = text.unwrap_or_default().split(',').map(str::trim);
    let names: Vec<String> = names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if names.len() > INTERESTS_MAX {
        return Err(Error::invalid(
            "invalid_interests",
            "At most 10 interests may be asked for.",
        ));
    }
    Ok(names)
}

fn sort_by(text: Option<&str>) -> Result<SortBy, Error> {
    match text.unwrap_or("rating") {
        "rating" => Ok(SortBy::Rating),
        "online" => Ok(SortBy::Online),
        "recent" => Ok(SortBy::Recent),
        _ => Err(Error::invalid(
            "invalid_sort_by",
            "sort_by must be rating, online or recent.",
        )),
    }
}

fn sort_order(text: Option<&str>) -> Result<SortOrder, Error> {
    match text.unwrap_or("desc") {
        "asc" => Ok(SortOrder::Asc),
        "desc" => Ok(SortOrder::Desc),
        _ => Err(Error::invalid(
            "invalid_sort_order",
            "sort_order must be asc or desc.",
        )),
    }
}

impl From<SortBy> for ListenerSort {
    fn from(sort: SortBy) -> Self {
        match sort {
            SortBy::Rating => Self::Rating,
            SortBy::Online => Self::Online,
            SortBy::Recent => Self::Recent,
        }
    }
}

/// Returns a bound for the request, unless it is the default, which excludes nobody.
fn rating_bound(bound: Hundredths, default: Hundredths) -> Option<i32> {
    let bound = Some(bound).filter(|bound| *bound != default)?;
    i32::try_from(bound.0).ok()
}

fn request(
    viewer_id: i64,
    page: PageRequest,
    cursor: Option<String>,
    filters: &Filters,
) -> ListListenersRequest {
    ListListenersRequest {
        viewer_id,
        page: page.page,
        per_page: page.per_page,
        online_only: filters.online_only,
        available_only: filters.available_only,
        sex: filters.sex.clone(),
        min_rating_hundredths: rating_bound(filters.min_rating, RATING_MIN),
        max_rating_hundredths: rating_bound(filters.max_rating, RATING_MAX),
        interests: filters.interests.clone(),
        language: filters.language.clone(),
        sort_by: ListenerSort::from(filters.sort_by).into(),
        ascending: filters.sort_order == SortOrder::Asc,
        cursor,
        call_type: filters.call_type.clone(),
    }
}

/// List listeners, filtered and sorted.
///
/// The list contains neither the current user nor users who are blocked in either direction. While the presence service
/// is unavailable, statuses are the last known ones and `has_current_statuses` is false.
#[utoipa::path(
    get,
    path = "/feed/listeners",
    tag = "feed",
    security(("access_token" = [])),
    params(FeedQuery),
    responses(
        (status = 200, body = FeedAnswer),
        (status = 400, description = "invalid_call_type, invalid_sex, invalid_rating, invalid_interests, invalid_sort_by, invalid_sort_order, invalid_cursor, invalid_language"),
    )
)]
pub(super) async fn list_listeners(
    State(profile): State<ProfileClient>,
    State(presence): State<PresenceHealth>,
    current_user: CurrentUser,
    Query(query): Query<FeedQuery>,
) -> Result<Json<FeedAnswer>> {
    let page = PageRequest::new(query.page, query.per_page)?;
    let filters = query.filters()?;
    let is_deep = query.cursor.is_some();
    let request = request(current_user.user_id, page, query.cursor, &filters);
    let found = retry_idempotent(|| {
        let (mut profile, request) = (profile.clone(), request.clone());
        async move { profile.list_listeners(request).await }
    })
    .await?;
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
    filters: Filters,
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
        filters: Filters,
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
struct ListenerAnswer {
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
            audio_enabled: listener.audio_enabled.unwrap_or(true),
            video_enabled: listener.video_enabled.unwrap_or(true),
        }
    }
}

/// Statistics of all listeners.
#[derive(Serialize, ToSchema)]
pub(super) struct StatsAnswer {
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
    responses((status = 200, body = StatsAnswer))
)]
pub(super) async fn read_statistics(
    State(profile): State<ProfileClient>,
    State(presence): State<PresenceHealth>,
    _caller: CurrentUser,
) -> Result<Json<StatsAnswer>> {
    let stats = retry_idempotent(|| {
        let mut profile = profile.clone();
        async move { profile.get_feed_stats(GetFeedStatsRequest {}).await }
    })
    .await?;
    let top = stats.top_interests.into_iter();
    Ok(Json(StatsAnswer {
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

    fn code<T>(result: Result<T, Error>) -> Option<String> {
        result.err().map(|error| error.code().to_owned())
    }

    #[test]
    fn unknown_values_are_refused() {
        assert_eq!(code(sex(Some("robot"))).as_deref(), Some("invalid_sex"));
        assert_eq!(
            code(sort_by(Some("age"))).as_deref(),
            Some("invalid_sort_by")
        );
        assert_eq!(
            code(sort_order(Some("up"))).as_deref(),
            Some("invalid_sort_order")
        );
        for text in ["5.01", "-1", "many", "4.555"] {
            assert_eq!(
                code(parse_rating(Some(text))).as_deref(),
                Some("invalid_rating")
            );
        }
        let eleven = ["music"; INTERESTS_MAX + 1].join(",");
        assert_eq!(
            code(interests(Some(&eleven))).as_deref(),
            Some("invalid_interests")
        );
    }

    #[test]
    fn missing_values_have_defaults() {
        assert_eq!(sort_by(None).ok(), Some(SortBy::Rating));
        assert_eq!(sort_order(None).ok(), Some(SortOrder::Desc));
        assert_eq!(parse_rating(None).ok(), Some(None));
        assert_eq!(parse_rating(Some("4.5")).ok(), Some(Some(Hundredths(450))));
        assert_eq!(
            interests(Some("music, ,films")).ok(),
            Some(vec!["music".to_owned(), "films".to_owned()])
        );
    }

    #[test]
    fn every_sex_is_counted() {
        let counts = count_sexes([("female".to_owned(), 3)]);
        let expected = [("female", 3), ("male", 0), ("other", 0)];
        assert_eq!(
            counts,
            expected.map(|(sex, count)| (sex.to_owned(), count)).into()
        );
    }

    #[test]
    fn default_ratings_are_no_filter() {
        assert_eq!(rating_bound(RATING_MIN, RATING_MIN), None);
        assert_eq!(rating_bound(RATING_MAX, RATING_MIN), Some(500));
        assert_eq!(rating_bound(RATING_MAX, RATING_MAX), None);
    }
}
