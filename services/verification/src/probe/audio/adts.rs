//! AAC in ADTS (ISO/IEC 13818-7, 6.2): a sequence of frames, each with its own length. The file does not
//! contain their number, so they are counted.

use std::fs::File;
use std::io::{BufReader, Read};
use std::time::Duration;

use super::{AudioProbeError, id3_tag_length, ticks_as_duration};
use crate::domain::AudioFormat;

/// Samples in a raw data block.
const BLOCK_SAMPLES: u64 = 1_024;
/// Length of the longest header. A shorter one is followed by audio, unless the frame is empty.
const HEADER_BYTES: usize = 10;
/// Length of an `ID3v1` tag, which ends a file.
const ID3V1_BYTES: usize = 128;
/// Sample rates by their index in the header; the other indexes are reserved.
const SAMPLE_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

struct AdtsFrameHeader {
    length_bytes: u64,
    duration: Duration,
}

/// Measures the duration by counting frames. The last frame may be cut; a file with anything but tags between
/// its frames is damaged.
pub(super) fn measure(file: File) -> Result<Duration, AudioProbeError> {
    let length_bytes = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let mut position = 0;
    let mut duration = Duration::ZERO;
    while duration <= AudioFormat::Aac.duration_max() {
        let left = length_bytes.saturating_sub(position);
        let mut head = [0; HEADER_BYTES];
        let read = read_up_to(&mut reader, &mut head)?;
        let head = &head[..read];
        let is_end = left == ID3V1_BYTES as u64 && head.starts_with(b"TAG");
        if head.is_empty() || is_end {
            break;
        }
        let skipped = match (parse_header(head), id3_tag_length(head)) {
            (Some(frame), _) if frame.length_bytes > left => break,
            (Some(frame), _) => {
                duration += frame.duration;
                frame.length_bytes
            }
            (None, Some(tag_bytes)) => tag_bytes,
            (None, None) if left < HEADER_BYTES as u64 => break,
            (None, None) => return Err(AudioProbeError::Damaged),
        };
        position += skipped;
        let skipped_bytes = i64::try_from(skipped).map_err(|_| AudioProbeError::Damaged)?;
        reader.seek_relative(
            skipped_bytes - i64::try_from(read).map_err(|_| AudioProbeError::Damaged)?,
        )?;
    }
    Ok(duration)
}

fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

fn parse_header(head: &[u8]) -> Option<AdtsFrameHeader> {
    let head: &[u8; 7] = head.first_chunk()?;
    let is_synchronized = head[0] == 0xFF && head[1] & 0xF6 == 0xF0;
    let header_bytes = if head[1] & 1 == 1 { 7 } else { 9 };
    let rate = *SAMPLE_RATES.get(usize::from(head[2] >> 2 & 0xF))?;
    let length_bytes =
        u64::from(head[3] & 3) << 11 | u64::from(head[4]) << 3 | u64::from(head[5] >> 5);
    let blocks = u64::from(head[6] & 3) + 1;
    (is_synchronized && length_bytes > header_bytes).then(|| AdtsFrameHeader {
        length_bytes,
        duration: ticks_as_duration(blocks * BLOCK_SAMPLES, rate),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    /// 16 kHz, mono, 64 ms, `length` bytes.
    fn frame(length: usize) -> Vec<u8> {
        let low_byte = |bits: usize| u8::try_from(bits & 0xFF).expect("masked");
        let mut frame = vec![
            0xFF,
            0xF1,
            0x60,
            0x40,
            low_byte(length >> 3),
            low_byte(length << 5) | 0x1F,
            0xFC,
        ];
        frame.resize(length, 0x5A);
        frame
    }

    fn measured(bytes: &[u8]) -> Result<Duration, AudioProbeError> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        file.rewind().expect("rewound");
        measure(file)
    }

    #[test]
    fn frames_of_any_length_are_counted() {
        let frames = [frame(8), frame(500), frame(13)].concat();
        assert_eq!(measured(&frames), Ok(Duration::from_millis(192)));
        let with_crc = frames.iter().enumerate().map(|(at, byte)| match at {
            1 => 0xF8,
            _ => *byte,
        });
        // A header with a checksum has nine bytes, more than this frame.
        assert_eq!(
            measured(&with_crc.collect::<Vec<_>>()),
            Err(AudioProbeError::Damaged)
        );
    }

    #[test]
    fn tags_and_a_cut_last_frame_are_not_counted() {
        let tag = b"ID3\x04\0\0\0\0\0\x05hello";
        let mut id3v1 = b"TAG".to_vec();
        id3v1.resize(128, 0);
        let cut = &frame(500)[..300];
        for end in [&[][..], &id3v1, cut, &cut[..5]] {
            let file = [tag, &frame(20)[..], tag, &frame(20), end].concat();
            assert_eq!(measured(&file), Ok(Duration::from_millis(128)), "{end:?}");
        }
    }

    #[test]
    fn other_bytes_between_frames_are_damaged() {
        let file = [frame(20), vec![0x5A; 50], frame(20)].concat();
        assert_eq!(measured(&file), Err(AudioProbeError::Damaged));
    }
}
