//! What an audio sample may be, and where it is kept.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::VerificationError;

/// Bytes of a sample, at most (contract, section 8: 10 MB).
pub const AUDIO_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// A sample lasts so long at least.
const DURATION_MIN: Duration = Duration::from_secs(30);
/// A sample lasts so long at most, as its sender hears it.
const DURATION_MAX: Duration = Duration::from_mins(5);
/// What encoders put before and after the audio, at most, which counts as audio in the file.
const ENCODER_PADDING_MAX: Duration = Duration::from_secs(1);
/// Samples that have a row, or are about to get one.
pub const AUDIO_PREFIX: &str = "verification-audio/";
/// What clients put under tickets. Nothing here is ever handed out.
pub const UPLOAD_PREFIX: &str = "verification-uploads/";
/// So many first bytes tell the format.
pub const HEAD_BYTES: usize = 12;

/// A format that samples come in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AudioKind {
    /// MPEG layer III.
    Mp3,
    /// PCM in RIFF.
    Wav,
    /// AAC in MP4.
    M4a,
    /// AAC in ADTS.
    Aac,
}

impl AudioKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Mp3, Self::Wav, Self::M4a, Self::Aac];

    /// The format that a file begins like. Only the whole file shows whether it is one: see
    /// [`crate::probe`].
    pub fn of_head(head: &[u8]) -> Option<Self> {
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

    /// The end of its files' names.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Wav => "wav",
            Self::M4a => "m4a",
            Self::Aac => "aac",
        }
    }

    /// The format whose files' names end so.
    pub fn of_extension(extension: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.extension() == extension)
    }

    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Wav => "audio/wav",
            Self::M4a => "audio/mp4",
            Self::Aac => "audio/aac",
        }
    }

    /// The format of a media type, by its registered name or one that phones and browsers send.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
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

    /// The longest duration that a file of this format may have.
    pub fn duration_max(self) -> Duration {
        match self {
            Self::Wav => DURATION_MAX,
            Self::Mp3 | Self::M4a | Self::Aac => DURATION_MAX + ENCODER_PADDING_MAX,
        }
    }
}

/// Refuses a sample that is too short or too long.
pub fn check_duration(kind: AudioKind, duration: Duration) -> Result<(), VerificationError> {
    if (DURATION_MIN..=kind.duration_max()).contains(&duration) {
        Ok(())
    } else {
        Err(VerificationError::WrongDuration)
    }
}

/// The key of a sample (contract, section 8). Nothing in it is the client's.
pub fn audio_key(user_id: i64, now: DateTime<Utc>, unique: Uuid, kind: AudioKind) -> String {
    let (timestamp, unique) = (now.timestamp(), unique.simple());
    let extension = kind.extension();
    format!("{AUDIO_PREFIX}{user_id}/{timestamp}_{unique}.{extension}")
}

/// Permission to put one object. Its id says everything, so it needs no row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ticket {
    /// Its unique part.
    pub unique: Uuid,
    /// What was announced.
    pub kind: AudioKind,
}

impl Ticket {
    /// What the client calls it.
    pub fn id(self) -> String {
        format!("{}.{}", self.unique.simple(), self.kind.extension())
    }

    /// Reads what a client says; what we cannot have written is the id of nothing.
    pub fn parse(id: &str) -> Option<Self> {
        let (unique, extension) = id.split_once('.')?;
        let ticket = Self {
            unique: Uuid::try_parse(unique).ok()?,
            kind: AudioKind::of_extension(extension)?,
        };
        (ticket.id() == id).then_some(ticket)
    }

    /// Where the client puts the object. The owner is part of it: nobody confirms another's.
    pub fn key(self, user_id: i64) -> String {
        format!("{UPLOAD_PREFIX}{user_id}/{}", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        for (head, kind) in [
            (&b"ID3\x04\0\0\0\0\0\0\0\0"[..], Some(AudioKind::Mp3)),
            (b"\xFF\xFB\x90\x64", Some(AudioKind::Mp3)),
            (b"\xFF\xF3\x40\xC0", Some(AudioKind::Mp3)),
            (b"\xFF\xF1\x50\x80", Some(AudioKind::Aac)),
            (b"\xFF\xF9\x50\x80", Some(AudioKind::Aac)),
            (b"RIFF\x24\0\0\0WAVE", Some(AudioKind::Wav)),
            (b"\0\0\0\x18ftypM4A ", Some(AudioKind::M4a)),
            (b"RIFF\x24\0\0\0AVI ", None),
            (b"\x89PNG\r\n\x1a\n", None),
            (b"PK\x03\x04", None),
            (b"<html><body>", None),
            (b"\xFF\xD8\xFF\xE0", None),
            (b"\xFF", None),
            (b"", None),
        ] {
            assert_eq!(AudioKind::of_head(head), kind, "{head:?}");
        }
    }

    #[test]
    fn a_sample_lasts_half_a_minute_to_five() {
        for kind in AudioKind::ALL {
            let is_fine = |millis| check_duration(kind, Duration::from_millis(millis)).is_ok();
            assert!(!is_fine(29_999) && is_fine(30_000) && is_fine(300_000));
            assert_eq!(is_fine(300_001), kind != AudioKind::Wav, "{kind:?}");
            assert_eq!(is_fine(301_000), kind != AudioKind::Wav, "{kind:?}");
            assert!(!is_fine(301_001));
        }
    }

    #[test]
    fn media_types_have_aliases() {
        for kind in AudioKind::ALL {
            assert_eq!(AudioKind::of_content_type(kind.content_type()), Some(kind));
        }
        for (alias, kind) in [
            ("audio/x-m4a", Some(AudioKind::M4a)),
            ("audio/x-wav", Some(AudioKind::Wav)),
            ("audio/mp3", Some(AudioKind::Mp3)),
            ("Audio/MP3", Some(AudioKind::Mp3)),
            ("audio/ogg", None),
            ("video/mp4", None),
            ("audio/wav\r\nx: y", None),
            ("", None),
        ] {
            assert_eq!(AudioKind::of_content_type(alias), kind, "{alias}");
        }
    }

    #[test]
    fn a_key_is_made_of_what_we_know() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("valid");
        let key = audio_key(7, now, Uuid::nil(), AudioKind::M4a);
        let unique = "0".repeat(32);
        assert_eq!(key, format!("verification-audio/7/1800000000_{unique}.m4a"));
    }

    #[test]
    fn only_our_own_ids_are_tickets() {
        let ticket = Ticket {
            unique: Uuid::from_u128(0xAB),
            kind: AudioKind::Wav,
        };
        assert_eq!(Ticket::parse(&ticket.id()), Some(ticket));
        assert!(ticket.key(7).starts_with("verification-uploads/7/"));
        let id = ticket.id();
        for other in [
            String::new(),
            id.to_uppercase(),
            format!("../8/{id}"),
            format!("{id}.wav"),
            id.replace("wav", "exe"),
            Uuid::from_u128(0xAB).to_string() + ".wav",
        ] {
            assert_eq!(Ticket::parse(&other), None, "{other}");
        }
    }
}
