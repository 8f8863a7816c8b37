//! Audio made in code: silence of any length in each format that samples come in, and bad files.

/// PCM, 8 kHz, mono, 8 bits.
pub fn wav(secs: u32) -> Vec<u8> {
    wav_claiming(secs * WAV_RATE, secs * WAV_RATE)
}

/// A WAV of `bytes` of PCM whose header claims `claimed` of them.
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

/// MPEG-1 layer III, 32 kbit/s, 32 kHz, mono: 144 bytes and 36 ms a frame.
pub fn mp3(secs: u32) -> Vec<u8> {
    let mut frame = vec![0xFF, 0xFB, 0x18, 0xC4];
    frame.resize(144, 0);
    frame.repeat(secs as usize * 1_000 / 36 + 1)
}

/// AAC LC in ADTS, 16 kHz, mono: 64 ms a frame.
pub fn aac(secs: u32) -> Vec<u8> {
    let length = 7 + AAC_FRAME.len();
    let low = |bits: usize| u8::try_from(bits & 0xFF).expect("masked");
    let mut frame = vec![
        0xFF,
        0xF1,
        0x60,
        0x40 | low(length >> 11),
        low(length >> 3),
        low(length << 5) | 0x1F,
        0xFC,
    ];
    frame.extend(AAC_FRAME);
    frame.repeat(aac_frames(secs))
}

/// A frame of silence.
const AAC_FRAME: [u8; 6] = [0x01, 0x18, 0x20, 0x07, 0x00, 0x00];
const AAC_RATE: u32 = 16_000;
const AAC_SAMPLES: u32 = 1_024;

fn aac_frames(secs: u32) -> usize {
    (secs * AAC_RATE).div_ceil(AAC_SAMPLES) as usize
}

/// AAC LC in MP4, with its index before its audio.
pub fn m4a(secs: u32) -> Vec<u8> {
    let frames = aac_frames(secs);
    let ftyp = boxed("ftyp", &[b"M4A ", &0_u32.to_be_bytes()[..], b"M4A isom"]);
    // The index names where the audio begins, and is as long whatever it names.
    let index_len = movie(frames, 0).len();
    let audio_at = ftyp.len() + index_len + 8;
    let index = movie(frames, u32::try_from(audio_at).expect("small"));
    [ftyp, index, boxed("mdat", &[&AAC_FRAME.repeat(frames)])].concat()
}

/// An M4A whose index claims `count` entries and has none of them.
pub fn m4a_claiming(count: u32) -> Vec<u8> {
    let table = boxed("stts", &[&[0; 4], &count.to_be_bytes()]);
    let ftyp = boxed("ftyp", &[b"M4A ", &0_u32.to_be_bytes()[..], b"M4A isom"]);
    let tables = boxed("stbl", &[&table]);
    let media = boxed("mdia", &[&boxed("minf", &[&tables])]);
    [ftyp, boxed("moov", &[&boxed("trak", &[&media])])].concat()
}

fn boxed(name: &str, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u32::try_from(content.len() + 8).expect("small");
    [&length.to_be_bytes()[..], name.as_bytes(), &content].concat()
}

/// One, in 16.16 fixed point.
const ONE: u32 = 0x0001_0000;

fn movie(frames: usize, audio_at: u32) -> Vec<u8> {
    let frames = u32::try_from(frames).expect("small");
    let samples = frames * AAC_SAMPLES;
    let word = |value: u32| value.to_be_bytes();
    let words = |values: &[u32]| -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_be_bytes())
            .collect()
    };
    let matrix = [ONE, 0, 0, 0, ONE, 0, 0, 0, 0x4000_0000];

    let mut mvhd = words(&[0, 0, 0, AAC_RATE, samples, ONE, 0x0100_0000, 0, 0]);
    mvhd.extend(words(&matrix));
    mvhd.extend(words(&[0, 0, 0, 0, 0, 0, 2]));

    let mut tkhd = words(&[7, 0, 0, 1, 0, samples, 0, 0, 0, 0x0100_0000]);
    tkhd.extend(words(&matrix));
    tkhd.extend(words(&[0, 0]));

    let mdhd = words(&[0, 0, 0, AAC_RATE, samples, 0x55C4_0000]);
    let hdlr = [&words(&[0, 0])[..], b"soun", &[0; 12], b"\0"].concat();
    let dinf = boxed(
        "dinf",
        &[&boxed(
            "dref",
            &[&words(&[0, 1]), &boxed("url ", &[&word(1)])],
        )],
    );

    // AudioSpecificConfig: AAC LC, 16 kHz, one channel.
    let specific = [0x05, 2, 0x14, 0x08];
    let decoder = [&[0x04, 13 + 4, 0x40, 0x15, 0, 0, 0][..], &[0; 8], &specific].concat();
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
        &word(AAC_RATE << 16),
        &boxed("esds", &[&esds]),
    ]
    .concat();
    let stsd = [&words(&[0, 1])[..], &boxed("mp4a", &[&mp4a])].concat();
    let frame_len = u32::try_from(AAC_FRAME.len()).expect("small");
    let tables = [
        boxed("stsd", &[&stsd]),
        boxed("stts", &[&words(&[0, 1, frames, AAC_SAMPLES])]),
        boxed("stsc", &[&words(&[0, 1, 1, frames, 1])]),
        boxed("stsz", &[&words(&[0, frame_len, frames])]),
        boxed("stco", &[&words(&[0, 1, audio_at])]),
    ]
    .concat();
    let media_information = [
        boxed("smhd", &[&words(&[0, 0])]),
        dinf,
        boxed("stbl", &[&tables]),
    ]
    .concat();
    let media = [
        boxed("mdhd", &[&mdhd]),
        boxed("hdlr", &[&hdlr]),
        boxed("minf", &[&media_information]),
    ]
    .concat();
    let track = [boxed("tkhd", &[&tkhd]), boxed("mdia", &[&media])].concat();
    boxed(
        "moov",
        &[&boxed("mvhd", &[&mvhd]), &boxed("trak", &[&track])],
    )
}

const BOUNDARY: &str = "----sample";

/// The media type of [`form`].
pub const FORM_TYPE: &str = "multipart/form-data; boundary=----sample";

/// A form with a file, as a client that calls it `name` would send it.
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
