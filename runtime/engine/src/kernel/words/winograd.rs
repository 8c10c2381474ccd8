//! 3×3 convolution of words by Winograd's F(4×4, 3×3).
//!
//! Pixels of 8 bits become frequencies by sums of small integers, which fit into words without rounding. The weights' frequencies are
//! rounded to words of [`WEIGHT_BITS`] bits with a step of their own for each frequency and channel out; eight bits would not do,
//! since the way back adds and subtracts numbers much larger than its results. The way back is computed in floats.

use std::ops::Range;

use crate::lower::Clamp;

use super::super::direct::{Cuts, Group};
use super::super::frame::{Format, Frame, Part, Place};
use super::super::winograd::{FREQUENCIES, IN, OUT, Tiling, from_frequencies, position};
use super::Words;
use super::direct::{Scaling, clear_border};
use super::quantise::Grid;
use super::table::WordTileFn;
use super::tile::{Blocks, Outcome, WordTile, finish};

/// Bits of the weights' frequencies, the sign among them.
pub(crate) const WEIGHT_BITS: u32 = 12;

/// A 3×3 layer of words, ready to run.
pub(crate) struct WordWinograd {
    pub(crate) tiling: Tiling,
    /// Its factors are `[frequency][block][LANES]`.
    pub(crate) scaling: Scaling,
    pub(crate) cuts: Cuts<WordTileFn>,
}

/// The transform of a line of pixels (Lavin and Gray 2016, §4.3, `Bᵀ`).
const INTO: [[i32; IN]; IN] = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
];

/// The largest absolute value that each frequency can have of pixels of a grid.
pub(crate) fn largest(grid: Grid) -> [i32; FREQUENCIES] {
    let (low, high) = (i32::from(grid.low), i32::from(grid.high));
    let transform = |row: &[i32; IN], low: i32, high: i32| {
        let sum = |sign: i32| -> i32 { row.iter().map(|c| (c * sign).max(0)).sum() };
        (low * sum(1) - high * sum(-1), high * sum(1) - low * sum(-1))
    };
    std::array::from_fn(|index| {
        let (low, high) = transform(&INTO[index / IN], low, high);
        let (low, high) = transform(&INTO[index % IN], low, high);
        low.abs().max(high.abs())
    })
}

#[inline(always)]
unsafe fn into_frequencies<V: Words>([a, b, c, d, e, f]: [V::W; IN]) -> [V::W; IN] {
    // SAFETY: the caller has the instruction set.
    unsafe {
        let twice = |x: V::W| V::plus(x, x);
        let times4 = |x: V::W| twice(twice(x));
        let times5 = |x: V::W| V::plus(times4(x), x);
        let outer = V::minus(e, times4(c));
        let inner = V::minus(d, times4(b));
        let even = V::minus(e, c);
        let odd = twice(V::minus(d, b));
        [
            V::plus(V::minus(times4(a), times5(c)), e),
            V::plus(outer, inner),
            V::minus(outer, inner),
            V::plus(even, odd),
            V::minus(even, odd),
            V::plus(V::minus(times4(b), times5(d)), f),
        ]
    }
}

/// 6×6 pixels of one block of slots → 36 vectors, `step` apart.
///
/// # Safety
/// `from` is readable for six rows of six vectors, `to` writable for 36 vectors.
#[inline(always)]
pub(crate) unsafe fn gather<V: Words>(from: *const f32, row: usize, to: *mut f32, step: usize) {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut columns = [[V::words(from.cast()); IN]; IN];
        for x in 0..IN {
            let mut pixels = columns[x];
            for y in 0..IN {
                pixels[y] = V::words(from.add(y * row + x * V::LANES).cast());
            }
            columns[x] = into_frequencies::<V>(pixels);
        }
        for y in 0..IN {
            let mut line = columns[0];
            for x in 0..IN {
                line[x] = columns[x][y];
            }
            let line = into_frequencies::<V>(line);
            for x in 0..IN {
                V::put(to.add((y * IN + x) * step).cast(), line[x]);
            }
        }
    }
}

/// One tile of one block of `LANES` channels on the way back. Strides are in floats.
pub(crate) struct WordScatter {
    from: *const f32,
    step: usize,
    scale: *const f32,
    /// From the factors of a frequency to those of the next.
    scale_step: usize,
    bias: *const f32,
    residual: *const f32,
    residual_row: usize,
    residual_format: Format,
    factor: f32,
    output: *mut f32,
    output_row: usize,
    format: Format,
    /// Rows and columns that exist.
    size: [usize; 2],
    clamp: Clamp,
}

