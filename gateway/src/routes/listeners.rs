//! The page of one listener.

use axum::extract::State;
use serde::Serialize;
use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::calls::v1::{GetListenerCardRequest, ListenerCard};
use talktime_proto::profile::v1::{GetListenerRequest, ListenerPage, ListenerPreferences};
use utoipa::ToSchema;

use super::feed::ListenerAnswer;
use super::preferences::PreferencesAnswer;
use crate::clients::{CallsClient, PresenceHealth, ProfileClient};
use crate::extract::{Json, PathId};
use crate::openapi::values::BadgeName;
use crate::problem::Result;
use crate::token::CurrentUser;

#[derive(Serialize, ToSchema)]
pub(super) struct ListenerPageAnswer {
    #[serde(flatten)]
    listener: ListenerAnswer,
    rating_count: i64,
    /// Numbers of the ratings with one star, two, three, four and five.
    #[schema(min_items = 5, max_items = 5)]
    rating_histogram: Vec<i64>,
    /// The badge of today.
    #[schema(value_type = BadgeName)]
    badge: String,
    rates: PageRates,
    preferences: PreferencesAnswer,
    is_favorited: bool,
    can_call: CallPermission,
    /// Whether the status is current; otherwise it is the last known one.
    has_current_statuses: bool,
}

/// Coins that a minute costs the caller.
#[derive(Serialize, ToSchema)]
struct PageRates {
    audio: i64,
    video: i64,
}

/// Whether the caller could start a call with the listener now.
#[derive(Serialize, ToSchema)]
struct CallPermission {
    ok: bool,
    /// The code with which `/calls/start` would answer the cheapest type of call that the listener takes; null if
    /// `ok`.
    #[schema(example = "listener_offline")]
    code: Option<String>,
}

impl ListenerPageAnswer {
    fn new(page: ListenerPage, card: ListenerCard, presence: &PresenceHealth) -> Option<Self> {
        let (audio, video) = (card.audio?, card.video?);
        let listener = page.listener?;
        let preferences = ListenerPreferences {
            audio_enabled: listener.audio_enabled.unwrap_or(true),
            video_enabled: listener.video_enabled.unwrap_or(true),
        };
        Some(Self {
            preferences: preferences.into(),
            listener: listener.into(),
            rating_count: card.ratings_by_stars.iter().sum(),
            rating_histogram: card.ratings_by_stars,
            badge: card.badge,
            rates: PageRates {
                audio: audio.coins_per_minute,
                video: video.coins_per_minute,
            },
            is_favorited: page.is_favorited,
            can_call: CallPermission {
                ok: card.refusal_code.is_none(),
                code: card.refusal_code,
            },
            has_current_statuses: presence.has_current_statuses(),
        })
    }
}

/// Read the page of a listener.
///
/// Users who are not listeners are not found, and neither are listeners who are blocked in either direction. `can_call`
/// predicts the answer of `/calls/start`, which decides.
#[utoipa::path(
    get,
    path = "/listeners/{user_id}",
    tag = "feed",
    security(("access_token" = [])),
    responses(
        (status = 200, body = ListenerPageAnswer),
        (status = 404, description = "listener_not_found"),
    )
)]
pub(super) async fn read_listener(
    State(profile): State<ProfileClient>,
    State(calls): State<CallsClient>,
    State(presence): State<PresenceHealth>,
    current_user: CurrentUser,
    PathId(listener_id): PathId,
) -> Result<Json<ListenerPageAnswer>> {
    let page = retry_idempotent(
        &profile,
        ProfileClient::get_listener,
        GetListenerRequest {
            viewer_id: current_user.user_id,
            listener_id,
        },
    );
    let card = retry_idempotent(
        &calls,
        CallsClient::get_listener_card,
        GetListenerCardRequest {
            caller_id: current_user.user_id,
            listener_id,
        },
    );
    // Calls may be unavailable: a listener who is not found must be answered all the same.
    let (page, card) = tokio::join!(page, card);
    let answer = ListenerPageAnswer::new(page?, card?, &presence);
    Ok(Json(answer.ok_or_else(|| {
        Error::internal("profile or calls answered without a listener")
    })?))
}
