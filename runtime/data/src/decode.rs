use std::io::Cursor;

use image::imageops::FilterType;
use image::{ImageReader, Limits};
use snafu::{ResultExt, Snafu, ensure};

/// Longest side of an image that is decoded, in pixels.
pub const MAX_SIDE: u32 = 4096;
/// Most memory a decoder may take, in bytes: an RGBA image of 4096×4096 and room to work.
const MAX_ALLOCATION: u64 = 192 << 20;

/// Why bytes gave no image.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are no PNG and no JPEG.
    #[snafu(display("failed to decode an image: it is neither PNG nor JPEG"))]
    Kind,
    /// The image is larger than is decoded.
    #[snafu(display(
        "failed to decode an image of {width}×{height} pixels: at most {MAX_SIDE}×{MAX_SIDE} are taken; scale it down"
    ))]
    TooLarge {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The image is cut off or damaged.
    #[snafu(display("failed to decode an image: {source}"))]
    Damaged {
        /// What the decoder says.
        source: image::ImageError,
    },
}

/// Decodes a PNG or JPEG and scales it (bilinear) to `[3, height, width]`, red plane first. The size is checked before
/// pixels are decoded.
pub fn decode(bytes: &[u8], height: usize, width: usize) -> Result<Vec<u8>, DecodeError> {
    let reader = || {
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
        reader.format().is_some().then_some(reader)
    };
    let size = reader()
        .ok_or(DecodeError::Kind)?
        .into_dimensions()
        .context(DamagedSnafu)?;
    ensure!(
        size.0 <= MAX_SIDE && size.1 <= MAX_SIDE,
        TooLargeSnafu {
            width: size.0,
            height: size.1
        }
    );
    let mut reader = reader().ok_or(DecodeError::Kind)?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_ALLOCATION);
    reader.limits(limits);
    let mut image = reader.decode().context(DamagedSnafu)?.into_rgb8();
    if image.dimensions() != (width as u32, height as u32) {
        image = image::imageops::resize(&image, width as u32, height as u32, FilterType::Triangle);
    }
    let mut planes = vec![0; 3 * height * width];
    for (position, pixel) in image.pixels().enumerate() {
        for (channel, &value) in pixel.0.iter().enumerate() {
            planes[channel * height * width + position] = value;
        }
    }
    Ok(planes)
}

/// Encodes `[3, height, width]` as a PNG, as clients send it.
///
/// # Errors
/// What the encoder says; an error as well when `pixels` has another length.
pub fn encode_png(pixels: &[u8], height: usize, width: usize) -> Result<Vec<u8>, DecodeError> {
    let plane = height * width;
    let interleaved: Vec<u8> = (0..plane)
        .flat_map(|i| (0..3).map(move |c| pixels.get(c * plane + i).copied().unwrap_or(0)))
        .collect();
    let mut bytes = Vec::new();
    image::write_buffer_with_format(
        &mut Cursor::new(&mut bytes),
        &interleaved,
        width as u32,
        height as u32,
        image::ExtendedColorType::Rgb8,
        image::ImageFormat::Png,
    )
    .context(DamagedSnafu)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_png_comes_back_as_it_went() {
        let pixels: Vec<u8> = (0..3 * 6 * 5).map(|v| v as u8).collect();
        assert_eq!(decode(&encode_png(&pixels, 6, 5).unwrap(), 6, 5).unwrap(), pixels);
        assert_eq!(
            decode(&encode_png(&pixels, 6, 5).unwrap(), 32, 32).unwrap().len(),
            3 * 32 * 32
        );
    }

    #[test]
    fn a_cut_image_is_an_error() {
        let bytes = encode_png(&[7; 3 * 16 * 16], 16, 16).unwrap();
        for end in 0..bytes.len() - 12 {
            assert!(decode(&bytes[..end], 16, 16).is_err(), "{end}");
        }
    }

    #[test]
    fn a_huge_image_is_refused_by_its_header() {
        let mut bytes = encode_png(&[7; 3], 1, 1).unwrap();
        // Width and height of IHDR, and its checksum.
        bytes[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        let crc = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        let error = decode(&bytes, 32, 32).unwrap_err().to_string();
        assert!(error.contains("65536×65536"), "{error}");
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
            })
        })
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048), kind in 0..3) {
            let magic: &[u8] = match kind { 0 => b"", 1 => b"\x89PNG\r\n\x1a\n", _ => b"\xff\xd8\xff\xe0" };
            let _ = decode(&[magic, &bytes].concat(), 8, 8);
        }
    }
}
