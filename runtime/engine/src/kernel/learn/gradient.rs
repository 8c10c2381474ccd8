//! Gradients of weights: products of what a layer read and of the gradient of what it made, summed over all positions.

use crate::kernel::direct::Group;
use crate::kernel::frame::{Frame, Place};
use crate::kernel::simd::Simd;

use super::table::GradientFn;

/// Pixels that are gone through for all elements of a kernel before the next ones, so that they stay in the first cache.
const STRIP: usize = 256;
/// Channels in of a tile, most first.
const CHANNELS: [usize; 4] = [8, 4, 2, 1];

/// `C` channels in × `N` blocks out of one element of a kernel. Strides are in floats.
pub(crate) struct Products {
    /// The first channel of the pixel under the kernel's element.
    pub(crate) input: *const f32,
    /// From row to row of the output.
    pub(crate) input_row: usize,
    pub(crate) gradient: *const f32,
    pub(crate) gradient_block: usize,
    pub(crate) gradient_row: usize,
    pub(crate) rows: usize,
    pub(crate) pixels: usize,
    /// `[channel][block][lane]`, channels `step` apart; added to.
    pub(crate) to: *mut f32,
    pub(crate) step: usize,
}

impl Products {
    /// # Safety
    /// The machine has the instruction set; the fields describe readable memory, `to` writable vectors.
    #[inline(always)]
    pub(crate) unsafe fn compute<V: Simd, const C: usize, const N: usize, const S: usize>(&self) {
        // SAFETY: as promised by the caller.
        unsafe {
            let mut sums = [[V::splat(0.0); N]; C];
            for y in 0..self.rows {
                let input = self.input.add(y * self.input_row);
                let gradient = self.gradient.add(y * self.gradient_row);
                for x in 0..self.pixels {
                    sums = pixel::<V, C, N>(
                        sums,
                        input.add(x * S * V::LANES),
                        gradient.add(x * V::LANES),
                        self.gradient_block,
                    );
                }
            }
            for c in 0..C {
                for n in 0..N {
                    let to = self.to.add(c * self.step + n * V::LANES);
                    V::store(to, V::add(V::load(to), sums[c][n]));
                }
            }
        }
    }
}

/// Sums go in and out by value, as those of a tile do, so that they stay in registers.
#[inline(always)]
unsafe fn pixel<V: Simd, const C: usize, const N: usize>(
    mut sums: [[V::V; N]; C],
    input: *const f32,
    gradient: *const f32,
    block: usize,
) -> [[V::V; N]; C] {
    // SAFETY: as promised by the caller of `Products::compute`.
    unsafe {
        let mut gradients = [V::splat(0.0); N];
        for n in 0..N {
            gradients[n] = V::load(gradient.add(n * block));
        }
        for c in 0..C {
            let value = V::splat(*input.add(c));
            for n in 0..N {
                sums[c][n] = V::fma(value, gradients[n], sums[c][n]);
            }
        }
        sums
    }
}

/// All nine elements of a 3×3 kernel of one block of a depthwise layer. Strides are in floats.
pub(crate) struct DepthwiseProducts {
    /// The pixel under the kernel's first element.
    pub(crate) input: *const f32,
    pub(crate) input_row: usize,
    pub(crate) gradient: *const f32,
    pub(crate) gradient_row: usize,
    pub(crate) rows: usize,
    pub(crate) pixels: usize,
    /// `[element][lane]`, added to.
    pub(crate) to: *mut f32,
}

impl DepthwiseProducts {
    /// # Safety
    /// As for [`Products::compute`].
    #[inline(always)]
    pub(crate) unsafe fn compute<V: Simd, const S: usize>(&self) {
        // SAFETY: as promised by the caller.
        unsafe {
            let mut sums = [V::splat(0.0); 9];
            for y in 0..self.rows {
                let input = self.input.add(y * S * self.input_row);
                let gradient = self.gradient.add(y * self.gradient_row);
                for x in 0..self.pixels {
                    let here = V::load(gradient.add(x * V::LANES));
                    let pixel = input.add(x * S * V::LANES);
                    for tap in 0..9 {
                        let value = V::load(pixel.add(tap / 3 * self.input_row + tap % 3 * V::LANES));
                        sums[tap] = V::fma(value, here, sums[tap]);
                    }
                }
            }
            for tap in 0..9 {
                let to = self.to.add(tap * V::LANES);
                V::store(to, V::add(V::load(to), sums[tap]));
            }
        }
    }
}

/// The gradient of a dense layer's weights, in the order in which they are packed.
pub(crate) struct Dense {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) groups: Vec<Group>,
}

