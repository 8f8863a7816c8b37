//! Decodes a photo and encodes it again, small and without metadata, so that nothing of the uploaded file reaches
//! other users: no EXIF with a place, no second file behind the picture.

use std::fs::File;
use std::io::{BufReader, Read, Seek, Write, stdout};
use std::path::PathBuf;

use image::codecs::jpeg::JpegEncoder;
use image::error::{ImageError, LimitErrorKind};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, Rgb, RgbImage};
use serde::{Deserialize, Serialize};
use talktime_kit::Error;

use super::sandbox::{ProcessSandbox, enter_limits};
use crate::domain::{
    PhotoFormat, SIDE_PIXELS_MAX, STORED_PIXELS_MAX, UploadFormat, VerificationError,
    has_accepted_dimensions,
};

/// The command of the rendering process.
const COMMAND: &str = "render-photo";
/// Memory that a decoder may allocate, bytes. It leaves room in the memory of the process for the encoder.
const DECODER_BYTES_MAX: u64 = 160 * 1024 * 1024;
/// Largest rendered photo, bytes; 512 x 512 pixels without compression are 768 KiB.
const RENDERED_BYTES_MAX: u64 = 1024 * 1024;
const JPEG_QUALITY: u8 = 85;

/// The result of the rendering process, which precedes the rendered photo in its output.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum PhotoRenderVerdict {
    Rendered,
    Damaged,
    Unsupported,
    InvalidSize,
}

impl PhotoRenderVerdict {
    fn refusal(self) -> Option<VerificationError> {
        match self {
            Self::Rendered => None,
            Self::Damaged => Some(VerificationError::DamagedPhoto),
            Self::Unsupported => Some(VerificationError::UnsupportedPhoto),
            Self::InvalidSize => Some(VerificationError::InvalidPhotoSize),
        }
    }
}

/// Renders photos; cheap to clone.
#[derive(Clone)]
pub struct PhotoRenderer(ProcessSandbox);

impl PhotoRenderer {
    /// Returns a renderer that runs `program render-photo …`, in at most `processes_max` concurrent processes.
    pub fn new(program: PathBuf, processes_max: usize) -> Self {
        Self(ProcessSandbox::new(program, processes_max))
    }

    /// Renders a photo as a JPEG of at most 512 x 512 pixels. Refuses a file that is not entirely of this format
    /// or too large. The file is read from its current position.
    pub async fn render(
        &self,
        format: PhotoFormat,
        file: File,
    ) -> Result<Vec<u8>, VerificationError> {
        let command = [COMMAND, format.extension()];
        let Some(mut output) = self.0.run(command, file, RENDERED_BYTES_MAX).await? else {
            return Err(VerificationError::DamagedPhoto);
        };
        let head = output.iter().position(|byte| *byte == b'\n');
        let head = head.ok_or_else(|| Error::internal("a renderer wrote no verdict"))?;
        let verdict: PhotoRenderVerdict =
            serde_json::from_slice(&output[..head]).map_err(Error::internal)?;
        match verdict.refusal() {
            Some(refusal) => Err(refusal),
            None => Ok(output.split_off(head + 1)),
        }
    }
}

/// Runs the command `render-photo`: renders the file on standard input to standard output within the limits of the
/// process.
pub fn run(extension: &str) -> anyhow::Result<()> {
    let format = PhotoFormat::from_extension(extension);
    let format = format.ok_or_else(|| anyhow::anyhow!("unknown format {extension}"))?;
    let file = enter_limits()?;
    let rendered = render_file(format, file);
    let verdict = rendered.as_ref().err().copied();
    let mut out = stdout().lock();
    serde_json::to_writer(&mut out, &verdict.unwrap_or(PhotoRenderVerdict::Rendered))?;
    out.write_all(b"\n")?;
    if let Ok(jpeg) = rendered {
        out.write_all(&jpeg)?;
    }
    out.flush()?;
    Ok(())
}

fn render_file(format: PhotoFormat, file: File) -> Result<Vec<u8>, PhotoRenderVerdict> {
    let mut source = BufReader::new(file);
    if format == PhotoFormat::Jpeg && !has_jpeg_end(&mut source).unwrap_or(false) {
        return Err(PhotoRenderVerdict::Damaged);
    }
    let image = decode(format, source)?;
    let side = STORED_PIXELS_MAX;
    let image = if image.width().max(image.height()) > side {
        image.thumbnail(side, side)
    } else {
        image
    };
    encode(&flatten(&image)).ok_or(PhotoRenderVerdict::Damaged)
}

