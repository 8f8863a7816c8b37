//! Audio that is built in code: silence of any length in each supported format, and invalid files.

/// Returns a WAV of PCM, 8 kHz, mono, 8 bits.
pub fn wav(secs: u32) -> Vec<u8> {
    wav_claiming(secs * WAV_RATE, secs * WAV_RATE)
}

/// Returns a WAV with `bytes` of PCM whose header claims `claimed` bytes.
pub fn wav_claiming(bytes: u32, claimed: u32) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend(claimed.saturating_add(36).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend(1_u16.to_le_bytes());
    file.extend(1_u16.to_le_bytes());
    file.extend(WAV_RATE.to_le_bytes());
    file.extend(WAV_RATE.to_le_bytes());
    file.extend(1_u16.to_le_bytes());
    file.extend(8_u16.to_le_bytes());
    file.extend(b"data");
    file.extend(claimed.to_le_bytes());
    file.resize(file.len() + bytes as usize, 128);
    file
}

const WAV_RATE: u32 = 8_000;
/// Bytes a second of [`wav`], without its header.
pub const WAV_BYTES_PER_SEC: usize = WAV_RATE as usize;
/// Bytes of the header of [`wav`].
pub const WAV_HEADER_BYTES: usize = 44;

/// Returns MPEG-1 layer III, 32 kbit/s, 32 kHz, mono, with 144 bytes and 36 ms a frame.
pub fn mp3(secs: u32) -> Vec<u8> {
    let mut frame = vec![0xFF, 0xFB, 0x18, 0xC4];
    frame.resize(144, 0);
    frame.repeat(secs as usize * 1_000 / 36 + 1)
}

/// Returns AAC LC in ADTS, 16 kHz, mono, with 64 ms a frame.
pub fn aac(secs: u32) -> Vec<u8> {
    let length = 7 + AAC_FRAME.len();
    let low_byte = |bits: usize| u8::try_from(bits & 0xFF).expect("masked");
    let mut frame = vec![
        0xFF,
        0xF1,
        0x60,
        0x40 | low_byte(length >> 11),
        low_byte(length >> 3),
        low_byte(length << 5) | 0x1F,
        0xFC,
    ];
    frame.extend(AAC_FRAME);
    frame.repeat(aac_frames(secs))
}

/// A silent frame.
const AAC_FRAME: [u8; 6] = [0x01, 0x18, 0x20, 0x07, 0x00, 0x00];
const AAC_RATE: u32 = 16_000;
const AAC_SAMPLES: u32 = 1_024;

fn aac_frames(secs: u32) -> usize {
    (secs * AAC_RATE).div_ceil(AAC_SAMPLES) as usize
}

/// Returns AAC LC in MP4, with the index before the audio.
pub fn m4a(secs: u32) -> Vec<u8> {
    let frames = aac_frames(secs);
    let ftyp = build_box("ftyp", &[b"M4A ", &0_u32.to_be_bytes()[..], b"M4A isom"]);
    // The index contains the position of the audio, on which its length does not depend.
    let index_len = build_movie(frames, 0).len();
    let audio_at = ftyp.len() + index_len + 8;
    let index = build_movie(frames, u32::try_from(audio_at).expect("small"));
    [ftyp, index, build_box("mdat", &[&AAC_FRAME.repeat(frames)])].concat()
}

/// Returns an M4A whose index claims `count` entries and contains none.
pub fn m4a_claiming(count: u32) -> Vec<u8> {
    let table = build_box("stts", &[&[0; 4], &count.to_be_bytes()]);
    let ftyp = build_box("ftyp", &[b"M4A ", &0_u32.to_be_bytes()[..], b"M4A isom"]);
    let tables = build_box("stbl", &[&table]);
    let media = build_box("mdia", &[&build_box("minf", &[&tables])]);
    [ftyp, build_box("moov", &[&build_box("trak", &[&media])])].concat()
}

fn build_box(name: &str, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u32::try_from(content.len() + 8).expect("small");
    [&length.to_be_bytes()[..], name.as_bytes(), &content].concat()
}

/// The number one in 16.16 fixed point.
const ONE: u32 = 0x0001_0000;
/// The identity transformation of a picture.
const MATRIX: [u32; 9] = [ONE, 0, 0, 0, ONE, 0, 0, 0, 0x4000_0000];