impl Dense {
    /// For the image of `frame`, added to `to`.
    ///
    /// # Safety
    /// The program was checked for these places; `to` is writable as far as the groups reach, and nobody else uses it.
    pub(crate) unsafe fn run(&self, frame: &Frame, [input, gradient]: [&Place; 2], to: *mut f32) {
        let lanes = frame.kernels.lanes;
        let learn = frame.kernels.learn;
        let area = self.kernel[0] * self.kernel[1];
        let rows_at_once = (STRIP / gradient.width).clamp(1, gradient.height);
        let whole = area == 1 && self.stride == 1 && input.border == 0 && gradient.border == 0;
        // SAFETY: offsets stay within the input with its border, the gradient, and the packed weights.
        unsafe {
            let (from, back) = (frame.map(input, 0), frame.map(gradient, 0));
            for y in (0..gradient.height).step_by(rows_at_once) {
                let rows = rows_at_once.min(gradient.height - y);
                let [rows, pixels] = if whole {
                    [1, rows * gradient.width]
                } else {
                    [rows, gradient.width]
                };
                for (group, first) in self.groups.iter().flat_map(|group| {
                    (0..group.count)
                        .step_by(learn.blocks)
                        .map(move |first| (group, first))
                }) {
                    let blocks = learn.blocks.min(group.count - first);
                    let step = group.count * lanes;
                    let mut weights = to.add(group.weights + first * lanes);
                    for block in 0..input.blocks(lanes) {
                        let here = lanes.min(input.channels - block * lanes);
                        for tap in 0..area {
                            let (row, column) = (tap / self.kernel[1], tap % self.kernel[1]);
                            let pixel =
                                from.at_padded(block, y * self.stride + row, column, self.padding, lanes);
                            let mut channel = 0;
                            while channel < here {
                                let (count, compute) = learn.products(here - channel, blocks, self.stride);
                                compute(&Products {
                                    input: pixel.add(channel),
                                    input_row: from.row * self.stride,
                                    gradient: back.at(group.first + first, y, 0, lanes),
                                    gradient_block: back.block,
                                    gradient_row: back.row,
                                    rows,
                                    pixels,
                                    to: weights.add(channel * step),
                                    step,
                                });
                                channel += count;
                            }
                            weights = weights.add(here * step);
                        }
                    }
                }
            }
        }
    }
}

/// The gradient of a depthwise layer's weights.
pub(crate) struct Depthwise {
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    /// Offset of `[block][element][lane]`.
    pub(crate) weights: usize,
}

impl Depthwise {
    /// # Safety
    /// As for [`Dense::run`].
    pub(crate) unsafe fn run(&self, frame: &Frame, [input, gradient]: [&Place; 2], to: *mut f32) {
        let lanes = frame.kernels.lanes;
        let learn = frame.kernels.learn;
        let compute = if self.stride == 1 {
            learn.depthwise
        } else {
            learn.depthwise_strided
        };
        // SAFETY: as for `Dense::run`.
        unsafe {
            let (from, back) = (frame.map(input, 0), frame.map(gradient, 0));
            for block in 0..gradient.blocks(lanes) {
                compute(&DepthwiseProducts {
                    input: from.at_padded(block, 0, 0, self.padding, lanes),
                    input_row: from.row,
                    gradient: back.at(block, 0, 0, lanes),
                    gradient_row: back.row,
                    rows: gradient.height,
                    pixels: gradient.width,
                    to: to.add(self.weights + block * 9 * lanes),
                });
            }
        }
    }
}

/// The gradient of a bias, for the image of `frame`, added to `to`.
///
/// # Safety
/// As for [`Dense::run`].
pub(crate) unsafe fn bias(frame: &Frame, gradient: &Place, to: *mut f32) {
    let lanes = frame.kernels.lanes;
    // SAFETY: as for `Dense::run`.
    unsafe {
        let map = frame.map(gradient, 0);
        for block in 0..gradient.blocks(lanes) {
            for y in 0..gradient.height {
                let row = map.at(block, y, 0, lanes);
                for at in 0..gradient.width * lanes {
                    *to.add(block * lanes + at % lanes) += *row.add(at);
                }
            }
        }
    }
}

/// The widest tile of channels that `left` channels fill, and its place in a table of tiles.
pub(crate) fn widest(left: usize, most: usize) -> (usize, usize) {
    let fits = |(_, count): &(usize, usize)| *count <= left && *count <= most;
    let found = CHANNELS.into_iter().enumerate().find(fits);
    found.map_or((3, 1), |(index, count)| (index, count))
}

/// A table of tiles: by channels as in [`CHANNELS`], by blocks less one, by stride less one.
pub(crate) type Tiles = [[[GradientFn; 2]; 3]; 4];
