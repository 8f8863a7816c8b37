//! Rules for samples, photos and reviews, without I/O.

mod audio_address;
mod audio_format;
mod data_export;
mod error;
mod photo;
mod review;
mod sample;
mod upload_ticket;

use talktime_kit::text;

pub use audio_address::normalize_address;
pub use audio_format::{AudioFormat, SAMPLE_PREFIX, build_sample_key, check_duration};
pub use data_export::{DataExport, DataExportState, EXPORT_PREFIX, KEPT_FOR, parse_archive_key};
pub use error::VerificationError;
pub use photo::{
    PHOTO_PREFIX, PhotoFormat, ProfilePhoto, SIDE_PIXELS_MAX, STORED_PIXELS_MAX, build_photo_key,
    has_accepted_dimensions, parse_photo_key,
};
pub use review::{ReviewAction, ReviewState};
pub use sample::{
    AudioLocation, AudioSample, ListenerVerification, ListenerVerificationState, SampleCounts,
};
pub use upload_ticket::{UploadFormat, UploadTicket, check_upload_length};

/// Longest description or note of a reviewer, characters.
pub const TEXT_CHARS_MAX: usize = 500;

/// Normalizes a description or the notes of a reviewer; an empty text becomes `None`. `field` is its name on
/// the wire.
pub fn normalize_text(
    field: &'static str,
    text: Option<String>,
) -> Result<Option<String>, VerificationError> {
    text.filter(|text| !text.trim().is_empty())
        .map(|text| text::normalize_paragraphs(&text, TEXT_CHARS_MAX))
        .transpose()
        .map_err(|error| VerificationError::InvalidText { field, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_text_is_answered_with_the_reason() {
        let normalize = |text: &str| normalize_text("description", Some(text.to_owned()));
        assert_eq!(normalize(" \n").expect("none"), None);
        assert_eq!(
            normalize("मेरी\nआवाज़").expect("text").as_deref(),
            Some("मेरी\nआवाज\u{93C}")
        );
        for (text, code, reason) in [
            ("x".repeat(501), "text_too_long", "at most 500 characters"),
            ("nul\0".to_owned(), "invalid_text", "control characters"),
            ("\u{202E}eciov".to_owned(), "invalid_text", "direction"),
        ] {
            let refused = talktime_kit::Error::from(normalize(&text).expect_err("refused"));
            assert_eq!(refused.code(), code);
            assert!(refused.detail().contains(reason), "{}", refused.detail());
        }
    }
}
