//! Conversions between messages and the domain.

use std::collections::BTreeMap;

use talktime_proto::profile::v1 as pb;
use talktime_proto::timestamp;

use crate::domain::feed::{
    FeedFilter, FeedListener, FeedOrder, FeedPageQuery, FeedPageStart, FeedSortKey, decode_cursor,
    encode_cursor,
};
use crate::domain::{
    CallPermissionFacts, CallType, ListenerPreferences, ListenerPreferencesUpdate, ProfileError,
    PublicProfile, RegistrationRequest, Sex, User, UserProfileUpdate, UserRole, UserVisibility,
    fields,
};
use crate::feed::{FeedPage, FeedStatistics, ListenerProfilePage};

/// The language of a registration that names none (contract, section 2).
const LANGUAGE_DEFAULT: &str = "en";

pub(super) fn parse_registration(
    request: pb::CreateUserRequest,
) -> Result<RegistrationRequest, ProfileError> {
    let preferred_language = match request.preferred_language {
        language if language.is_empty() => LANGUAGE_DEFAULT.to_owned(),
        language => language,
    };
    Ok(RegistrationRequest {
        registration_id: request.registration_id,
        phone: request.phone,
        username: request.username,
        sex: Sex::parse(&request.sex)?,
        dob: request.dob.parse().map_err(|_| ProfileError::InvalidDob)?,
        role: UserRole::parse_registered(&request.role)?,
        bio: non_empty(normalize_optional(
            request.bio.as_deref(),
            fields::normalize_bio,
        )?),
        interests: fields::normalize_interests(&request.interests)?,
        profile_image_url: non_empty(request.profile_image_url),
        preferred_language,
        terms_version: non_empty(request.terms_version),
    })
}

pub(super) fn user_message(user: User) -> pb::User {
    pb::User {
        user_id: user.user_id,
        phone: user.phone,
        username: user.username,
        sex: user.sex,
        dob: user.dob.to_string(),
        bio: user.bio,
        interests: user.interests,
        profile_image_url: user.profile_image_url,
        preferred_language: user.preferred_language,
        rating_hundredths: user.rating_hundredths,
        country: user.country,
        roles: user.roles,
        terms_version: user.terms_version,
        terms_accepted_at: user.terms_accepted_at.map(timestamp),
        created_at: Some(timestamp(user.created_at)),
        updated_at: Some(timestamp(user.updated_at)),
    }
}

/// Drops an empty text, which means none (contract, section 11).
pub(super) fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Normalizes a text that may be absent. An empty text stays empty, because it means none.
pub(super) fn normalize_optional(
    text: Option<&str>,
    normalize: fn(&str) -> Result<String, ProfileError>,
) -> Result<Option<String>, ProfileError> {
    match text {
        Some("") => Ok(Some(String::new())),
        text => text.map(normalize).transpose(),
    }
}

pub(super) fn parse_user_update(
    request: pb::UpdateUserRequest,
) -> Result<(i64, UserProfileUpdate), ProfileError> {
    let interests = request
        .interests
        .map(|interests| fields::normalize_interests(&interests.values));
    let update = UserProfileUpdate {
        username: request.username,
        bio: normalize_optional(request.bio.as_deref(), fields::normalize_bio)?,
        interests: interests.transpose()?,
        profile_image_url: request.profile_image_url,
        preferred_language: request.preferred_language,
        country: normalize_optional(request.country.as_deref(), fields::normalize_country)?,
        rating_hundredths: request.rating_hundredths,
        terms_version: non_empty(request.terms_version),
    };
    Ok((request.user_id, update))
}

pub(super) fn call_check_message(check: CallPermissionFacts) -> pb::CallCheck {
    pb::CallCheck {
        listener_exists: check.listener_username.is_some(),
        is_listener: check.is_listener,
        blocked: check.is_blocked,
        caller_username: check.caller_username.unwrap_or_default(),
        listener_username: check.listener_username.unwrap_or_default(),
        verification_missing: check.is_verification_missing,
        audio_enabled: Some(check.audio_enabled),
        video_enabled: Some(check.video_enabled),
        caller_image_url: check.caller_image_url,
        listener_image_url: check.listener_image_url,
        caller_rating_hundredths: check.caller_rating_hundredths,
        listener_rating_hundredths: check.listener_rating_hundredths,
    }
}

pub(super) fn public_profile_message(profile: PublicProfile) -> pb::PublicProfile {
    pb::PublicProfile {
        user_id: profile.user_id,
        username: profile.username,
        profile_image_url: profile.profile_image_url,
        rating_hundredths: profile.rating_hundredths,
    }
}

pub(super) fn visibility_message(users: Vec<UserVisibility>) -> pb::FilterVisibleResponse {
    let (visible, acquaintances): (Vec<_>, Vec<_>) =
        users.into_iter().partition(|user| user.is_visible);
    let ids = |users: Vec<UserVisibility>| users.into_iter().map(|user| user.user_id).collect();
    pb::FilterVisibleResponse {
        visible_user_ids: ids(visible),
        acquaintance_user_ids: ids(acquaintances),
    }
}

