//! Where a listener's verification stands (contract, section 8).

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::verification::v1::{
    GetVerificationStatusRequest, GetVerificationStatusResponse, Verification as Sample,
};

use super::time;
use crate::app::Verification;
use crate::extract::Json;
use crate::problem::Result;
use crate::token::Caller;

#[derive(Serialize)]
pub(super) struct StatusAnswer {
    user_id: i64,
    verification_status: String,
    is_verified: bool,
    verification_count: i64,
    current_verification: Option<SampleAnswer>,
    message: &'static str,
}

#[derive(Serialize)]
struct SampleAnswer {
    verification_id: i64,
    status: String,
    audio_url: String,
    submitted_at: Option<DateTime<Utc>>,
    reviewed_at: Option<DateTime<Utc>>,
    reviewer_notes: Option<String>,
}

impl From<Sample> for SampleAnswer {
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

impl From<GetVerificationStatusResponse> for StatusAnswer {
    fn from(answer: GetVerificationStatusResponse) -> Self {
        let message = match answer.verification_status.as_str() {
            "approved" => "You are verified",
            "pending" => "Your audio sample is waiting for its review",
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

pub(super) async fn status(
    State(verification): State<Verification>,
    caller: Caller,
) -> Result<Json<StatusAnswer>> {
    let user_id = caller.user_id;
    let answer = retry_idempotent(|| {
        let mut verification = verification.clone();
        let request = GetVerificationStatusRequest { user_id };
        async move { verification.get_verification_status(request).await }
    })
    .await?;
    Ok(Json(answer.into()))
}
