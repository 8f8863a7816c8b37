//! Photos made in code.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};

/// A photo with a red upper left quarter on a grey gradient, in the given format.
pub fn encode(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(width, height, |x, y| {
        if x < width / 2 && y < height / 2 {
            return Rgb([255, 0, 0]);
        }
        let shade = u8::try_from((x + y) % 200).expect("small");
        Rgb([shade, shade, shade])
    });
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format).expect("encoded");
    file.into_inner()
}

/// A JPEG with EXIF data: an orientation and a text.
pub fn jpeg_with_exif(width: u32, height: u32, orientation: u8, text: &str) -> Vec<u8> {
    let jpeg = encode(width, height, ImageFormat::Jpeg);
    let exif = exif_segment(orientation, text);
    [&jpeg[..2], &exif, &jpeg[2..]].concat()
}

/// An APP1 segment with a little-endian TIFF of two entries (Exif 2.3, 4.6): the orientation (0x0112) and the
/// description of the image (0x010E).
fn exif_segment(orientation: u8, text: &str) -> Vec<u8> {
    let text = [text.as_bytes(), b"\0"].concat();
    let text_length = u32::try_from(text.len()).expect("short").to_le_bytes();
    let text_offset = 8 + 2 + 2 * 12 + 4_u32;
    let mut tiff = b"II*\0\x08\0\0\0\x02\0".to_vec();
    tiff.extend([0x0E, 0x01, 2, 0]);
    tiff.extend(text_length);
    tiff.extend(text_offset.to_le_bytes());
    tiff.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0]);
    tiff.extend([0; 4]);
    tiff.extend(text);
    let length = u16::try_from(2 + 6 + tiff.len()).expect("short");
    let mut segment = vec![0xFF, 0xE1];
    segment.extend(length.to_be_bytes());
    segment.extend(b"Exif\0\0");
    segment.extend(tiff);
    segment
}
