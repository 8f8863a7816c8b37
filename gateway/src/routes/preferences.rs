//! The types of calls that a listener takes.

use axum::extract::State;
use serde::Serialize;
use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::profile::v1::{
    GetListenerPreferencesRequest, ListenerPreferences, UpdateListenerPreferencesRequest,
};
use utoipa::ToSchema;

use crate::clients::ProfileClient;
use crate::extract::{Json, Listener};
use crate::problem::Result;

/// The types of calls that one takes; at least one of them.
#[derive(Serialize, ToSchema)]
pub(super) struct PreferencesAnswer {
    audio_enabled: bool,
    video_enabled: bool,
}

impl From<ListenerPreferences> for PreferencesAnswer {
    fn from(preferences: ListenerPreferences) -> Self {
        Self {
            audio_enabled: preferences.audio_enabled,
            video_enabled: preferences.video_enabled,
        }
    }
}

/// What is absent stays as it is.
#[derive(eserde::Deserialize, ToSchema)]
pub(super) struct PreferencesBody {
    #[serde(default)]
    audio_enabled: Option<bool>,
    #[serde(default)]
    video_enabled: Option<bool>,
}

/// The types of calls that one takes as a listener: both until one changes them.
#[utoipa::path(
    get,
    path = "/listeners/me/preferences",
    tag = "people",
    security(("access_token" = ["listener"])),
    responses((status = 200, body = PreferencesAnswer))
)]
pub(super) async fn read(
    State(profile): State<ProfileClient>,
    listener: Listener,
) -> Result<Json<PreferencesAnswer>> {
    Ok(Json(load_preferences(&profile, listener).await?))
}

/// Changes the types of calls that one takes. The feed shows them, and calls of another type are refused with
/// `call_type_disabled`.
#[utoipa::path(
    put,
    path = "/listeners/me/preferences",
    tag = "people",
    security(("access_token" = ["listener"])),
    responses(
        (status = 200, body = PreferencesAnswer),
        (status = 400, description = "invalid_preferences"),
    )
)]
pub(super) async fn update(
    State(profile): State<ProfileClient>,
    listener: Listener,
    Json(body): Json<PreferencesBody>,
) -> Result<Json<PreferencesAnswer>> {
    Ok(Json(update_preferences(profile, listener, body).await?))
}

/// The same as `/listeners/me/preferences`, at the path of the original back end.
#[utoipa::path(
    get,
    path = "/listener/preferences",
    tag = "people",
    security(("access_token" = ["listener"])),
    responses((status = 200, body = PreferencesAnswer))
)]
pub(super) async fn read_alias(
    State(profile): State<ProfileClient>,
    listener: Listener,
) -> Result<Json<PreferencesAnswer>> {
    Ok(Json(load_preferences(&profile, listener).await?))
}

/// The same as `/listeners/me/preferences`, at the path of the original back end.
#[utoipa::path(
    put,
    path = "/listener/preferences",
    tag = "people",
    security(("access_token" = ["listener"])),
    responses(
        (status = 200, body = PreferencesAnswer),
        (status = 400, description = "invalid_preferences"),
    )
)]
pub(super) async fn update_alias(
    State(profile): State<ProfileClient>,
    listener: Listener,
    Json(body): Json<PreferencesBody>,
) -> Result<Json<PreferencesAnswer>> {
    Ok(Json(update_preferences(profile, listener, body).await?))
}

async fn load_preferences(
    profile: &ProfileClient,
    Listener(caller): Listener,
) -> Result<PreferencesAnswer, Error> {
    let request = GetListenerPreferencesRequest {
        user_id: caller.user_id,
    };
    let found = retry_idempotent(|| {
        let mut profile = profile.clone();
        async move { profile.get_listener_preferences(request).await }
    })
    .await?;
    Ok(found.into())
}

async fn update_preferences(
    mut profile: ProfileClient,
    Listener(caller): Listener,
    body: PreferencesBody,
) -> Result<PreferencesAnswer, Error> {
    let request = UpdateListenerPreferencesRequest {
        user_id: caller.user_id,
        audio_enabled: body.audio_enabled,
        video_enabled: body.video_enabled,
    };
    let updated = profile.update_listener_preferences(request).await?;
    Ok(updated.into_inner().into())
}
