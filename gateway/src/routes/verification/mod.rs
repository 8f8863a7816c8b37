//! Audio samples of listeners (contract, section 8).

pub(super) mod admin;
pub(super) mod upload;

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_kit::grpc::time_left;
use talktime_proto::verification::v1::{
    ConfirmUploadRequest, CreateUploadTicketRequest, GetVerificationHistoryRequest,
    GetVerificationHistoryResponse, GetVerificationStatusRequest, GetVerificationStatusResponse,
    SubmitAudioUrlRequest, UploadTicket, Verification as Sample,
};
use tonic::Request;
use utoipa::ToSchema;

use super::time;
use crate::clients::VerificationClient;
use crate::extract::Json;
use crate::problem::Result;
use crate::token::CurrentUser;

#[derive(Serialize, ToSchema)]
pub(super) struct VerificationStatusAnswer {
    user_id: i64,
    verification_status: String,
    is_verified: bool,
    verification_count: i64,
    current_verification: Option<VerificationSampleAnswer>,
    message: &'static str,
}

/// A sample that was just submitted.
#[derive(Serialize, ToSchema)]
pub(super) struct VerificationSubmittedAnswer {
    verification_id: i64,
    status: String,
    audio_url: String,
    uploaded_at: Option<DateTime<Utc>>,
    message: &'static str,
}

impl From<Sample> for VerificationSubmittedAnswer {
    fn from(sample: Sample) -> Self {
        Self {
            verification_id: sample.verification_id,
            status: sample.status,
            audio_url: sample.audio_url,
            uploaded_at: time(sample.submitted_at),
            message: "Your audio sample is waiting for its review",
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct VerificationHistoryAnswer {
    verifications: Vec<VerificationHistoryEntry>,
    total_count: i64,
    approved_count: i64,
    rejected_count: i64,
}

#[derive(Serialize, ToSchema)]
struct VerificationHistoryEntry {
    #[serde(flatten)]
    sample: VerificationSampleAnswer,
    reviewer_id: Option<i64>,
    description: Option<String>,
}

impl From<Sample> for VerificationHistoryEntry {
    fn from(mut sample: Sample) -> Self {
        Self {
            reviewer_id: sample.reviewer_id,
            description: sample.description.take(),
            sample: sample.into(),
        }
    }
}

impl From<GetVerificationHistoryResponse> for VerificationHistoryAnswer {
    fn from(answer: GetVerificationHistoryResponse) -> Self {
        Self {
            verifications: answer.verifications.into_iter().map(Into::into).collect(),
            total_count: answer.total_count,
            approved_count: answer.approved_count,
            rejected_count: answer.rejected_count,
        }
    }
}

#[derive(Serialize, ToSchema)]
struct VerificationSampleAnswer {
    verification_id: i64,
    status: String,
    audio_url: String,
    submitted_at: Option<DateTime<Utc>>,
    reviewed_at: Option<DateTime<Utc>>,
    reviewer_notes: Option<String>,
}

impl From<Sample> for VerificationSampleAnswer {
    fn from(sample: Sample) -> Self {
        Self {
            verification_id: sample.verification_id,
            status: sample.status,
            audio_url: sample.audio_url,
            submitted_at: time(sample.submitted_at),
            reviewed_at: time(sample.reviewed_at),
            reviewer_notes: sample.reviewer_notes,
        }
    }
}

impl From<GetVerificationStatusResponse> for VerificationStatusAnswer {
    fn from(answer: GetVerificationStatusResponse) -> Self {
        let message = match answer.verification_status.as_str() {
            "approved" => "You are verified",
            "pending" => "Your audio sample is waiting for its review",
            "revoked" => "Your verification was revoked; you may send another audio sample",
            "rejected" => "Your audio sample was rejected; you may send another",
            _ => "You have not sent an audio sample yet",
        };
        Self {
            user_id: answer.user_id,
            verification_status: answer.verification_status,
            is_verified: answer.is_verified,
            verification_count: answer.verification_count,
            current_verification: answer.current.map(Into::into),
            message,
        }
    }
}

/// Read the current listener's verification.
#[utoipa::path(
    get,
    path = "/verification/status",
    tag = "verification",
    security(("access_token" = ["listener"])),
    responses(
        (status = 200, body = VerificationStatusAnswer),
        (status = 404, description = "user_not_found"),
    )
)]
pub(super) async fn read_verification(
    State(verification): State<VerificationClient>,
    current_user: CurrentUser,
) -> Result<Json<VerificationStatusAnswer>> {
    let user_id = current_user.user_id;
    let answer = retry_idempotent(
        &verification,
        VerificationClient::get_verification_status,
        GetVerificationStatusRequest { user_id },
    )
    .await?;
    Ok(Json(answer.into()))
}

/// List all audio samples of the current listener.
#[utoipa::path(
    get,
    path = "/verification/history",
    tag = "verification",
    security(("access_token" = ["listener"])),
    responses(
        (status = 200, body = VerificationHistoryAnswer),
        (status = 404, description = "user_not_found"),
    )
)]
pub(super) async fn list_samples(
    State(verification): State<VerificationClient>,
    current_user: CurrentUser,
) -> Result<Json<VerificationHistoryAnswer>> {
    let user_id = current_user.user_id;
    let answer = retry_idempotent(
        &verification,
        VerificationClient::get_verification_history,
        GetVerificationHistoryRequest { user_id },
    )
    .await?;
    Ok(Json(answer.into()))
}

