//! Tickets with which clients upload files to the bucket, for any kind of file.

use uuid::Uuid;

use super::VerificationError;

/// A set of file formats that clients upload.
pub trait UploadFormat: Copy + Eq {
    /// Prefix of the keys of uploads. Objects under it are never served.
    const UPLOAD_PREFIX: &'static str;
    /// Largest length of a file, bytes.
    const BYTES_MAX: u64;

    /// Detects the format by the first bytes of a file. Whether the rest of the file matches is checked by
    /// [`crate::probe`].
    fn detect(head: &[u8]) -> Option<Self>;

    /// Finds the format with a file name extension.
    fn from_extension(extension: &str) -> Option<Self>;

    /// Returns the file name extension.
    fn extension(self) -> &'static str;

    /// The refusal of a file without content.
    fn empty() -> VerificationError;

    /// The refusal of a file that is longer than [`Self::BYTES_MAX`].
    fn too_large() -> VerificationError;

    /// The refusal of a file in another format.
    fn unsupported() -> VerificationError;
}

/// Permission to upload one object. Its id contains all of it, so a ticket needs no row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UploadTicket<F> {
    pub unique: Uuid,
    /// The announced format.
    pub format: F,
}

impl<F: UploadFormat> UploadTicket<F> {
    /// Returns the id by which the client refers to the ticket.
    pub fn id(self) -> String {
        format!("{}.{}", self.unique.simple(), self.format.extension())
    }

    /// Parses an id; `None` unless [`Self::id`] writes it in exactly this form.
    pub fn parse(id: &str) -> Option<Self> {
        let (unique, extension) = id.split_once('.')?;
        let ticket = Self {
            unique: Uuid::try_parse(unique).ok()?,
            format: F::from_extension(extension)?,
        };
        (ticket.id() == id).then_some(ticket)
    }

    /// Returns the key of the uploaded object. It contains the owner, so nobody confirms the upload of somebody
    /// else.
    pub fn key(self, user_id: i64) -> String {
        let prefix = F::UPLOAD_PREFIX;
        format!("{prefix}{user_id}/{}", self.id())
    }
}

/// Checks the length that a client announces for an upload.
pub fn check_upload_length<F: UploadFormat>(length_bytes: i64) -> Result<(), VerificationError> {
    let is_accepted =
        u64::try_from(length_bytes).is_ok_and(|bytes| (1..=F::BYTES_MAX).contains(&bytes));
    if is_accepted {
        Ok(())
    } else {
        Err(VerificationError::InvalidLength)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AudioFormat, PhotoFormat};
    use super::*;

    #[test]
    fn only_ids_in_the_exact_form_are_parsed() {
        let ticket = UploadTicket {
            unique: Uuid::from_u128(0xAB),
            format: AudioFormat::Wav,
        };
        assert_eq!(UploadTicket::parse(&ticket.id()), Some(ticket));
        let id = ticket.id();
        for other in [
            String::new(),
            id.to_uppercase(),
            format!("../8/{id}"),
            format!("{id}.wav"),
            id.replace("wav", "exe"),
            id.replace("wav", "png"),
            Uuid::from_u128(0xAB).to_string() + ".wav",
        ] {
            let parsed = UploadTicket::<AudioFormat>::parse(&other);
            assert_eq!(parsed, None, "{other}");
        }
    }

    #[test]
    fn uploads_of_different_kinds_have_different_prefixes() {
        let unique = Uuid::from_u128(0xAB);
        let format = AudioFormat::Wav;
        let sample = UploadTicket { unique, format }.key(7);
        assert!(sample.starts_with("verification-uploads/7/"), "{sample}");
        let format = PhotoFormat::Png;
        let photo = UploadTicket { unique, format }.key(7);
        assert!(photo.starts_with("photo-uploads/7/"), "{photo}");
    }
}
