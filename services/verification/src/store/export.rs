//! Sections of a user's export.

use talktime_kit::export::UserExportSection;

/// The admin who decided is not the user's data.
pub const SECTIONS: &[UserExportSection] = &[
    UserExportSection {
        name: "audio_samples",
        query: "SELECT verification_id, jsonb_build_object('verification_id', verification_id,
                    'status', status, 'description', description, 'submitted_at', submitted_at,
                    'reviewed_at', reviewed_at, 'reviewer_notes', reviewer_notes)
                FROM verification.listener_verifications
                WHERE user_id = $1 AND verification_id > $2
                ORDER BY verification_id LIMIT $3",
    },
    UserExportSection {
        name: "photos",
        query: "SELECT photo_id, jsonb_build_object('photo_id', photo_id, 'status', status,
                    'submitted_at', submitted_at, 'reviewed_at', reviewed_at,
                    'reviewer_notes', reviewer_notes)
                FROM verification.profile_photos WHERE user_id = $1 AND photo_id > $2
                ORDER BY photo_id LIMIT $3",
    },
];
