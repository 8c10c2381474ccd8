//! Floats to words.

use super::super::frame::{Frame, Part, Place};
use super::Words;

/// The integers that the numbers of a value are rounded to: `x ≈ q·step`, `low ≤ q ≤ high`, and 0 is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Grid {
    pub(crate) step: f32,
    pub(crate) low: i16,
    pub(crate) high: i16,
}

impl Grid {
    /// 256 integers for the numbers from `low` to `high`, with 0 among them.
    pub(crate) fn new([low, high]: [f32; 2]) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        // A value that was always 0 has any step.
        let step = ((high - low) / 255.0).max(1e-20);
        let least = (low / step).round().clamp(-255.0, 0.0) as i16;
        Self {
            step,
            low: least,
            high: least + 255,
        }
    }
}

/// A row of one block of `LANES` channels. Strides are in floats.
pub(crate) struct Line {
    from: *const f32,
    to: *mut f32,
    pixels: usize,
    grid: Grid,
}

impl Line {
    /// # Safety
    /// The machine has the instruction set; `from` is readable for `pixels` vectors, `to` writable for `LANES` words of each
    /// of as many pixels.
    #[inline(always)]
    pub(crate) unsafe fn compute<V: Words>(&self) {
        // SAFETY: as promised by the caller.
        unsafe {
            let factor = V::splat(1.0 / self.grid.step);
            let low = V::splat(f32::from(self.grid.low));
            let high = V::splat(f32::from(self.grid.high));
            for pixel in 0..self.pixels {
                let value = V::mul(V::load(self.from.add(pixel * V::LANES)), factor);
                V::narrow(
                    self.to.add(pixel * V::LANES).cast(),
                    V::min(V::max(value, low), high),
                );
            }
        }
    }
}

impl Grid {
    /// # Safety
    /// As for [`super::super::program::Program`]'s tasks.
    pub(crate) unsafe fn run(self, frame: &Frame, [input, output]: [&Place; 2], part: Part) {
        let lanes = frame.kernels.lanes;
        let blocks = input.blocks(lanes);
        for unit in part.of(frame.images() * blocks * output.height) {
            let (y, plane) = (unit % output.height, unit / output.height);
            let (block, image) = (plane % blocks, plane / blocks);
            // SAFETY: the program was checked for these places, and units are disjoint half rows of the output.
            unsafe {
                let to = frame.map(output, image);
                if y == 0 && block.is_multiple_of(2) {
                    to.clear_border(output, block / 2, lanes);
                }
                (frame.kernels.words.quantise)(&Line {
                    from: frame.map(input, image).at(block, y, 0, lanes),
                    to: to.at(block / 2, y, 0, lanes).add(block % 2 * lanes / 2),
                    pixels: output.width,
                    grid: self,
                });
            }
        }
    }
}
