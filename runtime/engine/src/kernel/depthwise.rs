//! Convolution of each channel by itself.

use crate::lower::Clamp;

use super::frame::{Frame, Map, Part, Place};
use super::simd::Simd;
use super::table::{Kernels, ROW_WIDTHS, RowFn};

/// A depthwise layer, ready to run.
pub(crate) struct Depthwise {
    kernel: [usize; 2],
    stride: usize,
    padding: usize,
    /// Offset of `[block][row][column][LANES]` in the packed weights.
    weights: usize,
    /// Offset of `[block][LANES]`.
    bias: usize,
    /// First column and kernel of each piece of a row.
    pieces: Vec<(usize, RowFn)>,
}

/// Pixels of one row and one block. Strides are in floats.
#[allow(clippy::struct_field_names, reason = "input_row is a distance, as in a tile")]
pub(crate) struct Row {
    input: *const f32,
    input_row: usize,
    kernel: [usize; 2],
    weights: *const f32,
    bias: *const f32,
    residual: *const f32,
    output: *mut f32,
    clamp: Clamp,
}

impl Row {
    /// `P` pixels; `K` is the side of the kernel, 0 for any.
    ///
    /// # Safety
    /// As for [`super::tile::Tile::compute`].
    #[inline(always)]
    pub(crate) unsafe fn compute<V: Simd, const P: usize, const S: usize, const K: usize>(&self) {
        let lanes = V::LANES;
        let [rows, columns] = if K == 0 { self.kernel } else { [K, K] };
        // SAFETY: every offset stays within P pixels out and what the kernel covers of the input for them.
        unsafe {
            let mut sums = [V::load(self.bias); P];
            for row in 0..rows {
                for column in 0..columns {
                    let filter = V::load(self.weights.add((row * columns + column) * lanes));
                    let from = self.input.add(row * self.input_row + column * lanes);
                    for p in 0..P {
                        sums[p] = V::fma(V::load(from.add(p * S * lanes)), filter, sums[p]);
                    }
                }
            }
            for p in 0..P {
                if !self.residual.is_null() {
                    sums[p] = V::add(sums[p], V::load(self.residual.add(p * lanes)));
                }
                V::store(self.output.add(p * lanes), V::clamp(sums[p], self.clamp));
            }
        }
    }
}

impl Depthwise {
    /// `width` is that of the output; strides are 1 or 2.
    pub(crate) fn new(
        kernels: &Kernels,
        [kernel, [stride, padding], [weights, bias]]: [[usize; 2]; 3],
        width: usize,
    ) -> Self {
        let mut pieces = Vec::new();
        let mut x = 0;
        while x < width {
            let pixels = ROW_WIDTHS
                .into_iter()
                .rev()
                .find(|p| *p <= width - x)
                .unwrap_or(1);
            pieces.extend((kernels.row)(pixels, stride, kernel == [3, 3]).map(|compute| (x, compute)));
            x += pixels;
        }
        Self {
            kernel,
            stride,
            padding,
            weights,
            bias,
            pieces,
        }
    }

    /// End of its weights, and of its biases, for `blocks`.
    pub(crate) fn ends(&self, blocks: usize, lanes: usize) -> [usize; 2] {
        let [rows, columns] = self.kernel;
        [
            self.weights + blocks * rows * columns * lanes,
            self.bias + blocks * lanes,
        ]
    }

    /// Least border of the input, for the kernel to find zeros in.
    pub(crate) fn padding(&self) -> usize {
        self.padding
    }

    /// Kernel and stride.
    pub(crate) fn window(&self) -> ([usize; 2], usize) {
        (self.kernel, self.stride)
    }

    /// # Safety
    /// As for [`super::program::Program`]'s tasks.
    pub(crate) unsafe fn run(
        &self,
        frame: &Frame,
        [input, output]: [&Place; 2],
        residual: Option<&Place>,
        clamp: Clamp,
        part: Part,
    ) {
        let lanes = frame.kernels.lanes;
        let blocks = output.blocks(lanes);
        let [rows, columns] = self.kernel;
        for unit in part.of(frame.images() * blocks * output.height) {
            let (y, plane) = (unit % output.height, unit / output.height);
            let (block, image) = (plane % blocks, plane / blocks);
            // SAFETY: the program was checked for these places, and units are disjoint rows of the output.
            unsafe {
                let from: Map = frame.map(input, image);
                let to = frame.map(output, image);
                let add = residual.map(|place| frame.map(place, image));
                if y == 0 {
                    to.clear_border(output, block, lanes);
                }
                for &(x, compute) in &self.pieces {
                    compute(&Row {
                        input: from.at_padded(block, y * self.stride, x * self.stride, self.padding, lanes),
                        input_row: from.row,
                        kernel: self.kernel,
                        weights: frame.weights.add(self.weights + block * rows * columns * lanes),
                        bias: frame.weights.add(self.bias + block * lanes),
                        residual: add.map_or(std::ptr::null(), |map| map.at(block, y, x, lanes).cast_const()),
                        output: to.at(block, y, x, lanes),
                        clamp,
                    });
                }
            }
        }
    }
}
