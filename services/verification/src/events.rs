//! Events that verification publishes.

use chrono::{DateTime, Utc};
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{
    DataExportReady, PhotoDeleted, PhotoReviewed, VerificationReviewed, VerificationRevoked,
    VerificationSubmitted,
};
use talktime_proto::timestamp;

use crate::domain::{AudioSample, ProfilePhoto};

/// Builds the event of a sample that waits for its review.
pub(crate) fn submitted_event(sample: &AudioSample) -> Kind {
    Kind::VerificationSubmitted(VerificationSubmitted {
        user_id: sample.user_id,
        verification_id: sample.verification_id,
    })
}

/// Builds the event of a reviewed sample. `is_verified` states whether its listener is verified now.
pub(crate) fn reviewed_event(sample: &AudioSample, is_verified: bool) -> Kind {
    Kind::VerificationReviewed(VerificationReviewed {
        user_id: sample.user_id,
        verification_id: sample.verification_id,
        status: sample.state.name().to_owned(),
        is_verified,
        reviewer_notes: sample.reviewer_notes.clone(),
    })
}

/// Builds the event of a revoked verification.
pub(crate) fn revoked_event(user_id: i64) -> Kind {
    Kind::VerificationRevoked(VerificationRevoked { user_id })
}

/// Builds the event of a reviewed photo. `image_url` is its address if it is public now or was until this review.
pub(crate) fn photo_reviewed_event(photo: &ProfilePhoto, image_url: Option<String>) -> Kind {
    Kind::PhotoReviewed(PhotoReviewed {
        user_id: photo.user_id,
        photo_id: photo.photo_id,
        status: photo.state.name().to_owned(),
        image_url,
        reviewer_notes: photo.reviewer_notes.clone(),
    })
}

/// Builds the event of an approved photo that its user has deleted.
pub(crate) fn photo_deleted_event(photo: &ProfilePhoto, image_url: String) -> Kind {
    Kind::PhotoDeleted(PhotoDeleted {
        user_id: photo.user_id,
        photo_id: photo.photo_id,
        image_url,
    })
}

/// Builds the event of an export that can be fetched until `expires_at`.
pub(crate) fn export_ready_event(user_id: i64, export_id: i64, expires_at: DateTime<Utc>) -> Kind {
    Kind::DataExportReady(DataExportReady {
        user_id,
        export_id,
        expires_at: Some(timestamp(expires_at)),
    })
}
