//! The probing process judges files of real encoders.

mod confined;
mod encoder;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use talktime_kit::Error;
use talktime_verification::domain::{AudioFormat, UploadFormat, VerificationError};
use talktime_verification::probe::AudioProbe;
use talktime_verification::spool::HEAD_BYTES;

use encoder::{Encoder, MONO_16K, MONO_44K, STEREO_44K, STEREO_48K};

/// Judges a file like an upload, by its first bytes and then as a whole. Returns the code of the refusal, or
/// `accepted`.
async fn judge_file(path: &Path) -> String {
    let file = File::open(path).expect("there");
    let head = fs::read(path).expect("readable");
    let head = &head[..head.len().min(HEAD_BYTES)];
    let program = PathBuf::from(env!("CARGO_BIN_EXE_talktime-verification"));
    let judged = match AudioFormat::detect(head) {
        Some(format) => AudioProbe::new(program, 1).check(format, file).await,
        None => Err(VerificationError::UnsupportedAudio),
    };
    match judged {
        Ok(()) => "accepted".to_owned(),
        Err(error) => Error::from(error).code().to_owned(),
    }
}

async fn judge_bytes(bytes: &[u8]) -> String {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("written");
    judge_file(file.path()).await
}

#[track_caller]
fn assert_all_codes(judged: &[(String, String)], expected: &str) {
    let others: Vec<_> = judged.iter().filter(|(_, code)| code != expected).collect();
    assert!(others.is_empty(), "not {expected}: {others:?}");
}

/// Finds the offset of each frame of an ADTS file.
fn find_frame_offsets(file: &[u8]) -> Vec<usize> {
    let mut offsets = Vec::new();
    let mut at = 0;
    while let Some([0xFF, _, _, b3, b4, b5, _]) = file.get(at..at + 7) {
        offsets.push(at);
        at += usize::from(b3 & 3) << 11 | usize::from(*b4) << 3 | usize::from(b5 >> 5);
    }
    offsets
}

#[tokio::test]
async fn parts_of_aac_are_measured_by_their_frames() {
    const CUTS: usize = 40;
    const SECS: usize = 62;
    let mut encoder = Encoder::new(62);
    let formats: [(&str, &[&str]); 5] = [
        ("32k.aac", &["-b:a", "32k"]),
        ("64k.aac", &["-b:a", "64k"]),
        ("96k.aac", &["-b:a", "96k"]),
        ("128k.aac", &["-b:a", "128k"]),
        ("vbr.aac", &["-q:a", "1"]),
    ];
    let channels = [MONO_16K, MONO_44K, STEREO_48K, STEREO_44K, MONO_44K];
    for ((name, rate), channels) in formats.iter().zip(channels) {
        encoder.add(name, &[channels, rate].concat());
    }
    encoder.run();
    let (mut accepted, mut too_short) = (Vec::new(), Vec::new());
    for (name, _) in formats {
        let file = fs::read(encoder.path(name)).expect("encoded");
        let frames = find_frame_offsets(&file);
        for cut in 0..CUTS {
            let first = cut * frames.len() / CUTS / 3;
            // Two of three cuts end within a frame, as a download that broke off does.
            let cut_file = |tenths: usize| {
                let last = first + tenths * frames.len() / SECS / 10;
                &file[frames[first]..frames[last] + cut % 3 * 5]
            };
            let tenths = 305 + cut * 2;
            let description = format!("{name} from frame {first}, {tenths} tenths of a second");
            accepted.push((description.clone(), judge_bytes(cut_file(tenths)).await));
            if cut % 8 == 0 {
                too_short.push((description, judge_bytes(cut_file(290)).await));
            }
        }
    }
    assert_all_codes(&accepted, "accepted");
    assert_all_codes(&too_short, "invalid_audio_duration");
}

/// Names of files, and how they are encoded. ffmpeg makes those of 24 bits, 32 bits and four channels
/// extensible.
const WAV_KINDS: [(&str, &[&str]); 12] = [
    ("u8.wav", &["-c:a", "pcm_u8", "-ar", "8000", "-ac", "1"]),
    (
        "s16.wav",
        &["-c:a", "pcm_s16le", "-ar", "16000", "-ac", "1"],
    ),
    (
        "s16_stereo.wav",
        &["-c:a", "pcm_s16le", "-ar", "44100", "-ac", "2"],
    ),
    (
        "s24.wav",
        &["-c:a", "pcm_s24le", "-ar", "16000", "-ac", "2"],
    ),
    (
        "s32.wav",
        &["-c:a", "pcm_s32le", "-ar", "16000", "-ac", "1"],
    ),
    (
        "quad.wav",
        &["-c:a", "pcm_s16le", "-ar", "16000", "-ac", "4"],
    ),
    (
        "f32.wav",
        &["-c:a", "pcm_f32le", "-ar", "16000", "-ac", "1"],
    ),
    ("f64.wav", &["-c:a", "pcm_f64le", "-ar", "8000", "-ac", "1"]),
    ("alaw.wav", &["-c:a", "pcm_alaw", "-ar", "8000", "-ac", "1"]),
    (
        "mulaw.wav",
        &["-c:a", "pcm_mulaw", "-ar", "8000", "-ac", "1"],
    ),
    ("plain.wav", &["-bitexact", "-ar", "11025", "-ac", "1"]),
    (
        "tagged.wav",
        &["-metadata", "title=A voice", "-ar", "8000", "-ac", "1"],
    ),
];