/// Builds the index of an MP4 whose audio begins at `audio_at`.
fn build_movie(frames: usize, audio_at: u32) -> Vec<u8> {
    let frames = u32::try_from(frames).expect("small");
    let samples = frames * AAC_SAMPLES;
    let mut mvhd = to_words(&[0, 0, 0, AAC_RATE, samples, ONE, 0x0100_0000, 0, 0]);
    mvhd.extend(to_words(&MATRIX));
    mvhd.extend(to_words(&[0, 0, 0, 0, 0, 0, 2]));
    let track = build_track(frames, audio_at);
    build_box("moov", &[&build_box("mvhd", &[&mvhd]), &track])
}

fn build_track(frames: u32, audio_at: u32) -> Vec<u8> {
    let samples = frames * AAC_SAMPLES;
    let mut tkhd = to_words(&[7, 0, 0, 1, 0, samples, 0, 0, 0, 0x0100_0000]);
    tkhd.extend(to_words(&MATRIX));
    tkhd.extend(to_words(&[0, 0]));
    let mdhd = to_words(&[0, 0, 0, AAC_RATE, samples, 0x55C4_0000]);
    let hdlr = [&to_words(&[0, 0])[..], b"soun", &[0; 12], b"\0"].concat();
    let media = [
        build_box("mdhd", &[&mdhd]),
        build_box("hdlr", &[&hdlr]),
        build_media_information(frames, audio_at),
    ];
    let media = build_box("mdia", &[&media.concat()]);
    build_box("trak", &[&build_box("tkhd", &[&tkhd]), &media])
}

fn build_media_information(frames: u32, audio_at: u32) -> Vec<u8> {
    let url = build_box("url ", &[&to_words(&[1])]);
    let dref = build_box("dref", &[&to_words(&[0, 1]), &url]);
    let stsd = [to_words(&[0, 1]), build_sample_entry()].concat();
    let frame_len = u32::try_from(AAC_FRAME.len()).expect("small");
    let tables = [
        build_box("stsd", &[&stsd]),
        build_box("stts", &[&to_words(&[0, 1, frames, AAC_SAMPLES])]),
        build_box("stsc", &[&to_words(&[0, 1, 1, frames, 1])]),
        build_box("stsz", &[&to_words(&[0, frame_len, frames])]),
        build_box("stco", &[&to_words(&[0, 1, audio_at])]),
    ];
    let information = [
        build_box("smhd", &[&to_words(&[0, 0])]),
        build_box("dinf", &[&dref]),
        build_box("stbl", &[&tables.concat()]),
    ];
    build_box("minf", &[&information.concat()])
}

/// Builds the description of the samples: AAC LC, 16 kHz, one channel.
fn build_sample_entry() -> Vec<u8> {
    let audio_specific_config = [0x05, 2, 0x14, 0x08];
    let decoder = [
        &[0x04, 13 + 4, 0x40, 0x15, 0, 0, 0][..],
        &[0; 8],
        &audio_specific_config,
    ]
    .concat();
    let es_length = u8::try_from(3 + decoder.len() + 3).expect("small");
    let esds = [
        &[0, 0, 0, 0, 0x03, es_length, 0, 1, 0][..],
        &decoder,
        &[0x06, 1, 2],
    ]
    .concat();
    let mp4a = [
        &[0, 0, 0, 0, 0, 0, 0, 1][..],
        &[0; 8],
        &[0, 1, 0, 16, 0, 0, 0, 0],
        &to_words(&[AAC_RATE << 16]),
        &build_box("esds", &[&esds]),
    ]
    .concat();
    build_box("mp4a", &[&mp4a])
}

fn to_words(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect()
}

const BOUNDARY: &str = "----sample";

/// Media type of [`form`].
pub const FORM_TYPE: &str = "multipart/form-data; boundary=----sample";

/// Returns a form with a file of this name, as a client sends it.
pub fn form(name: &str, file: &[u8], description: Option<&str>) -> Vec<u8> {
    let mut body = Vec::with_capacity(file.len() + 512);
    let disposition = "Content-Disposition: form-data; name=";
    body.extend(
        format!("--{BOUNDARY}\r\n{disposition}\"audio_file\"; filename=\"{name}\"\r\n").bytes(),
    );
    body.extend(b"Content-Type: audio/mpeg\r\n\r\n");
    body.extend(file);
    if let Some(text) = description {
        body.extend(
            format!("\r\n--{BOUNDARY}\r\n{disposition}\"description\"\r\n\r\n{text}").bytes(),
        );
    }
    body.extend(format!("\r\n--{BOUNDARY}--\r\n").bytes());
    body
}
