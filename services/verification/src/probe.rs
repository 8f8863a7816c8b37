//! Checks that a file is audio of the format that its first bytes indicate, and measures its duration.
//!
//! A hostile header may request more memory than there is, or an endless loop. A file is therefore judged in a
//! separate process (`talktime-verification probe`) with little memory, little time and an empty environment.
//! If this process dies, the file counts as damaged.

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

use crate::domain::{AudioFormat, VerificationError, check_duration};

/// Address space of the probing process, bytes: the program, the demuxer and a reserve.
const MEMORY_BYTES_MAX: u64 = 256 * 1024 * 1024;
const CPU_SECS_MAX: u64 = 5;
/// Wall time of the probing process, including its start.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The result of the probing process.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum ProbeVerdict {
    Plays {
        duration_ms: u64,
    },
    /// The file cannot be played to its end.
    Damaged,
    /// The container is accepted, the codec is not.
    Unsupported,
}

/// The reason why a file has no duration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ProbeError {
    /// The file cannot be played to its end.
    Damaged,
    /// The codec is not accepted, or there is more than one track.
    Unsupported,
}

impl From<std::io::Error> for ProbeError {
    fn from(_: std::io::Error) -> Self {
        Self::Damaged
    }
}

/// Starts probing processes, a limited number at a time; cheap to clone.
#[derive(Clone)]
pub struct AudioProbe {
    program: PathBuf,
    slots: Arc<Semaphore>,
}

impl AudioProbe {
    /// Returns a probe that runs `program probe …`, in at most `at_once` concurrent processes.
    pub fn new(program: PathBuf, at_once: usize) -> Self {
        Self {
            program,
            slots: Arc::new(Semaphore::new(at_once)),
        }
    }

    /// Refuses a file that is not entirely of this format, or that is too short or too long. The file is read
    /// from its current position.
    pub async fn check(&self, format: AudioFormat, file: File) -> Result<(), VerificationError> {
        let _slot = self.slots.acquire().await.map_err(Error::internal)?;
        match self.run_process(format, file).await? {
            ProbeVerdict::Plays { duration_ms } => {
                check_duration(format, Duration::from_millis(duration_ms))
            }
            ProbeVerdict::Damaged => Err(VerificationError::DamagedAudio),
            ProbeVerdict::Unsupported => Err(VerificationError::UnsupportedAudio),
        }
    }

    async fn run_process(&self, format: AudioFormat, file: File) -> Result<ProbeVerdict, Error> {
        let child = Command::new(&self.program)
            .args(["probe", format.extension()])
            .env_clear()
            .stdin(Stdio::from(file))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::internal)?;
        let output = match tokio::time::timeout(TIMEOUT, child.wait_with_output()).await {
            Ok(output) => output.map_err(Error::internal)?,
            Err(_elapsed) => return Ok(ProbeVerdict::Damaged),
        };
        // A process that a limit has killed was given a hostile file.
        if !output.status.success() {
            tracing::warn!(
                format = format.extension(),
                status = %output.status,
                "failed to probe an upload; the upload is refused as damaged"
            );
            return Ok(ProbeVerdict::Damaged);
        }
        serde_json::from_slice(&output.stdout).map_err(Error::internal)
    }
}

/// Runs the command `probe`: judges the file on standard input within the limits of the process.
pub fn run(extension: &str) -> anyhow::Result<()> {
    let format = AudioFormat::from_extension(extension);
    let format = format.ok_or_else(|| anyhow::anyhow!("unknown format {extension}"))?;
    setrlimit(Resource::RLIMIT_AS, MEMORY_BYTES_MAX, MEMORY_BYTES_MAX)?;
    setrlimit(Resource::RLIMIT_CPU, CPU_SECS_MAX, CPU_SECS_MAX)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let file = File::from(stdin().as_fd().try_clone_to_owned()?);
    serde_json::to_writer(stdout(), &judge_file(format, file))?;
    Ok(())
}

fn judge_file(format: AudioFormat, file: File) -> ProbeVerdict {
    let duration = match format {
        AudioFormat::Wav => wav::measure(file),
        AudioFormat::Aac => adts::measure(file),
        AudioFormat::Mp3 | AudioFormat::M4a => packets::measure(format, file),
    };
    match duration {
        Ok(duration) => ProbeVerdict::Plays {
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        },
        Err(ProbeError::Damaged) => ProbeVerdict::Damaged,
        Err(ProbeError::Unsupported) => ProbeVerdict::Unsupported,
    }
}

/// Converts a number of ticks to a duration; there are `per_sec` ticks in a second.
fn ticks_as_duration(ticks: u64, per_sec: u32) -> Duration {
    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(per_sec.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Returns the length in bytes of the `ID3v2` tag that begins with `head`, including its header and footer
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
    fn the_length_of_a_tag_is_read_from_its_header() {
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
