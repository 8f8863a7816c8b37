//! PCM in RIFF: the header contains the format, and the rest of the file is audio. Recorders that stream, or
//! that were interrupted, leave placeholders instead of lengths in the header; the length of the file is then
//! used.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::time::Duration;

use super::{AudioProbeError, ticks_as_duration};

/// Chunks before the audio, at most; real files have a few.
const CHUNKS_MAX: usize = 1_000;
/// Length of `RIFF`, the length field and `WAVE`.
const FORM_BYTES: u64 = 12;
/// Length of a format chunk with its extension; later bytes are not needed.
const FORMAT_BYTES: usize = 40;
/// Frames that a header may count beyond the end of the file.
const MISSING_FRAMES_MAX: u64 = 8_192;
/// Longest header that recorders subtract from a placeholder.
const HEADER_BYTES: u32 = 44;

const FORMAT_PCM: u16 = 1;
const FORMAT_FLOAT: u16 = 3;
const FORMAT_A_LAW: u16 = 6;
const FORMAT_MU_LAW: u16 = 7;
const FORMAT_EXTENSIBLE: u16 = 0xFFFE;
/// The end of a subformat's GUID, after the number of the format.
const SUBFORMAT_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71];

/// The format of the audio.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct PcmFormat {
    sample_rate: u32,
    /// Bytes of one sample of every channel.
    frame_bytes: u64,
}

/// Measures the duration of the audio.
pub(super) fn measure(file: File) -> Result<Duration, AudioProbeError> {
    let length_bytes = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(FORM_BYTES))?;
    let mut format = None;
    for _ in 0..CHUNKS_MAX {
        let mut head = [0; 8];
        reader.read_exact(&mut head)?;
        let [a, b, c, d, size @ ..] = head;
        let claimed = u32::from_le_bytes(size);
        let position = reader.stream_position()?;
        let left = length_bytes.saturating_sub(position);
        match &[a, b, c, d] {
            b"fmt " => format = Some(read_format(&mut reader, claimed)?),
            b"data" => {
                let format: PcmFormat = format.ok_or(AudioProbeError::Damaged)?;
                let bytes = count_audio_bytes(claimed, left, format.frame_bytes)?;
                let frames = bytes / format.frame_bytes;
                return Ok(ticks_as_duration(frames, format.sample_rate));
            }
            _ if u64::from(claimed) > left => return Err(AudioProbeError::Damaged),
            _ => {}
        }
        // Chunks begin at even offsets.
        let next = position + u64::from(claimed) + u64::from(claimed % 2);
        reader.seek(SeekFrom::Start(next))?;
    }
    Err(AudioProbeError::Damaged)
}

fn read_format(reader: &mut impl Read, claimed: u32) -> Result<PcmFormat, AudioProbeError> {
    let mut chunk = Vec::with_capacity(FORMAT_BYTES);
    let length = usize::try_from(claimed).unwrap_or(usize::MAX);
    let wanted = u64::try_from(length.min(FORMAT_BYTES)).unwrap_or_default();
    reader.take(wanted).read_to_end(&mut chunk)?;
    parse_format(&chunk)
}

fn parse_format(chunk: &[u8]) -> Result<PcmFormat, AudioProbeError> {
    let base: &[u8; 16] = chunk.first_chunk().ok_or(AudioProbeError::Damaged)?;
    let number = |at: usize| u16::from_le_bytes([base[at], base[at + 1]]);
    let (channels, bits) = (u64::from(number(2)), number(14));
    let sample_rate = u32::from_le_bytes([base[4], base[5], base[6], base[7]]);
    let tag = match number(0) {
        FORMAT_EXTENSIBLE => read_subformat(chunk)?,
        tag => tag,
    };
    let is_supported = match tag {
        FORMAT_PCM => (1..=32).contains(&bits),
        FORMAT_FLOAT => matches!(bits, 32 | 64),
        FORMAT_A_LAW | FORMAT_MU_LAW => bits == 8,
        _ => false,
    };
    if !is_supported {
        return Err(AudioProbeError::Unsupported);
    }
    let frame_bytes = channels * u64::from(bits.div_ceil(8));
    if sample_rate == 0 || channels == 0 || u64::from(number(12)) != frame_bytes {
        return Err(AudioProbeError::Damaged);
    }
    Ok(PcmFormat {
        sample_rate,
        frame_bytes,
    })
}

fn read_subformat(chunk: &[u8]) -> Result<u16, AudioProbeError> {
    let guid = chunk.get(24..40).ok_or(AudioProbeError::Damaged)?;
    if guid[2..] == SUBFORMAT_TAIL {
        Ok(u16::from_le_bytes([guid[0], guid[1]]))
    } else {
        Err(AudioProbeError::Unsupported)
    }
}

