use meanet_engine as engine;
use snafu::{Snafu, ensure};

use crate::input::InputSpec;

/// RGB images of one size: `[n, 3, height, width]`, values in 0..255, red plane first.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageBatch {
    height: usize,
    width: usize,
    pixels: Pixels,
}

#[derive(Clone, Debug, PartialEq)]
enum Pixels {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
}

/// Why images were refused.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum ImageError {
    /// The count of values is no whole number of images.
    #[snafu(display(
        "failed to take images: {values} values are no whole number of images of 3×{height}×{width}"
    ))]
    Count {
        /// Values given.
        values: usize,
        /// Rows of an image.
        height: usize,
        /// Columns of an image.
        width: usize,
    },
    /// A value is no number, infinite, or outside 0..255.
    #[snafu(display(
        "failed to take images: value {index} is {value}; give pixels as numbers from 0 to 255"
    ))]
    Value {
        /// Position of the first such value.
        index: usize,
        /// The value.
        value: f32,
    },
    /// The images have another size than the network takes.
    #[snafu(display(
        "failed to take images of {height}×{width}: the network takes {expected_height}×{expected_width}"
    ))]
    Size {
        /// Rows given.
        height: usize,
        /// Columns given.
        width: usize,
        /// Rows wanted.
        expected_height: usize,
        /// Columns wanted.
        expected_width: usize,
    },
}

impl ImageBatch {
    /// From bytes; `pixels` is `[n, 3, height, width]`.
    pub fn from_bytes(height: usize, width: usize, pixels: Vec<u8>) -> Result<Self, ImageError> {
        whole(pixels.len(), height, width)?;
        Ok(Self {
            height,
            width,
            pixels: Pixels::Bytes(pixels),
        })
    }

    /// From floats in 0..255; `pixels` is `[n, 3, height, width]`.
    pub fn from_floats(height: usize, width: usize, pixels: Vec<f32>) -> Result<Self, ImageError> {
        whole(pixels.len(), height, width)?;
        // NaN is in no range, so it is caught here too.
        if let Some((index, &value)) = pixels
            .iter()
            .enumerate()
            .find(|(_, v)| !(0.0..=255.0).contains(*v))
        {
            return ValueSnafu { index, value }.fail();
        }
        Ok(Self {
            height,
            width,
            pixels: Pixels::Floats(pixels),
        })
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        let values = match &self.pixels {
            Pixels::Bytes(pixels) => pixels.len(),
            Pixels::Floats(pixels) => pixels.len(),
        };
        values / self.stride()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The images at `rows`, in that order; rows that do not exist are left out.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        fn pick<T: Copy>(pixels: &[T], stride: usize, rows: &[usize]) -> Vec<T> {
            rows.iter()
                .filter_map(|row| pixels.get(row * stride..(row + 1) * stride))
                .flatten()
                .copied()
                .collect()
        }
        let pixels = match &self.pixels {
            Pixels::Bytes(pixels) => Pixels::Bytes(pick(pixels, self.stride(), rows)),
            Pixels::Floats(pixels) => Pixels::Floats(pick(pixels, self.stride(), rows)),
        };
        Self {
            height: self.height,
            width: self.width,
            pixels,
        }
    }

    /// One image as bytes, `[3, height, width]`, floats rounded; `None` past the end.
    #[must_use]
    pub fn bytes(&self, row: usize) -> Option<Vec<u8>> {
        let range = row * self.stride()..(row + 1) * self.stride();
        match &self.pixels {
            Pixels::Bytes(pixels) => pixels.get(range).map(<[u8]>::to_vec),
            Pixels::Floats(pixels) => pixels
                .get(range)
                .map(|p| p.iter().map(|v| v.round() as u8).collect()),
        }
    }

    fn stride(&self) -> usize {
        3 * self.height * self.width
    }

    /// Refuses another size than `spec` says.
    pub(crate) fn fits(&self, spec: &InputSpec) -> Result<(), ImageError> {
        ensure!(
            (self.height, self.width) == (spec.height, spec.width),
            SizeSnafu {
                height: self.height,
                width: self.width,
                expected_height: spec.height,
                expected_width: spec.width
            }
        );
        Ok(())
    }

    /// As the engine takes them.
    pub(crate) fn images(&self) -> engine::Images<'_> {
        match &self.pixels {
            Pixels::Bytes(pixels) => engine::Images::Bytes(pixels),
            Pixels::Floats(pixels) => engine::Images::Floats(pixels),
        }
    }
}

fn whole(values: usize, height: usize, width: usize) -> Result<(), ImageError> {
    let stride = 3_usize
        .checked_mul(height)
        .and_then(|v| v.checked_mul(width))
        .unwrap_or(0);
    ensure!(
        stride > 0 && values.is_multiple_of(stride),
        CountSnafu {
            values,
            height,
            width
        }
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_no_pixels_are_refused() {
        for bad in [f32::NAN, f32::INFINITY, -1.0, 256.0] {
            let mut pixels = vec![0.0; 12];
            pixels[7] = bad;
            let error = ImageBatch::from_floats(2, 2, pixels).unwrap_err().to_string();
            assert!(error.contains("value 7"), "{error}");
        }
        assert!(ImageBatch::from_bytes(2, 2, vec![0; 13]).is_err());
        assert!(ImageBatch::from_bytes(0, 2, vec![]).is_err());
    }

    #[test]
    fn rows_are_chosen_in_order() {
        let batch = ImageBatch::from_bytes(1, 1, vec![0, 0, 0, 1, 1, 1, 2, 2, 2]).unwrap();
        assert_eq!(
            batch.select(&[2, 0, 9]),
            ImageBatch::from_bytes(1, 1, vec![2, 2, 2, 0, 0, 0]).unwrap()
        );
    }
}