pub(super) fn parse_preferences_update(
    request: pb::UpdateListenerPreferencesRequest,
) -> ListenerPreferencesUpdate {
    ListenerPreferencesUpdate {
        audio_enabled: request.audio_enabled,
        video_enabled: request.video_enabled,
    }
}

pub(super) fn preferences_message(preferences: ListenerPreferences) -> pb::ListenerPreferences {
    pb::ListenerPreferences {
        audio_enabled: preferences.audio_enabled,
        video_enabled: preferences.video_enabled,
    }
}

pub(super) fn parse_feed_query(
    request: pb::ListListenersRequest,
) -> Result<FeedPageQuery, ProfileError> {
    let order = FeedOrder {
        sort: parse_sort(request.sort_by)?,
        is_ascending: request.ascending,
    };
    let number = |value: i32| u32::try_from(value).map_err(|_| ProfileError::InvalidPage);
    let start = match &request.cursor {
        Some(cursor) => FeedPageStart::After(decode_cursor(order, cursor)?),
        None => FeedPageStart::Page(number(request.page)?),
    };
    let prefix = request.username_prefix.as_deref();
    let prefix = prefix.map(fields::normalize_username_prefix);
    let filter = FeedFilter {
        online_only: request.online_only,
        available_only: request.available_only,
        call_type: request
            .call_type
            .as_deref()
            .map(CallType::parse)
            .transpose()?,
        verified_only: false,
        sex: request.sex.as_deref().map(Sex::parse).transpose()?,
        min_rating_hundredths: request.min_rating_hundredths,
        max_rating_hundredths: request.max_rating_hundredths,
        interests: fields::normalize_interests(&request.interests)?,
        language: request.language,
        username_prefix: prefix.transpose()?.flatten(),
    };
    Ok(FeedPageQuery {
        viewer_id: request.viewer_id,
        filter,
        order,
        start,
        per_page: number(request.per_page)?,
    })
}

/// Parses the sort key; by default, listeners who can be called now come first.
fn parse_sort(sort_by: i32) -> Result<FeedSortKey, ProfileError> {
    match pb::ListenerSort::try_from(sort_by) {
        Ok(pb::ListenerSort::Unspecified | pb::ListenerSort::Online) => Ok(FeedSortKey::Online),
        Ok(pb::ListenerSort::Rating) => Ok(FeedSortKey::Rating),
        Ok(pb::ListenerSort::Recent) => Ok(FeedSortKey::Recent),
        Err(_) => Err(ProfileError::InvalidSort),
    }
}

pub(super) fn feed_page_message(order: FeedOrder, page: FeedPage) -> pb::ListListenersResponse {
    pb::ListListenersResponse {
        listeners: page.listeners.into_iter().map(listener_message).collect(),
        total_count: page.counts.total,
        online_count: page.counts.online,
        available_count: page.counts.available,
        next_cursor: page.next.map(|position| encode_cursor(order, position)),
    }
}

pub(super) fn listener_page_message(page: ListenerProfilePage) -> pb::ListenerPage {
    pb::ListenerPage {
        listener: Some(listener_message(page.listener)),
        is_favorited: page.is_favorited,
    }
}

pub(super) fn feed_stats_message(stats: &FeedStatistics) -> pb::GetFeedStatsResponse {
    let counted = |counts: &BTreeMap<String, i64>| counts.clone().into_iter().collect();
    let top = stats.top_interests.iter().cloned();
    pb::GetFeedStatsResponse {
        total_listeners: stats.total,
        online_listeners: stats.online,
        busy_listeners: stats.busy,
        available_listeners: stats.available,
        average_rating_hundredths: stats.average_rating_hundredths,
        top_interests: top
            .map(|(interest, count)| pb::InterestCount { interest, count })
            .collect(),
        sexes: counted(&stats.sexes),
        languages: counted(&stats.languages),
        counted_at: Some(timestamp(stats.counted_at)),
    }
}

fn listener_message(listener: FeedListener) -> pb::Listener {
    let avg_call_duration_secs = listener.avg_call_duration_secs();
    pb::Listener {
        user_id: listener.user_id,
        username: listener.username,
        sex: listener.sex,
        bio: listener.bio,
        interests: listener.interests,
        profile_image_url: listener.profile_image_url,
        preferred_language: listener.preferred_language,
        country: listener.country,
        rating_hundredths: listener.rating_hundredths,
        roles: listener.roles,
        is_online: listener.is_online,
        is_busy: listener.is_busy,
        wait_time: listener.wait_time,
        last_seen: listener.last_seen.map(timestamp),
        call_count: listener.call_count,
        avg_call_duration_secs,
        is_verified: listener.is_verified,
        accepting_calls: Some(listener.accepting_calls),
        audio_enabled: Some(listener.audio_enabled),
        video_enabled: Some(listener.video_enabled),
        answer_percent: listener.answer_percent,
    }
}
