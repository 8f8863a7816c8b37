//! Formats that need a demuxer: MP3, and AAC in MP4. The duration is the sum of all packets.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use symphonia::core::codecs::{CODEC_TYPE_AAC, CODEC_TYPE_MP3};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{
    MediaSource, MediaSourceStream, MediaSourceStreamOptions, ReadOnlySource,
};
use symphonia::core::units::TimeBase;
use symphonia::default::formats::{IsoMp4Reader, MpaReader};

use super::{AudioProbeError, id3_tag_length};
use crate::domain::AudioFormat;

/// Wall time of reading all packets.
const WALK_TIMEOUT: Duration = Duration::from_secs(5);
/// Several times the number of the shortest packets in five minutes.
const PACKETS_MAX: u64 = 200_000;
/// Longest packet of AAC: 2,048 samples at 7,350 Hz. A longer one exists only in a hostile header.
const PACKET_DURATION_MAX: Duration = Duration::from_millis(300);
/// Frames that an index may count beyond the end of the file.
const MISSING_FRAMES_MAX: u64 = 8_192;

/// Measures the duration packet by packet. Fails if the file cannot be played to its end.
pub(super) fn measure(format: AudioFormat, file: File) -> Result<Duration, AudioProbeError> {
    let mut reader = open_reader(format, file)?;
    let track = match reader.tracks() {
        [] => return Err(AudioProbeError::Damaged),
        [track] => track,
        _ => return Err(AudioProbeError::Unsupported),
    };
    let params = &track.codec_params;
    if params.codec != codec_of(format) {
        return Err(AudioProbeError::Unsupported);
    }
    let promised = params.n_frames.unwrap_or_default();
    let time_base = params.time_base.filter(|time_base| time_base.numer > 0);
    let time_base = time_base.ok_or(AudioProbeError::Damaged)?;
    let counted = count_frames(reader.as_mut(), time_base, format.duration_max())?;
    let duration = as_duration(time_base, counted);
    // The number of frames of an MP3 is an estimate, and a file that is too long was not read to its end.
    let is_whole = format == AudioFormat::Mp3
        || duration > format.duration_max()
        || promised <= counted.saturating_add(MISSING_FRAMES_MAX);
    is_whole.then_some(duration).ok_or(AudioProbeError::Damaged)
}

fn codec_of(format: AudioFormat) -> symphonia::core::codecs::CodecType {
    if format == AudioFormat::Mp3 {
        CODEC_TYPE_MP3
    } else {
        CODEC_TYPE_AAC
    }
}

fn open_reader(format: AudioFormat, file: File) -> Result<Box<dyn FormatReader>, AudioProbeError> {
    let options = FormatOptions::default();
    let stream = |source: Box<dyn MediaSource>| {
        MediaSourceStream::new(source, MediaSourceStreamOptions::default())
    };
    let reader: Result<Box<dyn FormatReader>, SymphoniaError> = if format == AudioFormat::Mp3 {
        let audio = ReadOnlySource::new(skip_tag(file)?);
        MpaReader::try_new(stream(Box::new(audio)), &options).map(|reader| Box::new(reader) as _)
    } else {
        IsoMp4Reader::try_new(stream(Box::new(file)), &options).map(|reader| Box::new(reader) as _)
    };
    reader.map_err(|_| AudioProbeError::Damaged)
}

/// Skips the `ID3v2` tag of a file, since a picture in it may look like frames.
fn skip_tag(mut file: File) -> Result<File, AudioProbeError> {
    let mut head = Vec::new();
    (&file).take(10).read_to_end(&mut head)?;
    let tag_bytes = id3_tag_length(&head).unwrap_or_default();
    file.seek(SeekFrom::Start(tag_bytes))?;
    Ok(file)
}

fn as_duration(time_base: TimeBase, frames: u64) -> Duration {
    let ticks = frames.saturating_mul(u64::from(time_base.numer));
    super::ticks_as_duration(ticks, time_base.denom)
}

/// Counts the frames of all packets; stops early once they exceed the longest accepted duration.
fn count_frames(
    reader: &mut dyn FormatReader,
    time_base: TimeBase,
    duration_max: Duration,
) -> Result<u64, AudioProbeError> {
    let started = Instant::now();
    let mut frames: u64 = 0;
    for _ in 0..PACKETS_MAX {
        let packet = match reader.next_packet() {
            Ok(packet) => packet,
            Err(SymphoniaError::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                return Ok(frames);
            }
            Err(_) => return Err(AudioProbeError::Damaged),
        };
        let is_credible =
            !packet.buf().is_empty() && as_duration(time_base, packet.dur()) <= PACKET_DURATION_MAX;
        if !is_credible || started.elapsed() > WALK_TIMEOUT {
            return Err(AudioProbeError::Damaged);
        }
        frames = frames.saturating_add(packet.dur());
        if as_duration(time_base, frames) > duration_max {
            return Ok(frames);
        }
    }
    Err(AudioProbeError::Damaged)
}
