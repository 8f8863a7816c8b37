//! The rendering process judges photos, hostile ones among them.

mod files;

use std::fs::File;
use std::io::{Cursor, Seek, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use talktime_kit::Error;
use talktime_verification::domain::PhotoFormat;
use talktime_verification::probe::PhotoRenderer;

use files::{chunk, encode, gradient, insert_chunks, png_data, with_png_dimensions};

/// Renders a file as the service does: the photo, or the code of the refusal.
async fn render(format: PhotoFormat, bytes: &[u8]) -> Result<RgbImage, String> {
    let jpeg = render_bytes(format, bytes).await?;
    let image = image::load_from_memory_with_format(&jpeg, ImageFormat::Jpeg);
    Ok(image.expect("a JPEG").to_rgb8())
}

async fn render_bytes(format: PhotoFormat, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut file: File = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("written");
    file.rewind().expect("rewound");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_talktime-verification"));
    let rendered = PhotoRenderer::new(program, 1).render(format, file).await;
    rendered.map_err(|error| Error::from(error).code().to_owned())
}

#[tokio::test]
async fn each_format_and_colour_is_rendered_at_most_512_pixels_wide_and_high() {
    let image = DynamicImage::ImageRgb8(gradient(1_000, 700));
    for (description, image, format) in [
        ("rgb", image.clone(), ImageFormat::Jpeg),
        (
            "grey",
            DynamicImage::ImageLuma8(image.to_luma8()),
            ImageFormat::Jpeg,
        ),
        ("rgb", image.clone(), ImageFormat::Png),
        (
            "rgba",
            DynamicImage::ImageRgba8(image.to_rgba8()),
            ImageFormat::Png,
        ),
        (
            "16 bits",
            DynamicImage::ImageRgb16(image.to_rgb16()),
            ImageFormat::Png,
        ),
        (
            "grey",
            DynamicImage::ImageLuma8(image.to_luma8()),
            ImageFormat::Png,
        ),
        ("rgb", image.clone(), ImageFormat::WebP),
        (
            "rgba",
            DynamicImage::ImageRgba8(image.to_rgba8()),
            ImageFormat::WebP,
        ),
    ] {
        let photo_format = match format {
            ImageFormat::Jpeg => PhotoFormat::Jpeg,
            ImageFormat::Png => PhotoFormat::Png,
            _ => PhotoFormat::Webp,
        };
        let rendered = render(photo_format, &encode(&image, format)).await;
        let rendered = rendered.unwrap_or_else(|code| panic!("{description} {format:?}: {code}"));
        assert_eq!(
            rendered.dimensions(),
            (512, 358),
            "{description} {format:?}"
        );
    }
}

#[tokio::test]
async fn a_small_photo_keeps_its_size() {
    let png = encode(&gradient(64, 200).into(), ImageFormat::Png);
    let rendered = render(PhotoFormat::Png, &png).await.expect("rendered");
    assert_eq!(rendered.dimensions(), (64, 200));
}

#[tokio::test]
async fn sixteen_megapixels_fit_into_the_limits_and_more_are_refused_unseen() {
    let largest = encode(&gradient(4_096, 4_096).into(), ImageFormat::Jpeg);
    let rendered = render(PhotoFormat::Jpeg, &largest).await.expect("rendered");
    assert_eq!(rendered.dimensions(), (512, 512));
    let blank = encode(&GrayImage::new(8_192, 2_048).into(), ImageFormat::Png);
    let rendered = render(PhotoFormat::Png, &blank).await.expect("rendered");
    assert_eq!(rendered.dimensions(), (512, 128));
    let wide = encode(&GrayImage::new(8_192, 2_049).into(), ImageFormat::Png);
    let refused = render(PhotoFormat::Png, &wide).await;
    assert_eq!(refused.expect_err("too large"), "invalid_photo_size");
}

#[tokio::test]
async fn a_header_that_promises_gigapixels_is_refused_before_it_costs_anything() {
    let png = encode(&gradient(300, 300).into(), ImageFormat::Png);
    let started = Instant::now();
    for (width, height) in [(60_000, 60_000), (8_192, 8_192), (1, 16_777_216)] {
        let bomb = with_png_dimensions(&png, width, height);
        let refused = render(PhotoFormat::Png, &bomb).await;
        let code = refused.expect_err("too large");
        assert_eq!(code, "invalid_photo_size", "{width}x{height}");
    }
    let mut jpeg = encode(&gradient(300, 300).into(), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]);
    let frame = frame.expect("a frame header");
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0xDC, 0xFF, 0xDC]);
    let refused = render(PhotoFormat::Jpeg, &jpeg).await;
    assert_eq!(refused.expect_err("too large"), "invalid_photo_size");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn compressed_metadata_that_expands_to_gigabytes_harms_nobody() {
    let png = encode(&gradient(300, 300).into(), ImageFormat::Png);
    // 64 MiB of zeros in some 64 KiB.
    let zeros = png_data(&encode(
        &GrayImage::new(8_192, 8_192).into(),
        ImageFormat::Png,
    ));
    assert!(zeros.len() < 512 * 1024);
    let text = chunk(*b"zTXt", &[b"Comment\0\0", &zeros[..]].concat());
    let profile = chunk(*b"iCCP", &[b"profile\0\0", &zeros[..]].concat());
    for (description, chunks) in [
        ("texts", vec![text; 20]),
        ("a colour profile", vec![profile]),
    ] {
        let bomb = insert_chunks(&png, &chunks);
        match render(PhotoFormat::Png, &bomb).await {
            Ok(rendered) => assert_eq!(rendered.dimensions(), (300, 300), "{description}"),
            Err(code) => assert_eq!(code, "damaged_photo", "{description}"),
        }
    }
}

