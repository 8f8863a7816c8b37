//! The types of calls that a listener takes.

use axum::extract::State;
use serde::Serialize;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::profile::v1::{
    GetListenerPreferencesRequest, ListenerPreferences, UpdateListenerPreferencesRequest,
};
use utoipa::ToSchema;

use crate::clients::ProfileClient;
use crate::extract::{Json, ListenerUser};
use crate::problem::Result;

/// The types of calls that a listener takes. At least one is enabled.
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

/// A field that is missing keeps its value.
#[derive(eserde::Deserialize, ToSchema)]
pub(super) struct PreferencesBody {
    #[serde(default)]
    audio_enabled: Option<bool>,
    #[serde(default)]
    video_enabled: Option<bool>,
}

/// Read the types of calls that the current listener takes.
///
/// Both types are enabled until the listener changes them.
#[utoipa::path(
    get,
    path = "/listeners/me/preferences",
    tag = "people",
    security(("access_token" = ["listener"])),
    responses((status = 200, body = PreferencesAnswer))
)]
pub(super) async fn read(
    State(profile): State<ProfileClient>,
    ListenerUser(current_user): ListenerUser,
) -> Result<Json<PreferencesAnswer>> {
    let request = GetListenerPreferencesRequest {
        user_id: current_user.user_id,
    };
    let found =
        retry_idempotent(&profile, ProfileClient::get_listener_preferences, request).await?;
    Ok(Json(found.into()))
}

/// Change the types of calls that the current listener takes.
///
/// At least one type must be enabled (`invalid_preferences`). The feed shows the enabled types, and calls of another type
/// are refused with `call_type_disabled`.
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
    State(mut profile): State<ProfileClient>,
    ListenerUser(current_user): ListenerUser,
    Json(body): Json<PreferencesBody>,
) -> Result<Json<PreferencesAnswer>> {
    let request = UpdateListenerPreferencesRequest {
        user_id: current_user.user_id,
        audio_enabled: body.audio_enabled,
        video_enabled: body.video_enabled,
    };
    let updated = profile.update_listener_preferences(request).await?;
    Ok(Json(updated.into_inner().into()))
}

/// Read the types of calls that the current listener takes.
///
/// This is an alias of `/listeners/me/preferences`, at the path of the original back end.
#[utoipa::path(
    get,
    path = "/listener/preferences",
    tag = "people",
    security(("access_token" = ["listener"])),
    responses((status = 200, body = PreferencesAnswer))
)]
pub(super) async fn read_alias(
    profile: State<ProfileClient>,
    listener: ListenerUser,
) -> Result<Json<PreferencesAnswer>> {
    read(profile, listener).await
}

/// Change the types of calls that the current listener takes.
///
/// This is an alias of `/listeners/me/preferences`, at the path of the original back end.
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
    profile: State<ProfileClient>,
    listener: ListenerUser,
    body: Json<PreferencesBody>,
) -> Result<Json<PreferencesAnswer>> {
    update(profile, listener, body).await
}
