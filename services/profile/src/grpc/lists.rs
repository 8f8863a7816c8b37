//! Conversions of favourites and blocks between messages and the domain.

use talktime_proto::profile::v1 as pb;
use talktime_proto::timestamp;
use tonic::Response;

use crate::blocks::BlockedUserPage;
use crate::domain::{BlockedUser, FavoriteListener, FavoriteListenerFilter};
use crate::favorites::FavoriteListenerPage;

pub(super) fn favorite_response(is_favorited: bool) -> Response<pb::FavoriteResponse> {
    Response::new(pb::FavoriteResponse { is_favorited })
}

pub(super) fn block_response(action_type: Option<&str>) -> Response<pb::BlockResponse> {
    Response::new(pb::BlockResponse {
        is_blocked: action_type.is_some(),
        action_type: action_type.unwrap_or_default().to_owned(),
    })
}

pub(super) fn parse_favorites_filter(request: &pb::ListFavoritesRequest) -> FavoriteListenerFilter {
    FavoriteListenerFilter {
        online_only: request.online_only,
        available_only: request.available_only,
    }
}

pub(super) fn favorites_message(page: FavoriteListenerPage) -> pb::ListFavoritesResponse {
    pb::ListFavoritesResponse {
        favorites: page.favorites.into_iter().map(favorite_message).collect(),
        total_count: page.counts.total,
        online_count: page.counts.online,
        available_count: page.counts.available,
    }
}

fn favorite_message(favorite: FavoriteListener) -> pb::Favorite {
    pb::Favorite {
        user_id: favorite.user_id,
        username: favorite.username,
        sex: favorite.sex,
        bio: favorite.bio,
        interests: favorite.interests,
        profile_image_url: favorite.profile_image_url,
        preferred_language: favorite.preferred_language,
        country: favorite.country,
        rating_hundredths: favorite.rating_hundredths,
        is_online: favorite.is_online,
        is_busy: favorite.is_busy,
        wait_time: favorite.wait_time,
        last_seen: favorite.last_seen.map(timestamp),
        favorited_at: Some(timestamp(favorite.favorited_at)),
        accepting_calls: Some(favorite.accepting_calls),
    }
}

pub(super) fn blocked_message(page: BlockedUserPage) -> pb::ListBlockedResponse {
    pb::ListBlockedResponse {
        blocked_users: page.blocked.into_iter().map(blocked_user_message).collect(),
        total_count: page.total,
    }
}

fn blocked_user_message(blocked: BlockedUser) -> pb::BlockedUser {
    pb::BlockedUser {
        user_id: blocked.user_id,
        username: blocked.username,
        sex: blocked.sex,
        bio: blocked.bio,
        profile_image_url: blocked.profile_image_url,
        action_type: blocked.action_type,
        reason: blocked.reason,
        blocked_at: Some(timestamp(blocked.blocked_at)),
    }
}