#[tokio::test]
async fn truncated_files_and_noise_are_damaged() {
    let image: DynamicImage = gradient(600, 600).into();
    for (format, photo_format) in [
        (ImageFormat::Jpeg, PhotoFormat::Jpeg),
        (ImageFormat::Png, PhotoFormat::Png),
        (ImageFormat::WebP, PhotoFormat::Webp),
    ] {
        let whole = encode(&image, format);
        for tenths in 1..10 {
            let cut = &whole[..whole.len() * tenths / 10];
            let refused = render(photo_format, cut).await;
            let code = refused.expect_err("truncated");
            assert_eq!(code, "damaged_photo", "{tenths} tenths of {format:?}");
        }
        let noise = [&whole[..40], &[0x5A; 5_000]].concat();
        let refused = render(photo_format, &noise).await;
        assert_eq!(refused.expect_err("noise"), "damaged_photo", "{format:?}");
    }
}

#[tokio::test]
async fn a_second_file_behind_or_within_the_picture_is_dropped() {
    let payload = b"<script>alert(1)</script>PK\x03\x04 and a whole archive";
    let image: DynamicImage = gradient(300, 300).into();
    let jpeg = encode(&image, ImageFormat::Jpeg);
    let png = encode(&image, ImageFormat::Png);
    let length = u16::try_from(payload.len() + 2).expect("short");
    let comment = [&[0xFF, 0xFE][..], &length.to_be_bytes(), payload].concat();
    for (format, file) in [
        (PhotoFormat::Jpeg, [&jpeg[..], payload].concat()),
        (
            PhotoFormat::Jpeg,
            [&jpeg[..2], &comment, &jpeg[2..]].concat(),
        ),
        (PhotoFormat::Png, [&png[..], payload].concat()),
        (
            PhotoFormat::Png,
            insert_chunks(
                &png,
                &[chunk(*b"tEXt", &[b"Comment\0", &payload[..]].concat())],
            ),
        ),
    ] {
        assert!(contains(&file, payload));
        let rendered = render_bytes(format, &file).await.expect("rendered");
        assert!(!contains(&rendered, b"script") && !contains(&rendered, b"PK\x03\x04"));
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn a_file_of_another_format_is_not_guessed() {
    let png = encode(&gradient(300, 300).into(), ImageFormat::Png);
    for format in [PhotoFormat::Jpeg, PhotoFormat::Webp] {
        let refused = render(format, &png).await;
        assert_eq!(refused.expect_err("another format"), "damaged_photo");
    }
    let mut gif = Cursor::new(b"GIF89a".to_vec());
    gif.get_mut().resize(5_000, 0);
    let refused = render(PhotoFormat::Png, gif.get_ref()).await;
    assert_eq!(refused.expect_err("another format"), "damaged_photo");
}
