//! Photos made in code, and changes that make them hostile.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

/// A picture without large equal areas.
pub(crate) fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let low_byte = |value: u32| u8::try_from(value % 256).expect("small");
        Rgb([low_byte(x), low_byte(y), low_byte(x * y / 7)])
    })
}

pub(crate) fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format).expect("encoded");
    file.into_inner()
}

/// Bytes of the signature and of the header chunk of a PNG.
const PNG_HEAD_BYTES: usize = 8 + 25;

/// The PNG with other dimensions in its header.
pub(crate) fn with_png_dimensions(png: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut header = png[16..PNG_HEAD_BYTES - 4].to_vec();
    header[..4].copy_from_slice(&width.to_be_bytes());
    header[4..8].copy_from_slice(&height.to_be_bytes());
    [&png[..8], &chunk(*b"IHDR", &header), &png[PNG_HEAD_BYTES..]].concat()
}

/// The PNG with more chunks after its header.
pub(crate) fn insert_chunks(png: &[u8], chunks: &[Vec<u8>]) -> Vec<u8> {
    let (head, rest) = png.split_at(PNG_HEAD_BYTES);
    [head, &chunks.concat(), rest].concat()
}

/// The compressed data of a PNG.
pub(crate) fn png_data(png: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut at = 8;
    while let Some([a, b, c, d, name @ ..]) = png.get(at..at + 8) {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        if name == b"IDAT" {
            data.extend_from_slice(&png[at + 8..at + 8 + length]);
        }
        at += length + 12;
    }
    data
}

/// A chunk of a PNG: length, name, content, checksum.
pub(crate) fn chunk(name: [u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("small");
    let named = [&name[..], content].concat();
    [
        &length.to_be_bytes()[..],
        &named,
        &crc32(&named).to_be_bytes(),
    ]
    .concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc = (crc >> 1) ^ (0xEDB8_8320 * carry);
        }
    }
    !crc
}