#[tokio::test]
async fn every_kind_of_pcm_is_accepted_also_with_an_unfinished_header() {
    let mut encoder = Encoder::new(31);
    for (name, options) in WAV_KINDS {
        encoder.add(name, options);
    }
    encoder.run();
    let (mut accepted, mut damaged) = (Vec::new(), Vec::new());
    for (name, _) in WAV_KINDS {
        let whole = fs::read(encoder.path(name)).expect("encoded");
        let data = whole.windows(4).position(|name| name == b"data");
        let data = data.expect("a chunk of audio");
        let bytes = u32::try_from(whole.len() - data - 8).expect("small");
        let file_claiming = |riff: u32, claimed: u32| {
            let mut file = whole.clone();
            file[4..8].copy_from_slice(&riff.to_le_bytes());
            file[data + 4..data + 8].copy_from_slice(&claimed.to_le_bytes());
            file
        };
        let riff = bytes + u32::try_from(data).expect("small");
        let largest = i32::MAX.unsigned_abs();
        for (riff, claimed) in [
            (riff, bytes),
            (riff - 8, bytes),
            (riff, bytes - 8),
            (riff, bytes + 8),
            (0, 0),
            (u32::MAX, u32::MAX),
            (u32::MAX, u32::MAX - 36),
            (largest, largest),
            (largest, largest - 36),
            (0x7FFF_F024, 0x7FFF_F000),
        ] {
            let description = format!("{name} claiming {claimed:#x} in {riff:#x}");
            accepted.push((
                description,
                judge_bytes(&file_claiming(riff, claimed)).await,
            ));
        }
        let twice = judge_bytes(&file_claiming(riff * 2, bytes * 2)).await;
        damaged.push((name.to_owned(), twice));
    }
    assert_all_codes(&accepted, "accepted");
    assert_all_codes(&damaged, "damaged_audio");
}

#[tokio::test]
async fn a_streamed_wav_is_accepted() {
    let streamed = Encoder::new(31).stream(&["-ar", "16000", "-ac", "1", "-f", "wav"]);
    let data = streamed.windows(4).position(|name| name == b"data");
    let claimed = &streamed[data.expect("a chunk of audio") + 4..][..4];
    assert_eq!(claimed, [0xFF; 4], "the length was not known");
    assert_eq!(judge_bytes(&streamed).await, "accepted");
}

#[tokio::test]
async fn m4a_is_accepted_wherever_its_index_is() {
    let mut encoder = Encoder::new(31);
    for (name, options) in [
        ("end.m4a", &[MONO_16K, &["-b:a", "32k"]].concat()),
        (
            "start.m4a",
            &[MONO_44K, &["-b:a", "64k", "-movflags", "+faststart"]].concat(),
        ),
        ("stereo.m4a", &[STEREO_48K, &["-b:a", "128k"]].concat()),
        (
            "stereo.mp4",
            &[STEREO_44K, &["-b:a", "96k", "-movflags", "+faststart"]].concat(),
        ),
        (
            "fragments.m4a",
            &[
                MONO_44K,
                &["-b:a", "64k", "-movflags", "+frag_keyframe+empty_moov"],
            ]
            .concat(),
        ),
        (
            "tagged.m4a",
            &[MONO_16K, &["-metadata", "title=A voice"]].concat(),
        ),
        (
            "phone.3gp",
            &[MONO_16K, &["-c:a", "aac", "-b:a", "32k"]].concat(),
        ),
    ] {
        encoder.add(name, options);
    }
    encoder.run();
    let mut judged = Vec::new();
    for name in encoder.names() {
        judged.push((name.clone(), judge_file(&encoder.path(&name)).await));
        let file = fs::read(encoder.path(&name)).expect("encoded");
        if name != "fragments.m4a" {
            let half = judge_bytes(&file[..file.len() / 2]).await;
            assert_eq!(half, "damaged_audio", "half of {name}");
        }
    }
    assert_all_codes(&judged, "accepted");
}

