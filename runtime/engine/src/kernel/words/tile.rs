//! The register tile of dense convolutions of words, and where its results go.

use crate::lower::Clamp;

use super::super::frame::Format;
use super::Words;

/// Blocks of `LANES` channels of a value, beginning with that of a tile. Addresses and strides are in floats.
#[derive(Clone, Copy)]
pub(crate) struct Blocks {
    /// The pixel in block 0 of the value.
    pub(crate) base: *mut f32,
    /// From a block of the value to the next.
    pub(crate) step: usize,
    /// The tile's first block of `LANES` channels.
    pub(crate) first: usize,
    pub(crate) format: Format,
}

impl Blocks {
    /// The `n`-th block of `LANES` channels; of words it is half a block of the value.
    ///
    /// # Safety
    /// The value has that block.
    #[inline(always)]
    pub(crate) unsafe fn at(&self, n: usize, lanes: usize) -> *mut f32 {
        let block = self.first + n;
        // SAFETY: as promised by the caller.
        unsafe {
            match self.format {
                Format::Floats => self.base.add(block * self.step),
                Format::Words => self.base.add(block / 2 * self.step + block % 2 * lanes / 2),
            }
        }
    }
}

/// From sums to results: `clamp(sum·scale + bias + residual·factor)`. Results that are stored as words are in their units.
#[derive(Clone, Copy)]
pub(crate) struct Finish {
    /// `[N][LANES]`
    pub(crate) scale: *const f32,
    /// `[N][LANES]`
    pub(crate) bias: *const f32,
    pub(crate) residual: Option<Blocks>,
    pub(crate) factor: f32,
    pub(crate) clamp: Clamp,
    pub(crate) output: Blocks,
}

/// Adds a residual of the format, clamps, and stores in the other format.
///
/// # Safety
/// The machine has the instruction set; `residual`, if any, is readable and `to` writable for `LANES` channels.
#[inline(always)]
pub(crate) unsafe fn finish<V: Words>(
    value: V::V,
    (residual, from): (*const f32, Format),
    factor: f32,
    clamp: Clamp,
    (to, format): (*mut f32, Format),
) {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut value = value;
        if !residual.is_null() {
            let other = match from {
                Format::Floats => V::load(residual),
                Format::Words => V::widen(residual.cast()),
            };
            value = V::add(value, V::mul(other, V::splat(factor)));
        }
        let value = V::clamp(value, clamp);
        match format {
            Format::Floats => V::store(to, value),
            Format::Words => V::narrow(to.cast(), value),
        }
    }
}

/// What becomes of a tile's sums.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    Finish(Finish),
    /// They are stored as they are, blocks this far apart.
    Sums(*mut f32, usize),
}

/// What tiles side by side compute from and to. Strides are in floats, which are as long as slots.
pub(crate) struct WordTile {
    /// Tiles; each begins where the one before ends.
    pub(crate) count: usize,
    /// Slot 0 of the pixel under the kernel's first element, for the tile's first pixel.
    pub(crate) input: *const f32,
    /// From a block of slots to the next.
    pub(crate) input_block: usize,
    pub(crate) input_row: usize,
    /// Slots in.
    pub(crate) slots: usize,
    /// Rows and columns.
    pub(crate) kernel: [usize; 2],
    /// `[block in][row][column][slot in][N][LANES]`
    pub(crate) weights: *const f32,
    pub(crate) outcome: Outcome,
    /// How often all of it is done, with other weights for other pixels.
    pub(crate) times: usize,
    /// From one time to the next: of the input, of the weights, and of sums that are stored.
    pub(crate) strides: [usize; 3],
}