#[derive(eserde::Deserialize, ToSchema)]
pub(super) struct VerificationUrlBody {
    /// The address of the sample, on a host that the operator allows.
    #[schema(example = "https://samples.example.com/asha.mp3")]
    audio_url: String,
    #[serde(default)]
    #[schema(max_length = 500)]
    description: Option<String>,
}

/// Submit an audio sample by its address.
///
/// The host must be one that the operator allows (`audio_host_not_allowed`).
#[utoipa::path(
    post,
    path = "/verification/upload-audio-url",
    tag = "verification",
    security(("access_token" = ["listener"])),
    responses(
        (status = 200, body = VerificationSubmittedAnswer),
        (status = 400, description = "invalid_audio_url, audio_host_not_allowed, text_too_long"),
        (status = 404, description = "user_not_found"),
        (status = 409, description = "verification_pending"),
    )
)]
pub(super) async fn submit_audio_url(
    State(mut verification): State<VerificationClient>,
    current_user: CurrentUser,
    Json(body): Json<VerificationUrlBody>,
) -> Result<Json<VerificationSubmittedAnswer>> {
    let request = SubmitAudioUrlRequest {
        user_id: current_user.user_id,
        audio_url: body.audio_url,
        description: body.description,
    };
    let sample = verification.submit_audio_url(request).await?;
    Ok(Json(sample.into_inner().into()))
}

#[derive(eserde::Deserialize, ToSchema)]
pub(super) struct VerificationTicketBody {
    /// The size of the file in bytes, at most 10 MB.
    #[schema(minimum = 1, maximum = 10_485_760)]
    length_bytes: i64,
    /// `audio/mpeg`, `audio/wav`, `audio/mp4`, `audio/aac`, or an alias that phones send, such as `audio/x-m4a`,
    /// `audio/x-wav` and `audio/mp3`. The upload must have the same type.
    #[schema(example = "audio/mpeg")]
    content_type: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct VerificationTicketAnswer {
    upload_id: String,
    upload_url: String,
    method: &'static str,
    content_type: String,
    length_bytes: i64,
    expires_at: Option<DateTime<Utc>>,
}

impl VerificationTicketAnswer {
    pub(super) fn new(ticket: UploadTicket, content_type: String, length_bytes: i64) -> Self {
        Self {
            upload_id: ticket.upload_id,
            upload_url: ticket.upload_url,
            method: "PUT",
            content_type,
            length_bytes,
            expires_at: time(ticket.expires_at),
        }
    }
}

/// Create a ticket for the upload of an audio sample.
///
/// The app uploads the file to `upload_url` and then confirms it with `/verification/confirm`.
#[utoipa::path(
    post,
    path = "/verification/upload-ticket",
    tag = "verification",
    security(("access_token" = ["listener"])),
    responses(
        (status = 200, body = VerificationTicketAnswer),
        (status = 400, description = "invalid_length_bytes, invalid_content_type"),
        (status = 404, description = "user_not_found"),
        (status = 409, description = "verification_pending"),
    )
)]
pub(super) async fn create_upload_ticket(
    State(mut verification): State<VerificationClient>,
    current_user: CurrentUser,
    Json(body): Json<VerificationTicketBody>,
) -> Result<Json<VerificationTicketAnswer>> {
    let request = CreateUploadTicketRequest {
        user_id: current_user.user_id,
        length_bytes: body.length_bytes,
        content_type: body.content_type.clone(),
    };
    let ticket = verification.create_upload_ticket(request).await?;
    let ticket = ticket.into_inner();
    Ok(Json(VerificationTicketAnswer::new(
        ticket,
        body.content_type,
        body.length_bytes,
    )))
}

#[derive(eserde::Deserialize, ToSchema)]
pub(super) struct VerificationConfirmBody {
    upload_id: String,
    #[serde(default)]
    #[schema(max_length = 500)]
    description: Option<String>,
}

/// Submit the audio sample that was uploaded with a ticket.
///
/// A sample lasts from 30 seconds to 5 minutes (`invalid_audio_duration`) and has at most 10 MB (`audio_too_large`).
#[utoipa::path(
    post,
    path = "/verification/confirm",
    tag = "verification",
    security(("access_token" = ["listener"])),
    responses(
        (status = 200, body = VerificationSubmittedAnswer),
        (status = 400, description = "empty_audio, unsupported_audio, damaged_audio, invalid_audio_duration, text_too_long"),
        (status = 404, description = "upload_not_found, user_not_found"),
        (status = 409, description = "verification_pending"),
        (status = 413, description = "audio_too_large"),
    )
)]
pub(super) async fn confirm_upload(
    State(mut verification): State<VerificationClient>,
    current_user: CurrentUser,
    Json(body): Json<VerificationConfirmBody>,
) -> Result<Json<VerificationSubmittedAnswer>> {
    let request = without_short_deadline(ConfirmUploadRequest {
        user_id: current_user.user_id,
        upload_id: body.upload_id,
        description: body.description,
    });
    let sample = verification.confirm_upload(request).await?;
    Ok(Json(sample.into_inner().into()))
}

/// Creates a request that may take all the remaining time of the client's request, because it transfers a file.
pub(super) fn without_short_deadline<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(left) = time_left() {
        request.set_timeout(left);
    }
    request
}