#[tokio::test]
async fn mp3_is_accepted_at_any_rate_with_and_without_tags() {
    let mut encoder = Encoder::new(31);
    for (name, options) in [
        ("cbr32.mp3", &[MONO_16K, &["-b:a", "32k"]].concat()),
        ("cbr128.mp3", &[STEREO_44K, &["-b:a", "128k"]].concat()),
        ("vbr.mp3", &[MONO_44K, &["-q:a", "4"]].concat()),
        (
            "abr.mp3",
            &[STEREO_48K, &["-b:a", "96k", "-abr", "1"]].concat(),
        ),
        (
            "vbr_no_xing.mp3",
            &[MONO_44K, &["-q:a", "6", "-write_xing", "0"]].concat(),
        ),
        (
            "bare.mp3",
            &[
                MONO_16K,
                &["-b:a", "24k", "-write_xing", "0", "-id3v2_version", "0"],
            ]
            .concat(),
        ),
        (
            "id3v1.mp3",
            &[
                MONO_16K,
                &["-write_id3v1", "1", "-metadata", "title=A voice"],
            ]
            .concat(),
        ),
        (
            "id3v24.mp3",
            &[
                MONO_44K,
                &["-id3v2_version", "4", "-metadata", "title=A voice"],
            ]
            .concat(),
        ),
        (
            "low.mp3",
            &["-ar", "8000", "-ac", "1", "-b:a", "8k"].to_vec(),
        ),
    ] {
        encoder.add(name, options);
    }
    encoder.run();
    let mut judged = Vec::new();
    for name in encoder.names() {
        let file = fs::read(encoder.path(&name)).expect("encoded");
        // A tag whose content looks like frames of another length.
        let picture = [
            &b"ID3\x04\0\0\0\0\x08\0"[..],
            &[0xFF, 0xFB, 0x90, 0x64].repeat(256),
        ]
        .concat();
        judged.push((name.clone(), judge_bytes(&file).await));
        judged.push((
            format!("{name} with a picture"),
            judge_bytes(&[picture, file].concat()).await,
        ));
    }
    assert_all_codes(&judged, "accepted");
}

#[tokio::test]
async fn exactly_five_minutes_are_accepted_in_every_format() {
    let mut encoder = Encoder::new(300);
    let rate = &["-ar", "16000", "-ac", "1"];
    let names = ["five.m4a", "five.mp3", "five.aac", "five.wav"];
    for name in names {
        encoder.add(name, rate);
    }
    encoder.run();
    for name in names {
        assert_eq!(judge_file(&encoder.path(name)).await, "accepted", "{name}");
    }
    for name in ["five.mp3", "five.aac"] {
        let file = fs::read(encoder.path(name)).expect("encoded");
        let longer = [&file[..], &file[..file.len() / 100]].concat();
        assert_eq!(
            judge_bytes(&longer).await,
            "invalid_audio_duration",
            "{name}"
        );
    }
}

#[tokio::test]
async fn other_codecs_in_accepted_containers_are_unsupported() {
    let mut encoder = Encoder::new(31);
    for (name, options) in [
        ("alac.m4a", &["-c:a", "alac", "-ar", "16000"][..]),
        ("opus.mp4", &["-c:a", "libopus"]),
        ("mp3.mp4", &["-c:a", "libmp3lame", "-ar", "44100"]),
        ("ms.wav", &["-c:a", "adpcm_ms", "-ar", "16000"]),
        ("ima.wav", &["-c:a", "adpcm_ima_wav", "-ar", "16000"]),
        ("gsm.wav", &["-c:a", "libgsm_ms", "-ar", "8000", "-ac", "1"]),
        (
            "mp3.wav",
            &["-c:a", "libmp3lame", "-ar", "16000", "-ac", "1"],
        ),
        ("vorbis.ogg", &["-c:a", "libvorbis"]),
        ("flac.flac", &["-c:a", "flac", "-ar", "16000"]),
    ] {
        encoder.add(name, options);
    }
    encoder.run();
    let mut judged = Vec::new();
    for name in encoder.names() {
        judged.push((name.clone(), judge_file(&encoder.path(&name)).await));
    }
    // Debian's ffmpeg has no encoder for AMR; players recognize it by the sample entry.
    let mut amr = Encoder::new(31);
    amr.add("aac.3gp", &[MONO_16K, &["-c:a", "aac"]].concat());
    amr.run();
    let mut file = fs::read(amr.path("aac.3gp")).expect("encoded");
    let entry = file.windows(4).position(|name| name == b"mp4a");
    let entry = entry.expect("a sample entry");
    file[entry..entry + 4].copy_from_slice(b"samr");
    judged.push(("amr.3gp".to_owned(), judge_bytes(&file).await));
    assert_all_codes(&judged, "unsupported_audio");
}
