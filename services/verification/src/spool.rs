//! Holds uploads while they are judged, in files without a name and of bounded size. Memory holds only a
//! buffer of each, and a process that dies leaves nothing behind.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use talktime_kit::Error;
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::{UploadFormat, VerificationError};

const WRITE_BUFFER_BYTES: usize = 128 * 1024;
/// Number of first bytes that identify the format of a file.
pub const HEAD_BYTES: usize = 12;

/// A directory with room for a number of concurrent uploads; cheap to clone.
#[derive(Clone)]
pub struct UploadSpool {
    dir: PathBuf,
    slots: Arc<Semaphore>,
}

impl UploadSpool {
    /// Returns a spool for `uploads_max` concurrent uploads in `dir`.
    pub fn new(dir: PathBuf, uploads_max: usize) -> Self {
        Self {
            dir,
            slots: Arc::new(Semaphore::new(uploads_max)),
        }
    }

    /// Begins an upload; refused while all slots are taken.
    pub fn begin_upload<F: UploadFormat>(&self) -> Result<UploadWriter<F>, VerificationError> {
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        let slot = slot.map_err(|_| VerificationError::Busy)?;
        let file = tempfile::tempfile_in(&self.dir).map_err(Error::internal)?;
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(WRITE_BUFFER_BYTES);
        Ok(UploadWriter {
            file,
            head: Vec::with_capacity(HEAD_BYTES),
            length_bytes: 0,
            format: None,
            slot,
        })
    }
}

/// Writes an upload to the spool.
#[derive(Debug)]
pub struct UploadWriter<F> {
    file: tokio::fs::File,
    head: Vec<u8>,
    length_bytes: u64,
    format: Option<F>,
    slot: OwnedSemaphorePermit,
}

/// A complete upload in the spool.
#[derive(Debug)]
pub struct SpooledUploadFile<F> {
    file: File,
    pub length_bytes: u64,
    /// The format that its first bytes indicate.
    pub format: F,
    _slot: OwnedSemaphorePermit,
}

impl<F: UploadFormat> UploadWriter<F> {
    /// Writes the next chunk. Refuses a file as soon as it is too large, or if its first bytes indicate none
    /// of the accepted formats.
    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), VerificationError> {
        self.length_bytes += u64::try_from(chunk.len()).expect("a chunk fits in memory");
        if self.length_bytes > F::BYTES_MAX {
            return Err(F::too_large());
        }
        if self.format.is_none() {
            let missing = HEAD_BYTES - self.head.len();
            self.head.extend(chunk.iter().take(missing));
            if self.head.len() == HEAD_BYTES {
                self.format = Some(detect_format(&self.head)?);
            }
        }
        self.file.write_all(chunk).await.map_err(Error::internal)?;
        Ok(())
    }

    /// Completes the upload.
    pub async fn finish(mut self) -> Result<SpooledUploadFile<F>, VerificationError> {
        if self.length_bytes == 0 {
            return Err(F::empty());
        }
        let format = match self.format {
            Some(format) => format,
            None => detect_format(&self.head)?,
        };
        self.file.flush().await.map_err(Error::internal)?;
        Ok(SpooledUploadFile {
            file: self.file.into_std().await,
            length_bytes: self.length_bytes,
            format,
            _slot: self.slot,
        })
    }
}

fn detect_format<F: UploadFormat>(head: &[u8]) -> Result<F, VerificationError> {
    F::detect(head).ok_or_else(F::unsupported)
}

impl<F> SpooledUploadFile<F> {
    /// Opens the file at its beginning. All handles share one position, so only one may be read at a time.
    pub fn open(&self) -> Result<File, Error> {
        let mut file = self.file.try_clone().map_err(Error::internal)?;
        file.seek(SeekFrom::Start(0)).map_err(Error::internal)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::domain::AudioFormat;

    fn spool() -> UploadSpool {
        UploadSpool::new(std::env::temp_dir(), 1)
    }

    fn begin_upload(spool: &UploadSpool) -> Result<UploadWriter<AudioFormat>, VerificationError> {
        spool.begin_upload()
    }

    #[tokio::test]
    async fn a_spooled_file_is_read_as_it_was_written() {
        let mut upload = begin_upload(&spool()).expect("a slot");
        for chunk in [&b"RIFF"[..], b"\0\0\0", b"\0WAVEfmt ", b"more"] {
            upload.write(chunk).await.expect("written");
        }
        let file = upload.finish().await.expect("complete");
        assert_eq!((file.format, file.length_bytes), (AudioFormat::Wav, 20));
        for _ in 0..2 {
            let mut bytes = Vec::new();
            let mut reader = file.open().expect("opened");
            reader.read_to_end(&mut bytes).expect("read");
            assert_eq!(bytes, b"RIFF\0\0\0\0WAVEfmt more");
        }
    }

    #[tokio::test]
    async fn the_first_byte_over_the_limit_is_refused() {
        let mut upload = begin_upload(&spool()).expect("a slot");
        let mib = 1024 * 1024;
        upload
            .write(b"ID3\x04\0\0\0\0\0\0\0\0")
            .await
            .expect("head");
        let rest = usize::try_from(AudioFormat::BYTES_MAX).expect("small") - 12;
        for chunk in vec![0; rest].chunks(mib) {
            upload.write(chunk).await.expect("written");
        }
        let refused = upload.write(&[0]).await;
        assert!(matches!(refused, Err(VerificationError::TooLarge)));
    }

    #[tokio::test]
    async fn an_unknown_format_is_refused_at_its_head() {
        let mut upload = begin_upload(&spool()).expect("a slot");
        let refused = upload.write(b"PK\x03\x04 a zip and more").await;
        assert!(matches!(refused, Err(VerificationError::UnsupportedAudio)));
    }

    #[tokio::test]
    async fn a_dropped_upload_frees_its_slot() {
        let spool = spool();
        let empty = begin_upload(&spool).expect("a slot").finish().await;
        assert!(matches!(empty, Err(VerificationError::Empty)));
        let upload = begin_upload(&spool).expect("a free slot");
        let refused = begin_upload(&spool);
        assert!(matches!(refused, Err(VerificationError::Busy)));
        drop(upload);
        assert!(begin_upload(&spool).is_ok());
    }
}
