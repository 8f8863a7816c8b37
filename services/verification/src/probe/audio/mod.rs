//! Checks that a file is audio of the format that its first bytes indicate, and measures its duration.

mod adts;
mod packets;
mod wav;

use std::fs::File;
use std::io::stdout;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use talktime_kit::Error;

use super::sandbox::{ProcessSandbox, enter_limits};
use crate::domain::{AudioFormat, UploadFormat, VerificationError, check_duration};

/// The command of the probing process.
const COMMAND: &str = "probe";
const VERDICT_BYTES_MAX: u64 = 1_024;

/// The result of the probing process.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum AudioProbeVerdict {
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
enum AudioProbeError {
    /// The file cannot be played to its end.
    Damaged,
    /// The codec is not accepted, or there is more than one track.
    Unsupported,
}

impl From<std::io::Error> for AudioProbeError {
    fn from(_: std::io::Error) -> Self {
        Self::Damaged
    }
}

/// Judges audio files; cheap to clone.
#[derive(Clone)]
pub struct AudioProbe(ProcessSandbox);

impl AudioProbe {
    /// Returns a probe that runs `program probe …`, in at most `processes_max` concurrent processes.
    pub fn new(program: PathBuf, processes_max: usize) -> Self {
        Self(ProcessSandbox::new(program, processes_max))
    }

    /// Refuses a file that is not entirely of this format, or that is too short or too long. The file is read
    /// from its current position.
    pub async fn check(&self, format: AudioFormat, file: File) -> Result<(), VerificationError> {
        let command = [COMMAND, format.extension()];
        let Some(output) = self.0.run(command, file, VERDICT_BYTES_MAX).await? else {
            return Err(VerificationError::DamagedAudio);
        };
        match serde_json::from_slice(&output).map_err(Error::internal)? {
            AudioProbeVerdict::Plays { duration_ms } => {
                check_duration(format, Duration::from_millis(duration_ms))
            }
            AudioProbeVerdict::Damaged => Err(VerificationError::DamagedAudio),
            AudioProbeVerdict::Unsupported => Err(VerificationError::UnsupportedAudio),
        }
    }
}

/// Runs the command `probe`: judges the file on standard input within the limits of the process.
pub fn run(extension: &str) -> anyhow::Result<()> {
    let format = AudioFormat::from_extension(extension);
    let format = format.ok_or_else(|| anyhow::anyhow!("unknown format {extension}"))?;
    let file = enter_limits()?;
    serde_json::to_writer(stdout(), &judge_file(format, file))?;
    Ok(())
}

fn judge_file(format: AudioFormat, file: File) -> AudioProbeVerdict {
    let duration = match format {
        AudioFormat::Wav => wav::measure(file),
        AudioFormat::Aac => adts::measure(file),
        AudioFormat::Mp3 | AudioFormat::M4a => packets::measure(format, file),
    };
    match duration {
        Ok(duration) => AudioProbeVerdict::Plays {
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        },
        Err(AudioProbeError::Damaged) => AudioProbeVerdict::Damaged,
        Err(AudioProbeError::Unsupported) => AudioProbeVerdict::Unsupported,
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