fn decode(
    format: PhotoFormat,
    source: BufReader<File>,
) -> Result<DynamicImage, PhotoRenderVerdict> {
    let mut reader = ImageReader::with_format(source, image_format(format));
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODER_BYTES_MAX);
    limits.max_image_width = Some(SIDE_PIXELS_MAX);
    limits.max_image_height = Some(SIDE_PIXELS_MAX);
    reader.limits(limits);
    let mut decoder = reader
        .into_decoder()
        .map_err(|error| classify_error(&error))?;
    let (width, height) = decoder.dimensions();
    if !has_accepted_dimensions(width, height) {
        return Err(PhotoRenderVerdict::InvalidSize);
    }
    // The orientation is part of the EXIF data, which the rendered photo does not have.
    let orientation = decoder.orientation();
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| classify_error(&error))?;
    if let Ok(orientation) = orientation {
        image.apply_orientation(orientation);
    }
    Ok(image)
}

fn image_format(format: PhotoFormat) -> ImageFormat {
    match format {
        PhotoFormat::Jpeg => ImageFormat::Jpeg,
        PhotoFormat::Png => ImageFormat::Png,
        PhotoFormat::Webp => ImageFormat::WebP,
    }
}

fn classify_error(error: &ImageError) -> PhotoRenderVerdict {
    match error {
        ImageError::Unsupported(_) => PhotoRenderVerdict::Unsupported,
        ImageError::Limits(limit) if limit.kind() == LimitErrorKind::DimensionError => {
            PhotoRenderVerdict::InvalidSize
        }
        _ => PhotoRenderVerdict::Damaged,
    }
}

/// Puts an image with transparent parts on a white background, since JPEG has no transparency.
fn flatten(image: &DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.to_rgb8();
    }
    let rgba = image.to_rgba8();
    let mut flat = RgbImage::new(rgba.width(), rgba.height());
    for (target, source) in flat.pixels_mut().zip(rgba.pixels()) {
        let [red, green, blue, alpha] = source.0;
        let blend = |channel: u8| {
            let (channel, alpha) = (u16::from(channel), u16::from(alpha));
            u8::try_from((channel * alpha + 255 * (255 - alpha)) / 255).unwrap_or(u8::MAX)
        };
        *target = Rgb([blend(red), blend(green), blend(blue)]);
    }
    flat
}

fn encode(image: &RgbImage) -> Option<Vec<u8>> {
    let mut jpeg = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY);
    encoder.encode_image(image).ok()?;
    Some(jpeg)
}

/// Returns whether a JPEG has an end-of-image marker after the beginning of its first scan. The decoder fills the
/// missing part of a truncated file with grey instead of refusing it. The reader is rewound afterwards.
fn has_jpeg_end(source: &mut (impl Read + Seek)) -> std::io::Result<bool> {
    let mut bytes = Vec::new();
    source
        .by_ref()
        .take(PhotoFormat::BYTES_MAX)
        .read_to_end(&mut bytes)?;
    source.rewind()?;
    let scan = find_first_scan(&bytes);
    Ok(scan.is_some_and(|scan| bytes[scan..].windows(2).any(|pair| pair == [0xFF, 0xD9])))
}

/// Finds the offset of the first scan by the lengths of the segments before it, which may contain thumbnails with
/// scans and ends of their own.
fn find_first_scan(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        let [0xFF, marker, high, low] = *bytes.get(at..at + 4)? else {
            return None;
        };
        match marker {
            0xDA => return Some(at),
            // A fill byte.
            0xFF => at += 1,
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transparent_parts_become_white() {
        let rgba = image::RgbaImage::from_fn(2, 1, |x, _| {
            image::Rgba([10, 20, 30, if x == 0 { 0 } else { 255 }])
        });
        let flat = flatten(&DynamicImage::ImageRgba8(rgba));
        assert_eq!(flat.get_pixel(0, 0).0, [255, 255, 255]);
        assert_eq!(flat.get_pixel(1, 0).0, [10, 20, 30]);
    }

    #[test]
    fn the_end_of_a_thumbnail_is_not_the_end_of_the_photo() {
        let thumbnail = [0xFF, 0xE1, 0, 6, 0xFF, 0xDA, 0xFF, 0xD9];
        let start = [&[0xFF, 0xD8][..], &thumbnail, &[0xFF, 0xDA, 0, 2, 1, 2]].concat();
        let has_end = |bytes: &[u8]| has_jpeg_end(&mut std::io::Cursor::new(bytes)).expect("read");
        assert!(!has_end(&start));
        assert!(has_end(&[&start[..], &[0xFF, 0xD9]].concat()));
        assert!(has_end(
            &[&start[..], &[0xFF, 0xD9], b"PK\x03\x04"].concat()
        ));
    }
}
