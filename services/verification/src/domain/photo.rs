//! Photos of users: formats, limits and states.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{ReviewState, UploadFormat, VerificationError};

/// Prefix of the keys of photos that have a row or are about to get one.
pub const PHOTO_PREFIX: &str = "profile-photos/";
/// Path of approved photos at the gateway.
const PUBLIC_PATH: &str = "/photos/";
/// Largest width and height of a stored photo.
pub const STORED_PIXELS_MAX: u32 = 512;
/// Smallest width and height of an uploaded photo.
const SIDE_PIXELS_MIN: u32 = 64;
/// Largest width and height of an uploaded photo.
pub const SIDE_PIXELS_MAX: u32 = 8_192;
/// Largest number of pixels of an uploaded photo. Together with the memory limit of the rendering process, this
/// bounds what a small file can expand to.
const PIXELS_MAX: u64 = 16_777_216;

/// An accepted format of photos.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PhotoFormat {
    Jpeg,
    Png,
    Webp,
}

impl PhotoFormat {
    pub const ALL: [Self; 3] = [Self::Jpeg, Self::Png, Self::Webp];

    /// Finds the format of a media type.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        match content_type.to_ascii_lowercase().as_str() {
            "image/jpeg" | "image/jpg" => Some(Self::Jpeg),
            "image/png" => Some(Self::Png),
            "image/webp" => Some(Self::Webp),
            _ => None,
        }
    }
}

impl UploadFormat for PhotoFormat {
    const UPLOAD_PREFIX: &'static str = "photo-uploads/";
    const BYTES_MAX: u64 = 10 * 1024 * 1024;

    fn detect(head: &[u8]) -> Option<Self> {
        if head.starts_with(b"\xFF\xD8\xFF") {
            Some(Self::Jpeg)
        } else if head.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
            Some(Self::Webp)
        } else {
            None
        }
    }

    fn from_extension(extension: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|format| format.extension() == extension)
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::Webp => "webp",
        }
    }

    fn empty() -> VerificationError {
        VerificationError::EmptyPhoto
    }

    fn too_large() -> VerificationError {
        VerificationError::PhotoTooLarge
    }

    fn unsupported() -> VerificationError {
        VerificationError::UnsupportedPhoto
    }
}

/// Returns whether an uploaded photo may have these dimensions. They are known before anything is decoded.
pub fn has_accepted_dimensions(width: u32, height: u32) -> bool {
    let sides = SIDE_PIXELS_MIN..=SIDE_PIXELS_MAX;
    sides.contains(&width)
        && sides.contains(&height)
        && u64::from(width) * u64::from(height) <= PIXELS_MAX
}

/// A photo that a user has submitted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProfilePhoto {
    pub photo_id: i64,
    pub user_id: i64,
    pub photo_key: Uuid,
    pub state: ReviewState,
    pub submitted_at: DateTime<Utc>,
    pub reviewed_at: Option<DateTime<Utc>>,
    pub reviewer_id: Option<i64>,
    pub reviewer_notes: Option<String>,
}

impl ProfilePhoto {
    /// Returns the address of the approved photo at the gateway, whose own address is `gateway_url`.
    pub fn public_url(&self, gateway_url: &str) -> String {
        let base = gateway_url.trim_end_matches('/');
        format!("{base}{PUBLIC_PATH}{}", self.photo_key.simple())
    }

    /// Returns the key of the photo's object.
    pub fn object_key(&self) -> String {
        build_photo_key(self.user_id, self.photo_key)
    }
}

/// Builds the key of a photo's object.
pub fn build_photo_key(user_id: i64, photo_key: Uuid) -> String {
    format!("{PHOTO_PREFIX}{user_id}/{}.jpg", photo_key.simple())
}

/// Extracts the random part from a key that [`build_photo_key`] has built.
pub fn parse_photo_key(object_key: &str) -> Option<Uuid> {
    let (_, name) = object_key.strip_prefix(PHOTO_PREFIX)?.split_once('/')?;
    Uuid::try_parse(name.strip_suffix(".jpg")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_detected_by_their_first_bytes() {
        for (head, format) in [
            (
                &b"\xFF\xD8\xFF\xE1\0\x10Exif\0\0"[..],
                Some(PhotoFormat::Jpeg),
            ),
            (b"\x89PNG\r\n\x1a\n\0\0\0\x0D", Some(PhotoFormat::Png)),
            (b"RIFF\x24\0\0\0WEBP", Some(PhotoFormat::Webp)),
            (b"RIFF\x24\0\0\0WAVE", None),
            (b"GIF89a", None),
            (b"<svg xmlns=", None),
            (b"\xFF\xD8", None),
            (b"", None),
        ] {
            assert_eq!(PhotoFormat::detect(head), format, "{head:?}");
        }
    }

    #[test]
    fn dimensions_are_bounded_by_side_and_by_area() {
        for (width, height, is_accepted) in [
            (64, 64, true),
            (63, 500, false),
            (4_096, 4_096, true),
            (4_097, 4_096, false),
            (8_192, 2_048, true),
            (8_193, 100, false),
            (u32::MAX, u32::MAX, false),
        ] {
            let accepted = has_accepted_dimensions(width, height);
            assert_eq!(accepted, is_accepted, "{width}x{height}");
        }
    }

    #[test]
    fn a_photo_is_addressed_by_its_random_part_alone() {
        let photo_key = Uuid::from_u128(0xAB);
        let key = build_photo_key(7, photo_key);
        assert_eq!(key, format!("profile-photos/7/{}.jpg", photo_key.simple()));
        assert_eq!(parse_photo_key(&key), Some(photo_key));
        assert_eq!(parse_photo_key("verification-audio/7/1_ab.mp3"), None);
    }
}
