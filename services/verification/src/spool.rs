//! Where a sample lies while it is judged: a file without a name, of bounded size. Memory holds a
//! buffer of it, and a process that dies leaves nothing.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use talktime_kit::Error;
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::{AUDIO_BYTES_MAX, AudioKind, HEAD_BYTES, VerificationError};

const WRITE_BUFFER_BYTES: usize = 128 * 1024;

/// Room for a number of samples at once; cheap to clone.
#[derive(Clone)]
pub struct Spool {
    dir: PathBuf,
    places: Arc<Semaphore>,
}

impl Spool {
    /// Room for `places` samples in `dir`.
    pub fn new(dir: PathBuf, places: usize) -> Self {
        Self {
            dir,
            places: Arc::new(Semaphore::new(places)),
        }
    }

    /// A place for one sample; refused when all are taken.
    pub fn begin(&self) -> Result<Incoming, VerificationError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| VerificationError::Busy)?;
        let file = tempfile::tempfile_in(&self.dir).map_err(Error::internal)?;
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(WRITE_BUFFER_BYTES);
        Ok(Incoming {
            file,
            head: Vec::with_capacity(HEAD_BYTES),
            length_bytes: 0,
            kind: None,
            place,
        })
    }
}

/// A sample that is coming in.
#[derive(Debug)]
pub struct Incoming {
    file: tokio::fs::File,
    head: Vec<u8>,
    length_bytes: u64,
    kind: Option<AudioKind>,
    place: OwnedSemaphorePermit,
}

/// A sample that is there.
#[derive(Debug)]
pub struct Arrived {
    file: File,
    /// Its length.
    pub length_bytes: u64,
    /// What it begins like.
    pub kind: AudioKind,
    _place: OwnedSemaphorePermit,
}

impl Incoming {
    /// Takes more of it. Refuses as soon as it is too large, or begins like nothing that we take.
    pub async fn push(&mut self, chunk: &[u8]) -> Result<(), VerificationError> {
        self.length_bytes += u64::try_from(chunk.len()).expect("a chunk fits in memory");
        if self.length_bytes > AUDIO_BYTES_MAX {
            return Err(VerificationError::TooLarge);
        }
        if self.kind.is_none() {
            let missing = HEAD_BYTES - self.head.len();
            self.head.extend(chunk.iter().take(missing));
            if self.head.len() == HEAD_BYTES {
                self.kind = Some(kind_of(&self.head)?);
            }
        }
        self.file.write_all(chunk).await.map_err(Error::internal)?;
        Ok(())
    }

    /// The whole of it.
    pub async fn finish(mut self) -> Result<Arrived, VerificationError> {
        if self.length_bytes == 0 {
            return Err(VerificationError::Empty);
        }
        let kind = match self.kind {
            Some(kind) => kind,
            None => kind_of(&self.head)?,
        };
        self.file.flush().await.map_err(Error::internal)?;
        Ok(Arrived {
            file: self.file.into_std().await,
            length_bytes: self.length_bytes,
            kind,
            _place: self.place,
        })
    }
}

fn kind_of(head: &[u8]) -> Result<AudioKind, VerificationError> {
    AudioKind::of_head(head).ok_or(VerificationError::UnsupportedAudio)
}

impl Arrived {
    /// The file, from its beginning. Only one reader at a time: they share a position.
    pub fn reader(&self) -> Result<File, Error> {
        let mut file = self.file.try_clone().map_err(Error::internal)?;
        file.seek(SeekFrom::Start(0)).map_err(Error::internal)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn spool() -> Spool {
        Spool::new(std::env::temp_dir(), 1)
    }

    #[tokio::test]
    async fn what_went_in_comes_out() {
        let mut incoming = spool().begin().expect("a place");
        for chunk in [&b"RIFF"[..], b"\0\0\0", b"\0WAVEfmt ", b"more"] {
            incoming.push(chunk).await.expect("kept");
        }
        let arrived = incoming.finish().await.expect("whole");
        assert_eq!((arrived.kind, arrived.length_bytes), (AudioKind::Wav, 20));
        for _ in 0..2 {
            let mut bytes = Vec::new();
            let mut reader = arrived.reader().expect("a reader");
            reader.read_to_end(&mut bytes).expect("read");
            assert_eq!(bytes, b"RIFF\0\0\0\0WAVEfmt more");
        }
    }

    #[tokio::test]
    async fn the_first_byte_too_many_is_refused() {
        let mut incoming = spool().begin().expect("a place");
        let mib = vec![0xFF; 1024 * 1024];
        incoming
            .push(b"ID3\x04\0\0\0\0\0\0\0\0")
            .await
            .expect("head");
        let rest = usize::try_from(AUDIO_BYTES_MAX).expect("small") - 12;
        for chunk in vec![0; rest].chunks(mib.len()) {
            incoming.push(chunk).await.expect("kept");
        }
        let refused = incoming.push(&[0]).await;
        assert!(matches!(refused, Err(VerificationError::TooLarge)));
    }

    #[tokio::test]
    async fn what_is_no_audio_is_refused_at_its_head() {
        let mut incoming = spool().begin().expect("a place");
        let refused = incoming.push(b"PK\x03\x04 a zip and more").await;
        assert!(matches!(refused, Err(VerificationError::UnsupportedAudio)));
        drop(incoming);
        let spool = spool();
        let nothing = spool.begin().expect("a place").finish().await;
        assert!(matches!(nothing, Err(VerificationError::Empty)));
        let taken = spool.begin().expect("given back");
        assert!(matches!(spool.begin(), Err(VerificationError::Busy)));
        drop(taken);
        assert!(spool.begin().is_ok());
    }
}
