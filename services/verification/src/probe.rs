//! Whether a file is the audio it begins like, and how long it lasts.
//!
//! Demuxers trust headers, and a hostile header may ask for more memory than there is, or for a walk
//! without end. So a file is probed in a process of its own (`talktime-verification probe`), which
//! has little memory, little time and nothing in its environment. Where it dies, the file was bad.

use std::fs::File;
use std::io::{ErrorKind, stdin, stdout};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};
use symphonia::core::codecs::{
    CODEC_TYPE_AAC, CODEC_TYPE_MP3, CODEC_TYPE_PCM_ALAW, CODEC_TYPE_PCM_F32LE,
    CODEC_TYPE_PCM_F64LE, CODEC_TYPE_PCM_MULAW, CODEC_TYPE_PCM_S16LE, CODEC_TYPE_PCM_S24LE,
    CODEC_TYPE_PCM_S32LE, CODEC_TYPE_PCM_U8, CodecType,
};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::units::TimeBase;
use symphonia::default::formats::{AdtsReader, IsoMp4Reader, MpaReader, WavReader};
use talktime_kit::Error;
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::domain::{AudioKind, DURATION_MAX, VerificationError, check_duration};

/// Address space of the probing process, bytes: its program, the demuxer and some air.
const MEMORY_BYTES_MAX: u64 = 256 * 1024 * 1024;
const CPU_SECS_MAX: u64 = 5;
/// Wall time of the probing process, its start included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Wall time of the walk over the packets.
const WALK_TIMEOUT: Duration = Duration::from_secs(5);
/// Five minutes of the shortest packets that we take, several times over.
const PACKETS_MAX: u64 = 200_000;
/// Longest packet of AAC: 2,048 samples at 7,350 Hz. Longer ones are a header's claim.
const PACKET_MS_MAX: u64 = 300;
/// Codecs may count a little more than they deliver.
const MISSING_FRAMES_MAX: u64 = 8_192;

const PCM_CODECS: [CodecType; 8] = [
    CODEC_TYPE_PCM_U8,
    CODEC_TYPE_PCM_S16LE,
    CODEC_TYPE_PCM_S24LE,
    CODEC_TYPE_PCM_S32LE,
    CODEC_TYPE_PCM_F32LE,
    CODEC_TYPE_PCM_F64LE,
    CODEC_TYPE_PCM_ALAW,
    CODEC_TYPE_PCM_MULAW,
];

/// What the probing process found.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// It plays, so many milliseconds.
    Plays { duration_ms: u64 },
    /// It begins as audio and does not go on, or is of another codec.
    Damaged,
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
            Verdict::Plays { duration_ms } => check_duration(Duration::from_millis(duration_ms)),
            Verdict::Damaged => Err(VerificationError::DamagedAudio),
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
    let duration = play_through(kind, file);
    duration.map_or(Verdict::Damaged, |duration| Verdict::Plays {
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
    })
}

fn open(kind: AudioKind, file: File) -> Result<Box<dyn FormatReader>, SymphoniaError> {
    let stream = MediaSourceStream::new(Box::new(file), MediaSourceStreamOptions::default());
    let options = FormatOptions::default();
    Ok(match kind {
        AudioKind::Mp3 => Box::new(MpaReader::try_new(stream, &options)?),
        AudioKind::Wav => Box::new(WavReader::try_new(stream, &options)?),
        AudioKind::M4a => Box::new(IsoMp4Reader::try_new(stream, &options)?),
        AudioKind::Aac => Box::new(AdtsReader::try_new(stream, &options)?),
    })
}

fn is_codec_of(kind: AudioKind, codec: CodecType) -> bool {
    match kind {
        AudioKind::Mp3 => codec == CODEC_TYPE_MP3,
        AudioKind::Wav => PCM_CODECS.contains(&codec),
        AudioKind::M4a | AudioKind::Aac => codec == CODEC_TYPE_AAC,
    }
}

/// How long a file lasts, counted packet by packet: a header's word is not taken for it. `None` where
/// it does not play to its end.
fn play_through(kind: AudioKind, file: File) -> Option<Duration> {
    let mut reader = open(kind, file).ok()?;
    let [track] = reader.tracks() else {
        return None;
    };
    let params = &track.codec_params;
    let promised = params.n_frames;
    let time_base = params.time_base?;
    let is_ours = is_codec_of(kind, params.codec) && time_base.numer > 0;
    let counted = is_ours.then(|| count_frames(reader.as_mut(), time_base))??;
    let duration = as_duration(time_base, counted);
    // An MP3 without a header of its own promises by estimate; what is too long was not walked to
    // its end.
    let is_whole = kind == AudioKind::Mp3
        || duration > DURATION_MAX
        || promised.is_none_or(|promised| promised <= counted.saturating_add(MISSING_FRAMES_MAX));
    is_whole.then_some(duration)
}

fn as_duration(time_base: TimeBase, frames: u64) -> Duration {
    let nanos = u128::from(frames) * u128::from(time_base.numer) * 1_000_000_000
        / u128::from(time_base.denom.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Frames of all packets; stops early when they are more than anyone may send.
fn count_frames(reader: &mut dyn FormatReader, time_base: TimeBase) -> Option<u64> {
    let packet_max = Duration::from_millis(PACKET_MS_MAX);
    let started = Instant::now();
    let mut frames: u64 = 0;
    for _ in 0..PACKETS_MAX {
        let packet = match reader.next_packet() {
            Ok(packet) => packet,
            Err(SymphoniaError::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                return Some(frames);
            }
            Err(_) => return None,
        };
        let is_credible =
            !packet.buf().is_empty() && as_duration(time_base, packet.dur()) <= packet_max;
        if !is_credible || started.elapsed() > WALK_TIMEOUT {
            return None;
        }
        frames = frames.saturating_add(packet.dur());
        if as_duration(time_base, frames) > DURATION_MAX {
            return Some(frames);
        }
    }
    None
}
