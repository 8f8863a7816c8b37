//! Converts between the wire and the domain.

use talktime_proto::timestamp;
use talktime_proto::verification::v1 as pb;

use crate::domain::{AudioSample, ListenerVerificationState, ReviewAction, VerificationError};
use crate::samples::review::SampleReviewRequest;
use crate::uploads::IssuedUploadTicket;

pub(super) fn verification_message(sample: AudioSample, audio_url: String) -> pb::Verification {
    pb::Verification {
        verification_id: sample.verification_id,
        status: sample.state.name().to_owned(),
        audio_url,
        submitted_at: Some(timestamp(sample.submitted_at)),
        reviewed_at: sample.reviewed_at.map(timestamp),
        reviewer_notes: sample.reviewer_notes,
        reviewer_id: sample.reviewer_id,
        description: sample.description,
    }
}

pub(super) fn ticket_message(ticket: IssuedUploadTicket) -> pb::UploadTicket {
    pb::UploadTicket {
        upload_id: ticket.upload_id,
        upload_url: ticket.upload_url,
        expires_at: Some(timestamp(ticket.expires_at)),
    }
}

pub(super) fn standing_message(standing: &ListenerVerificationState) -> pb::Standing {
    pb::Standing {
        user_id: standing.user_id,
        is_verified: standing.is_verified,
        version: standing.version,
    }
}

pub(super) fn parse_review(
    request: pb::ReviewRequest,
) -> Result<SampleReviewRequest, VerificationError> {
    Ok(SampleReviewRequest {
        reviewer_id: request.reviewer_id,
        verification_id: request.verification_id,
        action: ReviewAction::parse(&request.action)?,
        notes: request.reviewer_notes,
    })
}
