//! Keys of objects in the bucket, and the tickets with which clients upload them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::AudioFormat;

/// Prefix of the keys of samples that have a row or are about to get one.
pub const SAMPLE_PREFIX: &str = "verification-audio/";
/// Prefix of the keys of objects that clients upload with tickets. These objects are never served.
pub const UPLOAD_PREFIX: &str = "verification-uploads/";

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

/// Permission to upload one object. Its id contains all of it, so a ticket needs no row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UploadTicket {
    pub unique: Uuid,
    /// The announced format.
    pub format: AudioFormat,
}

impl UploadTicket {
    /// Returns the id by which the client refers to the ticket.
    pub fn id(self) -> String {
        format!("{}.{}", self.unique.simple(), self.format.extension())
    }

    /// Parses an id; `None` unless [`Self::id`] writes it in exactly this form.
    pub fn parse(id: &str) -> Option<Self> {
        let (unique, extension) = id.split_once('.')?;
        let ticket = Self {
            unique: Uuid::try_parse(unique).ok()?,
            format: AudioFormat::from_extension(extension)?,
        };
        (ticket.id() == id).then_some(ticket)
    }

    /// Returns the key of the uploaded object. It contains the owner, so nobody confirms the upload of somebody
    /// else.
    pub fn key(self, user_id: i64) -> String {
        format!("{UPLOAD_PREFIX}{user_id}/{}", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_key_consists_of_owner_time_and_a_unique_part() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("valid");
        let key = build_sample_key(7, now, Uuid::nil(), AudioFormat::M4a);
        let unique = "0".repeat(32);
        assert_eq!(key, format!("verification-audio/7/1800000000_{unique}.m4a"));
    }

    #[test]
    fn only_ids_in_the_exact_form_are_parsed() {
        let ticket = UploadTicket {
            unique: Uuid::from_u128(0xAB),
            format: AudioFormat::Wav,
        };
        assert_eq!(UploadTicket::parse(&ticket.id()), Some(ticket));
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
            assert_eq!(UploadTicket::parse(&other), None, "{other}");
        }
    }
}
