//! Events that verification publishes.

use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{
    VerificationReviewed, VerificationRevoked, VerificationSubmitted,
};

use crate::domain::AudioSample;

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
