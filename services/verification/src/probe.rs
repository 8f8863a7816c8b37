//! Whether a file is the audio it begins like, and how long it lasts.
//!
//! Headers are claims, and a hostile header may ask for more memory than there is, or for a walk
//! without end. So a file is probed in a process of its own (`talktime-verification probe`), which
//! has little memory, little time and nothing in its environment. Where it dies, the file was bad.

mod adts;
mod packets;
mod wav;

use std::fs::File;
use std::io::{stdin, stdout};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};
use talktime_kit::Error;
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::domain::{AudioKind, VerificationError, check_duration};

/// Address space of the probing process, bytes: its program, the demuxer and some air.
const MEMORY_BYTES_MAX: u64 = 256 * 1024 * 1024;
const CPU_SECS_MAX: u64 = 5;
/// Wall time of the probing process, its start included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the probing process found.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// It plays, so many milliseconds.
    Plays { duration_ms: u64 },
    /// It begins as audio and does not go on.
    Damaged,
    /// Its container is one of ours, its codec is not.
    Unsupported,
}

/// Why a file has no duration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ProbeError {
    /// It begins as audio and does not go on.
    Damaged,
    /// It has another codec, or more than one track.
    Unsupported,
}

impl From<std::io::Error> for ProbeError {
    fn from(_: std::io::Error) -> Self {
        Self::Damaged
    }
}

/// Probes files, a few at a time; cheap to clone.
#[derive(Clone)]
pub struct Prober {
    program: PathBuf,
    places: Arc<Semaphore>,
}

impl Prober {
    /// Runs `program probe …`, at most `at_once` of them.
    pub fn new(program: PathBuf, at_once: usize) -> Self {
        Self {
            program,
            places: Arc::new(Semaphore::new(at_once)),
        }
    }

    /// Refuses a file that is not wholly of this format, or too short or too long. The file is read
    /// from where it stands.
    pub async fn check(&self, kind: AudioKind, file: File) -> Result<(), VerificationError> {
        let _place = self.places.acquire().await.map_err(Error::internal)?;
        match self.verdict(kind, file).await? {
            Verdict::Plays { duration_ms } => {
                check_duration(kind, Duration::from_millis(duration_ms))
            }
            Verdict::Damaged => Err(VerificationError::DamagedAudio),
            Verdict::Unsupported => Err(VerificationError::UnsupportedAudio),
        }
    }

    async fn verdict(&self, kind: AudioKind, file: File) -> Result<Verdict, Error> {
        let child = Command::new(&self.program)
            .args(["probe", kind.extension()])
            .env_clear()
            .stdin(Stdio::from(file))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::internal)?;
        let output = match tokio::time::timeout(TIMEOUT, child.wait_with_output()).await {
            Ok(output) => output.map_err(Error::internal)?,
            Err(_elapsed) => return Ok(Verdict::Damaged),
        };
        // Killed by a limit: the file asked for it.
        if !output.status.success() {
            tracing::warn!(kind = kind.extension(), status = %output.status, "a probe died");
            return Ok(Verdict::Damaged);
        }
        serde_json::from_slice(&output.stdout).map_err(Error::internal)
    }
}

/// The command `probe`: judges the file on standard input, under limits.
pub fn run(kind: &str) -> anyhow::Result<()> {
    let kind = AudioKind::of_extension(kind);
    let kind = kind.ok_or_else(|| anyhow::anyhow!("not a format of ours"))?;
    setrlimit(Resource::RLIMIT_AS, MEMORY_BYTES_MAX, MEMORY_BYTES_MAX)?;
    setrlimit(Resource::RLIMIT_CPU, CPU_SECS_MAX, CPU_SECS_MAX)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let file = File::from(stdin().as_fd().try_clone_to_owned()?);
    serde_json::to_writer(stdout(), &judge(kind, file))?;
    Ok(())
}

fn judge(kind: AudioKind, file: File) -> Verdict {
    let duration = match kind {
        AudioKind::Wav => wav::measure(file),
        AudioKind::Aac => adts::measure(file),
        AudioKind::Mp3 | AudioKind::M4a => packets::measure(kind, file),
    };
    match duration {
        Ok(duration) => Verdict::Plays {
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        },
        Err(ProbeError::Damaged) => Verdict::Damaged,
        Err(ProbeError::Unsupported) => Verdict::Unsupported,
    }
}

/// How long so many ticks last, of which `per_sec` make a second.
fn ticks_as_duration(ticks: u64, per_sec: u32) -> Duration {
    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(per_sec.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The length of an `ID3v2` tag with its header and footer, bytes, where a file goes on with this one
/// (`ID3v2.4.0`, 3.1 and 3.4).
fn id3_tag_length(head: &[u8]) -> Option<u64> {
    let [b'I', b'D', b'3', _, _, flags, size @ ..] = head else {
        return None;
    };
    let size: &[u8; 4] = size.first_chunk()?;
    let is_size = size.iter().all(|byte| *byte < 0x80);
    let content = size.iter().fold(0, |sum, byte| sum << 7 | u64::from(*byte));
    let footer = if flags & 0x10 == 0 { 0 } else { 10 };
    is_size.then_some(10 + content + footer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_skipped_by_their_length() {
        assert_eq!(id3_tag_length(b"ID3\x04\0\0\0\0\x02\x01...."), Some(267));
        assert_eq!(id3_tag_length(b"ID3\x04\0\x10\0\0\0\x01"), Some(21));
        for other in [
            &b"ID3\x04\0\0\0\0\0\x80"[..],
            b"ID3\x04\0\0\0\0\0",
            b"TAG",
            b"",
        ] {
            assert_eq!(id3_tag_length(other), None, "{other:?}");
        }
    }
}
