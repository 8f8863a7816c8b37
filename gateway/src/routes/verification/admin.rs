//! The review of audio samples by admins.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::verification::v1::{
    ListPendingRequest, PendingVerification, ReviewRequest, RevokeRequest,
};
use utoipa::ToSchema;

use crate::clients::VerificationClient;
use crate::extract::{AdminUser, Json, Query};
use crate::paging::{ClientPageRequest, PageQuery};
use crate::problem::Result;
use crate::routes::time;

#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct VerificationPendingAnswer {
    pending_verifications: Vec<VerificationPendingEntry>,
    total_pending: i64,
    page: i32,
    per_page: i32,
    has_next: bool,
    has_previous: bool,
}

#[derive(Serialize, ToSchema)]
struct VerificationPendingEntry {
    verification_id: i64,
    user_id: i64,
    username: Option<String>,
    audio_url: String,
    submitted_at: Option<DateTime<Utc>>,
    description: Option<String>,
}

impl From<PendingVerification> for VerificationPendingEntry {
    fn from(pending: PendingVerification) -> Self {
        let sample = pending.verification.unwrap_or_default();
        Self {
            verification_id: sample.verification_id,
            user_id: pending.user_id,
            username: pending.username,
            audio_url: sample.audio_url,
            submitted_at: time(sample.submitted_at),
            description: sample.description,
        }
    }
}

/// List the audio samples that wait for a review, oldest first.
#[utoipa::path(
    get,
    path = "/admin/verification/pending",
    tag = "admin",
    security(("access_token" = ["admin"])),
    params(PageQuery),
    responses((status = 200, body = VerificationPendingAnswer))
)]
pub(in crate::routes) async fn list_pending_samples(
    State(verification): State<VerificationClient>,
    _admin: AdminUser,
    Query(query): Query<PageQuery>,
) -> Result<Json<VerificationPendingAnswer>> {
    let requested = query.page()?;
    let ClientPageRequest { page, per_page } = requested;
    let found = retry_idempotent(
        &verification,
        VerificationClient::list_pending,
        ListPendingRequest { page, per_page },
    )
    .await?;
    let pagination = requested.with_total(found.total_pending);
    Ok(Json(VerificationPendingAnswer {
        pending_verifications: found.pending.into_iter().map(Into::into).collect(),
        total_pending: pagination.total,
        page: pagination.page,
        per_page: pagination.per_page,
        has_next: pagination.has_next,
        has_previous: pagination.has_previous,
    }))
}

#[derive(eserde::Deserialize, ToSchema)]
pub(in crate::routes) struct VerificationReviewBody {
    verification_id: i64,
    /// `approve` or `reject`.
    #[schema(pattern = "^(approve|reject)$", example = "approve")]
    action: String,
    #[serde(default)]
    #[schema(max_length = 500)]
    reviewer_notes: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct VerificationReviewAnswer {
    verification_id: i64,
    status: String,
    reviewer_notes: Option<String>,
    reviewed_at: Option<DateTime<Utc>>,
    reviewer_id: Option<i64>,
    message: String,
}

/// Approve or reject an audio sample.
///
/// A decision is final (`already_reviewed`).
#[utoipa::path(
    post,
    path = "/admin/verification/review",
    tag = "admin",
    security(("access_token" = ["admin"])),
    responses(
        (status = 200, body = VerificationReviewAnswer),
        (status = 400, description = "invalid_action, text_too_long"),
        (status = 404, description = "verification_not_found"),
        (status = 409, description = "already_reviewed"),
    )
)]
pub(in crate::routes) async fn review_sample(
    State(mut verification): State<VerificationClient>,
    AdminUser(admin): AdminUser,
    Json(body): Json<VerificationReviewBody>,
) -> Result<Json<VerificationReviewAnswer>> {
    let request = ReviewRequest {
        reviewer_id: admin.user_id,
        verification_id: body.verification_id,
        action: body.action,
        reviewer_notes: body.reviewer_notes,
    };
    let sample = verification.review(request).await?.into_inner();
    Ok(Json(VerificationReviewAnswer {
        verification_id: sample.verification_id,
        message: format!("The verification is {}", sample.status),
        status: sample.status,
        reviewer_notes: sample.reviewer_notes,
        reviewed_at: time(sample.reviewed_at),
        reviewer_id: sample.reviewer_id,
    }))
}

#[derive(eserde::Deserialize, ToSchema)]
pub(in crate::routes) struct VerificationRevokeBody {
    user_id: i64,
    #[serde(default)]
    #[schema(max_length = 500)]
    reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct VerificationRevokeAnswer {
    user_id: i64,
    is_verified: bool,
    revoked_at: Option<DateTime<Utc>>,
    message: &'static str,
}

/// Revoke a listener's verification.
///
/// The listener may submit another audio sample.
#[utoipa::path(
    post,
    path = "/admin/verification/revoke",
    tag = "admin",
    security(("access_token" = ["admin"])),
    responses(
        (status = 200, body = VerificationRevokeAnswer),
        (status = 400, description = "text_too_long"),
        (status = 404, description = "user_not_found"),
        (status = 409, description = "not_verified"),
    )
)]
pub(in crate::routes) async fn revoke_verification(
    State(mut verification): State<VerificationClient>,
    AdminUser(admin): AdminUser,
    Json(body): Json<VerificationRevokeBody>,
) -> Result<Json<VerificationRevokeAnswer>> {
    let request = RevokeRequest {
        admin_id: admin.user_id,
        user_id: body.user_id,
        reason: body.reason,
    };
    let revoked = verification.revoke(request).await?.into_inner();
    Ok(Json(VerificationRevokeAnswer {
        user_id: body.user_id,
        is_verified: false,
        revoked_at: time(revoked.revoked_at),
        message: "The verification is revoked",
    }))
}
