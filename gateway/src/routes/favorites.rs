//! The favourites of the current user (contract, section 3).

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::profile::v1::{
    Favorite, FavoriteRequest, ListFavoritesRequest, ListFavoritesResponse,
};
use utoipa::{IntoParams, ToSchema};

use super::time;
use crate::clients::{PresenceHealth, ProfileClient};
use crate::extract::{BodyOrQuery, Json, PathId, Query};
use crate::number::Hundredths;
use crate::openapi::values::Sex;
use crate::paging::{ClientPageRequest, Pagination};
use crate::problem::Result;
use crate::token::CurrentUser;

#[derive(eserde::Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
pub(super) struct ListenerBody {
    #[param(required = false)]
    listener_id: i64,
}

#[derive(Serialize, ToSchema)]
pub(super) struct FavoriteAnswer {
    success: bool,
    message: &'static str,
    listener_id: i64,
    is_favorited: bool,
}

impl FavoriteAnswer {
    fn new(message: &'static str, listener_id: i64, is_favorited: bool) -> Json<Self> {
        Json(Self {
            success: true,
            message,
            listener_id,
            is_favorited,
        })
    }
}

/// Add a listener to the favourites.
///
/// Adding a listener again has no effect.
#[utoipa::path(
    post,
    path = "/favorites/add",
    tag = "people",
    security(("access_token" = [])),
    responses(
        (status = 200, body = FavoriteAnswer),
        (status = 400, description = "favorite_of_oneself"),
        (status = 404, description = "listener_not_found"),
    )
)]
pub(super) async fn add_favorite(
    State(profile): State<ProfileClient>,
    current_user: CurrentUser,
    Json(ListenerBody { listener_id }): Json<ListenerBody>,
) -> Result<Json<FavoriteAnswer>> {
    let request = favorite_request(&current_user, listener_id);
    let answer = retry_idempotent(&profile, ProfileClient::add_favorite, request).await?;
    let message = "Listener added to favorites";
    Ok(FavoriteAnswer::new(
        message,
        listener_id,
        answer.is_favorited,
    ))
}

/// Remove a listener from the favourites.
///
/// Removing a listener again has no effect. The field may be sent as a query parameter instead of a body.
#[utoipa::path(
    delete,
    path = "/favorites/remove",
    tag = "people",
    security(("access_token" = [])),
    params(ListenerBody),
    request_body = Option<ListenerBody>,
    responses(
        (status = 200, body = FavoriteAnswer),
        (status = 404, description = "listener_not_found"),
    )
)]
pub(super) async fn remove_favorite(
    State(profile): State<ProfileClient>,
    current_user: CurrentUser,
    BodyOrQuery(ListenerBody { listener_id }): BodyOrQuery<ListenerBody>,
) -> Result<Json<FavoriteAnswer>> {
    let request = favorite_request(&current_user, listener_id);
    let answer = retry_idempotent(&profile, ProfileClient::remove_favorite, request).await?;
    let message = "Listener removed from favorites";
    Ok(FavoriteAnswer::new(
        message,
        listener_id,
        answer.is_favorited,
    ))
}

/// Check whether a listener is a favourite.
#[utoipa::path(
    get,
    path = "/favorites/check/{listener_id}",
    tag = "people",
    security(("access_token" = [])),
    responses(
        (status = 200, body = FavoriteAnswer),
        (status = 404, description = "listener_not_found"),
    )
)]
pub(super) async fn check_favorite(
    State(profile): State<ProfileClient>,
    current_user: CurrentUser,
    PathId(listener_id): PathId,
) -> Result<Json<FavoriteAnswer>> {
    let request = favorite_request(&current_user, listener_id);
    let answer = retry_idempotent(&profile, ProfileClient::check_favorite, request).await?;
    let message = if answer.is_favorited {
        "Listener is a favorite"
    } else {
        "Listener is not a favorite"
    };
    Ok(FavoriteAnswer::new(
        message,
        listener_id,
        answer.is_favorited,
    ))
}

fn favorite_request(current_user: &CurrentUser, listener_id: i64) -> FavoriteRequest {
    FavoriteRequest {
        user_id: current_user.user_id,
        listener_id,
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FavoriteListenersQuery {
    #[param(minimum = 1)]
    page: Option<i64>,
    #[param(minimum = 1, maximum = 100)]
    per_page: Option<i64>,
    /// List only favourites who are online. The counts refer to the filtered list.
    #[serde(default)]
    online_only: bool,
    /// List only favourites who are online, not busy and taking calls. The counts refer to the filtered list.
    #[serde(default)]
    available_only: bool,
}

#[derive(Serialize, ToSchema)]
pub(super) struct FavoritesAnswer {
    favorites: Vec<FavoriteEntry>,
    total_count: i64,
    online_count: i64,
    available_count: i64,
    #[serde(flatten)]
    pagination: Pagination,
    /// Whether statuses and counts are current. Otherwise they are the last known ones.
    has_current_statuses: bool,
}

impl FavoritesAnswer {
    fn new(
        list: ListFavoritesResponse,
        page: ClientPageRequest,
        presence: &PresenceHealth,
    ) -> Self {
        Self {
            favorites: list.favorites.into_iter().map(Into::into).collect(),
            total_count: list.total_count,
            online_count: list.online_count,
            available_count: list.available_count,
            pagination: page.with_total(list.total_count),
            has_current_statuses: presence.has_current_statuses(),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct FavoriteEntry {
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
    is_online: bool,
    is_busy: bool,
    /// The expected wait in minutes.
    wait_time: Option<i32>,
    last_seen: Option<DateTime<Utc>>,
    is_available: bool,
    favorited_at: Option<DateTime<Utc>>,
}

impl From<Favorite> for FavoriteEntry {
    fn from(favorite: Favorite) -> Self {
        let is_available = favorite.is_available();
        Self {
            user_id: favorite.user_id,
            username: favorite.username,
            sex: favorite.sex,
            bio: favorite.bio.unwrap_or_default(),
            interests: favorite.interests,
            profile_image_url: favorite.profile_image_url,
            preferred_language: favorite.preferred_language,
            country: favorite.country,
            rating: Hundredths::from_rating(favorite.rating_hundredths),
            is_online: favorite.is_online,
            is_busy: favorite.is_busy,
            wait_time: favorite.wait_time,
            last_seen: time(favorite.last_seen),
            is_available,
            favorited_at: time(favorite.favorited_at),
        }
    }
}

/// List the current user's favourites.
///
/// While the presence service is unavailable, the statuses are the last known ones and `has_current_statuses` is false.
#[utoipa::path(
    get,
    path = "/favorites",
    tag = "people",
    security(("access_token" = [])),
    params(FavoriteListenersQuery),
    responses((status = 200, body = FavoritesAnswer))
)]
pub(super) async fn list_favorites(
    State(profile): State<ProfileClient>,
    State(presence): State<PresenceHealth>,
    current_user: CurrentUser,
    Query(query): Query<FavoriteListenersQuery>,
) -> Result<Json<FavoritesAnswer>> {
    let page = ClientPageRequest::new(query.page, query.per_page)?;
    let request = ListFavoritesRequest {
        user_id: current_user.user_id,
        page: page.page,
        per_page: page.per_page,
        online_only: query.online_only,
        available_only: query.available_only,
    };
    let list = retry_idempotent(&profile, ProfileClient::list_favorites, request).await?;
    Ok(Json(FavoritesAnswer::new(list, page, &presence)))
}