impl WordScatter {
    /// # Safety
    /// The fields describe readable and writable memory.
    #[inline(always)]
    pub(crate) unsafe fn compute<V: Words>(&self) {
        // SAFETY: as promised by the caller.
        unsafe {
            let mut columns = [[V::splat(0.0); OUT]; IN];
            for x in 0..IN {
                let mut line = [V::splat(0.0); IN];
                for y in 0..IN {
                    let index = y * IN + x;
                    let sums = V::floats(V::sums(self.from.add(index * self.step).cast()));
                    line[y] = V::mul(sums, V::load(self.scale.add(index * self.scale_step)));
                }
                // Factors of this transform are powers of two: a product is exact, fused with its sum or not.
                columns[x] = from_frequencies::<V>(line);
            }
            let bias = V::load(self.bias);
            for y in 0..OUT {
                if y >= self.size[0] {
                    break;
                }
                let mut line = [V::splat(0.0); IN];
                for x in 0..IN {
                    line[x] = columns[x][y];
                }
                let line = from_frequencies::<V>(line);
                for x in 0..OUT {
                    if x >= self.size[1] {
                        break;
                    }
                    let residual = if self.residual.is_null() {
                        self.residual
                    } else {
                        self.residual.add(y * self.residual_row + x * V::LANES)
                    };
                    finish::<V>(
                        V::add(line[x], bias),
                        (residual, self.residual_format),
                        self.factor,
                        self.clamp,
                        (self.output.add(y * self.output_row + x * V::LANES), self.format),
                    );
                }
            }
        }
    }
}

impl WordWinograd {
    /// # Safety
    /// As for [`super::super::program::Program`]'s tasks; the workspace holds both sides of `tiles` tiles.
    pub(crate) unsafe fn run(
        &self,
        frame: &Frame,
        [input, output]: [&Place; 2],
        residual: Option<&Place>,
        part: Part,
    ) {
        let (ranges, groups) = self.tiling.share(frame, output, part);
        for tiles in ranges {
            // SAFETY: the program was checked for these places; threads differ in their tiles or in their channels out.
            unsafe {
                self.multiply(frame, input, tiles.clone(), groups);
                self.finish(frame, output, residual, tiles, groups);
            }
        }
    }

    /// Pixels to frequencies, and the products of frequencies and weights.
    unsafe fn multiply(&self, frame: &Frame, input: &Place, tiles: Range<usize>, groups: &[Group]) {
        let lanes = frame.kernels.lanes;
        let tiling = &self.tiling;
        let [step, product_step] = tiling.steps;
        let count = tiles.len();
        // SAFETY: the workspace holds FREQUENCIES steps of the input, and behind them those of the output.
        unsafe {
            tiling.gather(frame, frame.kernels.words.gather, input, tiles);
            let products = frame.workspace.add(FREQUENCIES * step);
            for group in groups {
                for &(tile, same, compute) in self.cuts.get(count, group.count) {
                    let to = products.add((group.first * tiling.tiles + tile) * lanes);
                    compute(&WordTile {
                        count: same,
                        input: frame.workspace.add(tile * lanes),
                        input_block: tiling.tiles * lanes,
                        input_row: 0,
                        slots: input.slots(),
                        kernel: [1, 1],
                        weights: frame.weights.add(group.weights),
                        outcome: Outcome::Sums(to, tiling.tiles * lanes),
                        times: FREQUENCIES,
                        strides: [step, tiling.frequency, product_step],
                    });
                }
            }
        }
    }

    /// Products to pixels.
    unsafe fn finish(
        &self,
        frame: &Frame,
        output: &Place,
        residual: Option<&Place>,
        tiles: Range<usize>,
        groups: &[Group],
    ) {
        let lanes = frame.kernels.lanes;
        let scaling = &self.scaling;
        let scale_step = output.channels.div_ceil(lanes) * lanes;
        // SAFETY: see `multiply`; pixels out are those of these tiles and groups.
        unsafe {
            let [pixel_step, step] = self.tiling.steps;
            let products = frame.workspace.add(FREQUENCIES * pixel_step);
            for (index, tile) in tiles.enumerate() {
                let (image, y, x) = position(tile, output);
                let to = frame.map(output, image);
                let add = residual.map(|place| (frame.map(place, image), place.format));
                for group in groups {
                    if y == 0 && x == 0 {
                        clear_border(frame, output, image, *group);
                    }
                    for n in 0..group.count {
                        let block = group.first + n;
                        let at = |map: super::super::frame::Map, format| {
                            Blocks {
                                base: map.at(0, y, x, lanes),
                                step: map.block,
                                first: block,
                                format,
                            }
                            .at(0, lanes)
                        };
                        (frame.kernels.words.scatter)(&WordScatter {
                            from: products.add((block * self.tiling.tiles + index) * lanes),
                            step,
                            scale: frame.weights.add(scaling.scale + block * lanes),
                            scale_step,
                            bias: frame.weights.add(scaling.bias + block * lanes),
                            residual: add
                                .map_or(std::ptr::null(), |(map, format)| at(map, format).cast_const()),
                            residual_row: add.map_or(0, |(map, _)| map.row),
                            residual_format: add.map_or(Format::Floats, |(_, format)| format),
                            factor: scaling.factor,
                            output: at(to, output.format),
                            output_row: to.row,
                            format: output.format,
                            size: [output.height - y, output.width - x],
                            clamp: scaling.clamp,
                        });
                    }
                }
            }
        }
    }
}
