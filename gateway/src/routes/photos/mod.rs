//! Photos of users: upload, state and public content.

pub(super) mod admin;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use serde::Serialize;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::verification::v1::{
    CreatePhotoTicketRequest, DeletePhotosRequest, GetPhotosRequest, Photo, ReadPhotoRequest,
    SubmitPhotoRequest,
};
use utoipa::ToSchema;

use super::verification::{VerificationTicketAnswer, without_short_deadline};
use super::{Message, time};
use crate::clients::PhotoClient;
use crate::extract::Json;
use crate::openapi::values::PhotoStatus;
use crate::problem::Result;
use crate::token::CurrentUser;

/// An approved photo never changes, but it can be deleted; caches may show it for a day afterwards.
const PUBLIC_CACHE: &str = "public, max-age=86400, immutable";

#[derive(eserde::Deserialize, ToSchema)]
pub(super) struct PhotoTicketBody {
    #[schema(minimum = 1, maximum = 10_485_760)]
    length_bytes: i64,
    /// `image/jpeg`, `image/png` or `image/webp`. The upload must have the same.
    #[schema(example = "image/jpeg")]
    content_type: String,
}

/// Create a ticket for the upload of a photo.
///
/// The app uploads the file to `upload_url` with a PUT of exactly this length and type, and then submits it with
/// `/users/me/photo`.
#[utoipa::path(
    post,
    path = "/users/me/photo-ticket",
    tag = "people",
    security(("access_token" = [])),
    responses(
        (status = 200, body = VerificationTicketAnswer),
        (status = 400, description = "invalid_length_bytes, invalid_content_type"),
    )
)]
pub(super) async fn create_photo_ticket(
    State(mut photos): State<PhotoClient>,
    current_user: CurrentUser,
    Json(body): Json<PhotoTicketBody>,
) -> Result<Json<VerificationTicketAnswer>> {
    let request = CreatePhotoTicketRequest {
        user_id: current_user.user_id,
        length_bytes: body.length_bytes,
        content_type: body.content_type.clone(),
    };
    let ticket = photos.create_photo_ticket(request).await?.into_inner();
    Ok(Json(VerificationTicketAnswer::new(
        ticket,
        body.content_type,
        body.length_bytes,
    )))
}

#[derive(eserde::Deserialize, ToSchema)]
pub(super) struct PhotoBody {
    /// As the ticket was answered.
    upload_id: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct PhotoAnswer {
    photo_id: i64,
    #[schema(value_type = PhotoStatus)]
    status: String,
    /// While the photo is pending, an address that expires; once it is approved, its public address, which is
    /// the `profile_image_url` as well. Null after a rejection.
    image_url: Option<String>,
    submitted_at: Option<DateTime<Utc>>,
    reviewed_at: Option<DateTime<Utc>>,
    reviewer_notes: Option<String>,
}

impl From<Photo> for PhotoAnswer {
    fn from(photo: Photo) -> Self {
        Self {
            photo_id: photo.photo_id,
            status: photo.status,
            image_url: photo.image_url,
            submitted_at: time(photo.submitted_at),
            reviewed_at: time(photo.reviewed_at),
            reviewer_notes: photo.reviewer_notes,
        }
    }
}

/// Submit the photo that was uploaded with a ticket.
///
/// The photo is turned upright and reduced to at most 512 x 512 pixels, without any metadata such as the place. Other
/// users see it once an admin has approved it. It replaces a pending photo; an approved one is shown until then.
#[utoipa::path(
    post,
    path = "/users/me/photo",
    tag = "people",
    security(("access_token" = [])),
    responses(
        (status = 200, body = PhotoAnswer),
        (status = 400, description = "empty_photo, unsupported_photo, damaged_photo, invalid_photo_size"),
        (status = 404, description = "upload_not_found, user_not_found"),
        (status = 413, description = "photo_too_large"),
    )
)]
pub(super) async fn submit_photo(
    State(mut photos): State<PhotoClient>,
    current_user: CurrentUser,
    Json(body): Json<PhotoBody>,
) -> Result<Json<PhotoAnswer>> {
    let request = without_short_deadline(SubmitPhotoRequest {
        user_id: current_user.user_id,
        upload_id: body.upload_id,
    });
    let photo = photos.submit_photo(request).await?.into_inner();
    Ok(Json(photo.into()))
}

/// The newest photo of each status; null where there is none.
#[derive(Serialize, ToSchema)]
pub(super) struct OwnPhotosAnswer {
    approved: Option<PhotoAnswer>,
    pending: Option<PhotoAnswer>,
    rejected: Option<PhotoAnswer>,
}

/// Read the current user's photos and their reviews.
#[utoipa::path(
    get,
    path = "/users/me/photo",
    tag = "people",
    security(("access_token" = [])),
    responses((status = 200, body = OwnPhotosAnswer))
)]
pub(super) async fn read_own_photos(
    State(photos): State<PhotoClient>,
    current_user: CurrentUser,
) -> Result<Json<OwnPhotosAnswer>> {
    let user_id = current_user.user_id;
    let found = retry_idempotent(
        &photos,
        PhotoClient::get_photos,
        GetPhotosRequest { user_id },
    )
    .await?;
    let mut answer = OwnPhotosAnswer {
        approved: None,
        pending: None,
        rejected: None,
    };
    for photo in found.photos {
        match photo.status.as_str() {
            "approved" => answer.approved = Some(photo.into()),
            "pending" => answer.pending = Some(photo.into()),
            _ => answer.rejected = Some(photo.into()),
        }
    }
    Ok(Json(answer))
}

/// Delete all photos of the current user.
///
/// The profile has no image afterwards, unless it has one from elsewhere.
#[utoipa::path(
    delete,
    path = "/users/me/photo",
    tag = "people",
    security(("access_token" = [])),
    responses((status = 200, body = Message))
)]
pub(super) async fn delete_photos(
    State(photos): State<PhotoClient>,
    current_user: CurrentUser,
) -> Result<Json<Message>> {
    let user_id = current_user.user_id;
    retry_idempotent(
        &photos,
        PhotoClient::delete_photos,
        DeletePhotosRequest { user_id },
    )
    .await?;
    Ok(Json(Message::new("Your photos are deleted")))
}

/// Read the content of an approved photo.
///
/// This needs no token, so that image views and caches can fetch it. An address cannot be guessed.
#[utoipa::path(
    get,
    path = "/photos/{photo_key}",
    tag = "people",
    security(()),
    params(("photo_key" = String, Path, description = "As in `profile_image_url`.")),
    responses(
        (status = 200, body = String, content_type = "image/jpeg", description = "A JPEG of at most 512 x 512 pixels."),
        (status = 404, description = "photo_not_found"),
    )
)]
pub(super) async fn read_photo(
    State(photos): State<PhotoClient>,
    photo_key: Result<Path<String>, PathRejection>,
) -> Result<Response> {
    // A key that is no text is the key of no photo.
    let photo_key = photo_key.map_or_else(|_| String::new(), |Path(key)| key);
    let etag = format!("\"{photo_key}\"");
    let photo = retry_idempotent(
        &photos,
        PhotoClient::read_photo,
        ReadPhotoRequest { photo_key },
    )
    .await?;
    let headers = [
        (CONTENT_TYPE, "image/jpeg".to_owned()),
        (CACHE_CONTROL, PUBLIC_CACHE.to_owned()),
        (ETAG, etag),
    ];
    Ok((headers, photo.jpeg).into_response())
}