impl WordTile {
    /// Tiles of `P` pixels of a row and `N` blocks of channels out; neighbours out are `S` pixels apart in the input.
    ///
    /// # Safety
    /// The machine has the instruction set, and all that the fields describe lies in memory that nobody writes meanwhile,
    /// and that nobody else reads where this writes.
    #[inline(always)]
    pub(crate) unsafe fn compute<V: Words, const P: usize, const N: usize, const S: usize>(&self) {
        let [input_stride, weight_stride, sum_stride] = self.strides;
        for time in 0..self.times {
            for tile in 0..self.count {
                let from = tile * P * V::LANES;
                // SAFETY: as promised by the caller.
                unsafe {
                    let input = self.input.add(time * input_stride + from * S);
                    let weights = self.weights.add(time * weight_stride);
                    let sums = self.sums::<V, P, N, S>(input, weights);
                    match &self.outcome {
                        Outcome::Finish(to) => Self::finish::<V, P, N>(sums, to, from),
                        Outcome::Sums(to, block) => {
                            let to = to.add(time * sum_stride + from);
                            for p in 0..P {
                                for n in 0..N {
                                    V::put_sums(to.add(n * block + p * V::LANES).cast(), sums[p][n]);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Sums to results, `from` floats behind the first tile's.
    #[inline(always)]
    unsafe fn finish<V: Words, const P: usize, const N: usize>(
        sums: [[V::I; N]; P],
        to: &Finish,
        from: usize,
    ) {
        let lanes = V::LANES;
        // SAFETY: as promised by the caller of `compute`.
        unsafe {
            for n in 0..N {
                let scale = V::load(to.scale.add(n * lanes));
                let bias = V::load(to.bias.add(n * lanes));
                let output = to.output.at(n, lanes).add(from);
                for p in 0..P {
                    let residual = match &to.residual {
                        Some(blocks) => (
                            blocks.at(n, lanes).add(from + p * lanes).cast_const(),
                            blocks.format,
                        ),
                        None => (std::ptr::null(), Format::Floats),
                    };
                    let value = V::add(V::mul(V::floats(sums[p][n]), scale), bias);
                    finish::<V>(
                        value,
                        residual,
                        to.factor,
                        to.clamp,
                        (output.add(p * lanes), to.output.format),
                    );
                }
            }
        }
    }

    /// Products. As in [`super::super::tile::Tile`], sums go by value, and are only reached by indices that are constant once
    /// loops are unrolled.
    #[inline(always)]
    unsafe fn sums<V: Words, const P: usize, const N: usize, const S: usize>(
        &self,
        input: *const f32,
        mut weights: *const f32,
    ) -> [[V::I; N]; P] {
        let lanes = V::LANES;
        // SAFETY: every offset below stays within what the caller describes: P pixels S apart, `kernel` pixels around
        // them, `slots` slots in blocks of `lanes`, and N blocks out.
        unsafe {
            let mut sums = [[V::zero(); N]; P];
            let mut block = input;
            let mut left = self.slots;
            while left > 0 {
                let here = left.min(lanes);
                for row in 0..self.kernel[0] {
                    for column in 0..self.kernel[1] {
                        let pixel = block.add(row * self.input_row + column * lanes);
                        for slot in 0..here {
                            sums = step::<V, P, N, S>(sums, pixel.add(slot), weights);
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

/// One slot in. Of pixels and filters, the fewer are held in registers.
///
/// # Safety
/// `from` is readable for a slot of each pixel, `weights` for N vectors.
#[inline(always)]
unsafe fn step<V: Words, const P: usize, const N: usize, const S: usize>(
    mut sums: [[V::I; N]; P],
    from: *const f32,
    weights: *const f32,
) -> [[V::I; N]; P] {
    // SAFETY: as promised by the caller.
    unsafe {
        if P < N {
            let mut pixels = [V::spread(from.cast()); P];
            for p in 1..P {
                pixels[p] = V::spread(from.add(p * S * V::LANES).cast());
            }
            for n in 0..N {
                let filter = V::words(weights.add(n * V::LANES).cast());
                for p in 0..P {
                    sums[p][n] = V::dot(sums[p][n], pixels[p], filter);
                }
            }
        } else {
            let mut filter = [V::words(weights.cast()); N];
            for n in 1..N {
                filter[n] = V::words(weights.add(n * V::LANES).cast());
            }
            for p in 0..P {
                let pixel = V::spread(from.add(p * S * V::LANES).cast());
                for n in 0..N {
                    sums[p][n] = V::dot(sums[p][n], pixel, filter[n]);
                }
            }
        }
    }
    sums
}
