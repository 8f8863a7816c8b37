//! Formats and limits of audio samples.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{UploadFormat, VerificationError};

/// Shortest duration of a sample.
const DURATION_MIN: Duration = Duration::from_secs(30);
/// Longest duration of a sample, as its sender hears it.
const DURATION_MAX: Duration = Duration::from_mins(5);
/// Longest padding that encoders add before and after the audio. It counts as audio in the file.
const ENCODER_PADDING_MAX: Duration = Duration::from_secs(1);
/// Prefix of the keys of samples that have a row or are about to get one.
pub const SAMPLE_PREFIX: &str = "verification-audio/";

/// An accepted format of samples.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AudioFormat {
    /// MPEG layer III.
    Mp3,
    /// PCM in RIFF.
    Wav,
    /// AAC in MP4.
    M4a,
    /// AAC in ADTS.
    Aac,
}

impl AudioFormat {
    pub const ALL: [Self; 4] = [Self::Mp3, Self::Wav, Self::M4a, Self::Aac];

    /// Returns the registered media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Wav => "audio/wav",
            Self::M4a => "audio/mp4",
            Self::Aac => "audio/aac",
        }
    }

    /// Finds the format of a media type: a registered name or an alias that phones and browsers send.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        match content_type.to_ascii_lowercase().as_str() {
            "audio/mpeg" | "audio/mp3" | "audio/x-mp3" | "audio/x-mpeg" | "audio/mpeg3" => {
                Some(Self::Mp3)
            }
            "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/x-pn-wav" | "audio/vnd.wave" => {
                Some(Self::Wav)
            }
            "audio/mp4" | "audio/m4a" | "audio/x-m4a" | "audio/x-mp4" | "audio/mp4a-latm" => {
                Some(Self::M4a)
            }
            "audio/aac" | "audio/x-aac" | "audio/aacp" | "audio/x-hx-aac-adts" => Some(Self::Aac),
            _ => None,
        }
    }

    /// Returns the longest duration of a file of this format.
    pub fn duration_max(self) -> Duration {
        match self {
            Self::Wav => DURATION_MAX,
            Self::Mp3 | Self::M4a | Self::Aac => DURATION_MAX + ENCODER_PADDING_MAX,
        }
    }
}

impl UploadFormat for AudioFormat {
    const UPLOAD_PREFIX: &'static str = "verification-uploads/";
    /// Contract, section 8.
    const BYTES_MAX: u64 = 10 * 1024 * 1024;

    fn detect(head: &[u8]) -> Option<Self> {
        match head {
            [b'I', b'D', b'3', ..] => Some(Self::Mp3),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'A',
                b'V',
                b'E',
                ..,
            ] => Some(Self::Wav),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some(Self::M4a),
            // Twelve bits of synchronisation, one of version, then two of layer: none in ADTS.
            [0xFF, second, ..] if second & 0xF6 == 0xF0 => Some(Self::Aac),
            // Eleven bits of synchronisation; layer III is 01.
            [0xFF, second, ..] if second & 0xE6 == 0xE2 => Some(Self::Mp3),
            _ => None,
        }
    }

    fn from_extension(extension: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.extension() == extension)
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Wav => "wav",
            Self::M4a => "m4a",
            Self::Aac => "aac",
        }
    }

    fn empty() -> VerificationError {
        VerificationError::Empty
    }

    fn too_large() -> VerificationError {
        VerificationError::TooLarge
    }

    fn unsupported() -> VerificationError {
        VerificationError::UnsupportedAudio
    }
}

/// Refuses a sample that is too short or too long.
pub fn check_duration(kind: AudioFormat, duration: Duration) -> Result<(), VerificationError> {
    if (DURATION_MIN..=kind.duration_max()).contains(&duration) {
        Ok(())
    } else {
        Err(VerificationError::WrongDuration)
    }
}

/// Builds the key of a sample (contract, section 8). It contains nothing that the client has chosen.
pub fn build_sample_key(
    user_id: i64,
    now: DateTime<Utc>,
    unique: Uuid,
    format: AudioFormat,
) -> String {
    let (timestamp, unique) = (now.timestamp(), unique.simple());
    let extension = format.extension();
    format!("{SAMPLE_PREFIX}{user_id}/{timestamp}_{unique}.{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_detected_by_their_first_bytes() {
        for (head, kind) in [
            (&b"ID3\x04\0\0\0\0\0\0\0\0"[..], Some(AudioFormat::Mp3)),
            (b"\xFF\xFB\x90\x64", Some(AudioFormat::Mp3)),
            (b"\xFF\xF3\x40\xC0", Some(AudioFormat::Mp3)),
            (b"\xFF\xF1\x50\x80", Some(AudioFormat::Aac)),
            (b"\xFF\xF9\x50\x80", Some(AudioFormat::Aac)),
            (b"RIFF\x24\0\0\0WAVE", Some(AudioFormat::Wav)),
            (b"\0\0\0\x18ftypM4A ", Some(AudioFormat::M4a)),
            (b"RIFF\x24\0\0\0AVI ", None),
            (b"\x89PNG\r\n\x1a\n", None),
            (b"PK\x03\x04", None),
            (b"<html><body>", None),
            (b"\xFF\xD8\xFF\xE0", None),
            (b"\xFF", None),
            (b"", None),
        ] {
            assert_eq!(AudioFormat::detect(head), kind, "{head:?}");
        }
    }

    #[test]
    fn durations_of_half_a_minute_to_five_minutes_are_accepted() {
        for kind in AudioFormat::ALL {
            let is_accepted = |millis| check_duration(kind, Duration::from_millis(millis)).is_ok();
            assert!(!is_accepted(29_999) && is_accepted(30_000) && is_accepted(300_000));
            assert_eq!(is_accepted(300_001), kind != AudioFormat::Wav, "{kind:?}");
            assert_eq!(is_accepted(301_000), kind != AudioFormat::Wav, "{kind:?}");
            assert!(!is_accepted(301_001));
        }
    }

    #[test]
    fn media_types_have_aliases() {
        for kind in AudioFormat::ALL {
            assert_eq!(
                AudioFormat::from_content_type(kind.content_type()),
                Some(kind)
            );
        }
        for (alias, kind) in [
            ("audio/x-m4a", Some(AudioFormat::M4a)),
            ("audio/x-wav", Some(AudioFormat::Wav)),
            ("audio/mp3", Some(AudioFormat::Mp3)),
            ("Audio/MP3", Some(AudioFormat::Mp3)),
            ("audio/ogg", None),
            ("video/mp4", None),
            ("audio/wav\r\nx: y", None),
            ("", None),
        ] {
            assert_eq!(AudioFormat::from_content_type(alias), kind, "{alias}");
        }
    }

    #[test]
    fn a_sample_key_consists_of_owner_time_and_a_unique_part() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("valid");
        let key = build_sample_key(7, now, Uuid::nil(), AudioFormat::M4a);
        let unique = "0".repeat(32);
        assert_eq!(key, format!("verification-audio/7/1800000000_{unique}.m4a"));
    }
}
