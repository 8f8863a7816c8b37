//! Reviews of photos by admins.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::verification::v1::{
    ListPendingPhotosRequest, PendingPhoto, ReviewPhotoRequest,
};
use utoipa::ToSchema;

use crate::clients::PhotoClient;
use crate::extract::{AdminUser, Json, Query};
use crate::openapi::values::PhotoStatus;
use crate::paging::{ClientPageRequest, PageQuery};
use crate::problem::Result;
use crate::routes::time;

#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct PendingPhotosAnswer {
    pending_photos: Vec<PendingPhotoEntry>,
    total_pending: i64,
    page: i32,
    per_page: i32,
    has_next: bool,
    has_previous: bool,
}

#[derive(Serialize, ToSchema)]
struct PendingPhotoEntry {
    photo_id: i64,
    user_id: i64,
    username: Option<String>,
    /// An address that expires.
    image_url: Option<String>,
    submitted_at: Option<DateTime<Utc>>,
}

impl From<PendingPhoto> for PendingPhotoEntry {
    fn from(pending: PendingPhoto) -> Self {
        let photo = pending.photo.unwrap_or_default();
        Self {
            photo_id: photo.photo_id,
            user_id: photo.user_id,
            username: pending.username,
            image_url: photo.image_url,
            submitted_at: time(photo.submitted_at),
        }
    }
}

/// List the photos that wait for a review, oldest first.
#[utoipa::path(
    get,
    path = "/admin/photos/pending",
    tag = "admin",
    security(("access_token" = ["admin"])),
    params(PageQuery),
    responses((status = 200, body = PendingPhotosAnswer))
)]
pub(in crate::routes) async fn list_pending_photos(
    State(photos): State<PhotoClient>,
    _admin: AdminUser,
    Query(query): Query<PageQuery>,
) -> Result<Json<PendingPhotosAnswer>> {
    let requested = query.page()?;
    let ClientPageRequest { page, per_page } = requested;
    let found = retry_idempotent(
        &photos,
        PhotoClient::list_pending_photos,
        ListPendingPhotosRequest { page, per_page },
    )
    .await?;
    let pagination = requested.with_total(found.total_pending);
    Ok(Json(PendingPhotosAnswer {
        pending_photos: found.pending.into_iter().map(Into::into).collect(),
        total_pending: pagination.total,
        page: pagination.page,
        per_page: pagination.per_page,
        has_next: pagination.has_next,
        has_previous: pagination.has_previous,
    }))
}

#[derive(eserde::Deserialize, ToSchema)]
pub(in crate::routes) struct PhotoReviewBody {
    photo_id: i64,
    /// `approve` or `reject`.
    #[schema(pattern = "^(approve|reject)$", example = "approve")]
    action: String,
    /// The user reads them.
    #[serde(default)]
    #[schema(max_length = 500)]
    reviewer_notes: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct PhotoReviewAnswer {
    photo_id: i64,
    user_id: i64,
    #[schema(value_type = PhotoStatus)]
    status: String,
    image_url: Option<String>,
    reviewer_id: Option<i64>,
    reviewer_notes: Option<String>,
    reviewed_at: Option<DateTime<Utc>>,
}

/// Approve or reject a photo.
///
/// An approved photo can still be rejected. A rejected photo is shown to nobody any more.
#[utoipa::path(
    post,
    path = "/admin/photos/review",
    tag = "admin",
    security(("access_token" = ["admin"])),
    responses(
        (status = 200, body = PhotoReviewAnswer),
        (status = 400, description = "invalid_action, text_too_long, invalid_text"),
        (status = 404, description = "photo_not_found"),
        (status = 409, description = "already_reviewed"),
    )
)]
pub(in crate::routes) async fn review_photo(
    State(mut photos): State<PhotoClient>,
    AdminUser(admin): AdminUser,
    Json(body): Json<PhotoReviewBody>,
) -> Result<Json<PhotoReviewAnswer>> {
    let request = ReviewPhotoRequest {
        reviewer_id: admin.user_id,
        photo_id: body.photo_id,
        action: body.action,
        reviewer_notes: body.reviewer_notes,
    };
    let photo = photos.review_photo(request).await?.into_inner();
    Ok(Json(PhotoReviewAnswer {
        photo_id: photo.photo_id,
        user_id: photo.user_id,
        status: photo.status,
        image_url: photo.image_url,
        reviewer_id: photo.reviewer_id,
        reviewer_notes: photo.reviewer_notes,
        reviewed_at: time(photo.reviewed_at),
    }))
}