/// Returns the number of bytes of audio, given the number in the header and the rest of the file.
fn count_audio_bytes(claimed: u32, left: u64, frame_bytes: u64) -> Result<u64, AudioProbeError> {
    if is_placeholder(claimed) {
        return Ok(left);
    }
    let claimed = u64::from(claimed);
    if claimed > left + MISSING_FRAMES_MAX * frame_bytes {
        return Err(AudioProbeError::Damaged);
    }
    Ok(claimed.min(left))
}

/// Returns whether a length is a placeholder: zero, all ones, or the largest signed number with some rounding,
/// each possibly reduced by the header.
fn is_placeholder(claimed: u32) -> bool {
    claimed == 0
        || claimed >= u32::MAX - HEADER_BYTES
        || (0x7FFF_F000 - HEADER_BYTES..=0x8000_0000).contains(&claimed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(tag: u16, channels: u16, bits: u16) -> Vec<u8> {
        let frame_bytes = channels * bits.div_ceil(8);
        let mut chunk = Vec::new();
        chunk.extend(tag.to_le_bytes());
        chunk.extend(channels.to_le_bytes());
        chunk.extend(16_000_u32.to_le_bytes());
        chunk.extend((16_000 * u32::from(frame_bytes)).to_le_bytes());
        chunk.extend(frame_bytes.to_le_bytes());
        chunk.extend(bits.to_le_bytes());
        chunk
    }

    #[test]
    fn linear_and_logarithmic_pcm_is_supported() {
        for (tag, bits) in [
            (1, 8),
            (1, 16),
            (1, 20),
            (1, 24),
            (1, 32),
            (3, 32),
            (3, 64),
            (6, 8),
            (7, 8),
        ] {
            let parsed = parse_format(&format(tag, 2, bits)).expect("supported");
            assert_eq!(parsed.frame_bytes, 2 * u64::from(bits.div_ceil(8)));
        }
        // ADPCM of Microsoft and IMA, GSM, MP3, and PCM of no known width.
        for (tag, bits) in [
            (2, 4),
            (0x11, 4),
            (0x31, 0),
            (0x55, 0),
            (1, 64),
            (1, 0),
            (3, 16),
        ] {
            let refused = parse_format(&format(tag, 1, bits));
            assert_eq!(refused, Err(AudioProbeError::Unsupported), "{tag} {bits}");
        }
    }

    #[test]
    fn an_extensible_format_contains_the_real_one() {
        let parse_extensible = |subformat: u16, tail: &[u8]| {
            let mut chunk = format(FORMAT_EXTENSIBLE, 2, 24);
            chunk.extend([22, 0, 24, 0, 3, 0, 0, 0]);
            chunk.extend(subformat.to_le_bytes());
            chunk.extend(tail);
            parse_format(&chunk)
        };
        assert_eq!(
            parse_extensible(1, &SUBFORMAT_TAIL)
                .expect("PCM")
                .frame_bytes,
            6
        );
        assert_eq!(
            parse_extensible(2, &SUBFORMAT_TAIL),
            Err(AudioProbeError::Unsupported)
        );
        assert_eq!(
            parse_extensible(1, &[7; 14]),
            Err(AudioProbeError::Unsupported)
        );
        assert_eq!(parse_extensible(1, &[0; 3]), Err(AudioProbeError::Damaged));
    }

    #[test]
    fn a_contradictory_format_is_damaged() {
        for (at, value) in [(2, 0), (12, 5), (5, 0)] {
            let mut chunk = format(1, 1, 16);
            chunk[4] = 0x80 * u8::from(at != 5);
            chunk[at] = value;
            assert_eq!(parse_format(&chunk), Err(AudioProbeError::Damaged), "{at}");
        }
        assert_eq!(
            parse_format(&format(1, 1, 16)[..15]),
            Err(AudioProbeError::Damaged)
        );
    }

    #[test]
    fn a_placeholder_is_replaced_by_the_length_of_the_file() {
        for claimed in [
            0,
            u32::MAX,
            u32::MAX - 36,
            i32::MAX.unsigned_abs(),
            i32::MAX.unsigned_abs() - 44,
            0x7FFF_F000,
            0x8000_0000,
        ] {
            assert_eq!(
                count_audio_bytes(claimed, 96_000, 2),
                Ok(96_000),
                "{claimed:#x}"
            );
        }
        assert_eq!(count_audio_bytes(95_992, 96_000, 2), Ok(95_992));
        assert_eq!(count_audio_bytes(96_008, 96_000, 2), Ok(96_000));
        for claimed in [200_000, u32::MAX - 64, 0x4000_0000] {
            assert_eq!(
                count_audio_bytes(claimed, 96_000, 2),
                Err(AudioProbeError::Damaged)
            );
        }
    }
}
