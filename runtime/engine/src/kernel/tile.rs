//! The register tile of dense convolutions.

use crate::lower::Clamp;

use super::simd::Simd;

/// What tiles side by side compute from and to. Strides are in floats.
pub(crate) struct Tile {
    /// Tiles; each begins where the one before ends.
    pub(crate) count: usize,
    /// Channel 0 of the pixel under the kernel's first element, for the tile's first pixel.
    pub(crate) input: *const f32,
    /// From a block of channels to the next.
    pub(crate) input_block: usize,
    pub(crate) input_row: usize,
    /// Channels in.
    pub(crate) channels: usize,
    /// Rows and columns.
    pub(crate) kernel: [usize; 2],
    /// `[block in][row][column][channel in][N][LANES]`
    pub(crate) weights: *const f32,
    /// `[N][LANES]`
    pub(crate) bias: *const f32,
    /// Added to the result; null for nothing.
    pub(crate) residual: *const f32,
    pub(crate) residual_block: usize,
    pub(crate) output: *mut f32,
    pub(crate) output_block: usize,
    /// Null bounds for sums that are not results yet.
    pub(crate) clamp: Option<Clamp>,
}

impl Tile {
    /// Tiles of `P` pixels of a row and `N` blocks of channels out; neighbours out are `S` pixels apart in the input.
    ///
    /// # Safety
    /// The machine has the instruction set, and all that the fields describe lies in memory that nobody writes meanwhile,
    /// and that nobody else reads where this writes.
    #[inline(always)]
    pub(crate) unsafe fn compute<V: Simd, const P: usize, const N: usize, const S: usize>(&self) {
        for tile in 0..self.count {
            // SAFETY: as promised by the caller.
            unsafe { self.compute_one::<V, P, N, S>(tile * P * V::LANES) };
        }
    }

    /// The tile that begins `from` floats behind the first one's results.
    #[inline(always)]
    unsafe fn compute_one<V: Simd, const P: usize, const N: usize, const S: usize>(&self, from: usize) {
        // SAFETY: as promised by the caller.
        unsafe {
            let mut sums = self.sums::<V, P, N, S>(self.input.add(from * S));
            if !self.residual.is_null() {
                let residual = self.residual.add(from);
                for p in 0..P {
                    for n in 0..N {
                        let other = V::load(residual.add(n * self.residual_block + p * V::LANES));
                        sums[p][n] = V::add(sums[p][n], other);
                    }
                }
            }
            if let Some(clamp) = self.clamp {
                for p in 0..P {
                    for n in 0..N {
                        sums[p][n] = V::clamp(sums[p][n], clamp);
                    }
                }
            }
            let output = self.output.add(from);
            for p in 0..P {
                for n in 0..N {
                    V::store(output.add(n * self.output_block + p * V::LANES), sums[p][n]);
                }
            }
        }
    }

    /// Bias and products. The sums go in and out by value, and are only ever reached by indices that are constant once loops are
    /// unrolled: else the compiler keeps them in memory, at twice the time.
    #[inline(always)]
    unsafe fn sums<V: Simd, const P: usize, const N: usize, const S: usize>(
        &self,
        input: *const f32,
    ) -> [[V::V; N]; P] {
        let lanes = V::LANES;
        // SAFETY: every offset below stays within what the caller describes: P pixels S apart, `kernel` pixels around
        // them, `channels` channels in blocks of `lanes`, and N blocks out.
        unsafe {
            let mut sums = [[V::splat(0.0); N]; P];
            for n in 0..N {
                let bias = V::load(self.bias.add(n * lanes));
                for p in 0..P {
                    sums[p][n] = bias;
                }
            }
            let mut weights = self.weights;
            let mut block = input;
            let mut left = self.channels;
            while left > 0 {
                let here = left.min(lanes);
                for row in 0..self.kernel[0] {
                    for column in 0..self.kernel[1] {
                        let pixel = block.add(row * self.input_row + column * lanes);
                        for channel in 0..here {
                            sums = step::<V, P, N, S>(sums, pixel.add(channel), weights);
                            weights = weights.add(N * lanes);
                        }
                    }
                }
                block = block.add(self.input_block);
                left -= here;
            }
            sums
        }
    }
}

/// One channel in. Of pixels and filters, the fewer are held in registers: 3 pixels × 4 blocks just fit into 16.
///
/// # Safety
/// `from` is readable for a float of each pixel, `weights` for N vectors.
#[inline(always)]
unsafe fn step<V: Simd, const P: usize, const N: usize, const S: usize>(
    mut sums: [[V::V; N]; P],
    from: *const f32,
    weights: *const f32,
) -> [[V::V; N]; P] {
    // SAFETY: as promised by the caller.
    unsafe {
        if P < N {
            let mut pixels = [V::splat(0.0); P];
            for p in 0..P {
                pixels[p] = V::splat(*from.add(p * S * V::LANES));
            }
            for n in 0..N {
                let filter = V::load(weights.add(n * V::LANES));
                for p in 0..P {
                    sums[p][n] = V::fma(pixels[p], filter, sums[p][n]);
                }
            }
        } else {
            let mut filter = [V::splat(0.0); N];
            for n in 0..N {
                filter[n] = V::load(weights.add(n * V::LANES));
            }
            for p in 0..P {
                let x = V::splat(*from.add(p * S * V::LANES));
                for n in 0..N {
                    sums[p][n] = V::fma(x, filter[n], sums[p][n]);
                }
            }
        }
    }
    sums
}
