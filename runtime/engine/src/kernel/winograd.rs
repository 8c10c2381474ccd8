//! 3×3 convolution by Winograd's F(4×4, 3×3) (Lavin and Gray 2016): 36 multiplications for 16 pixels instead of 144.

use std::ops::Range;
use std::ptr;

use crate::lower::Clamp;

use super::direct::{Cuts, Group};
use super::frame::{Frame, Map, Part, Place};
use super::simd::Simd;
use super::table::{GatherFn, TileFn};
use super::tile::Tile;

/// Numbers a tile of 6×6 pixels is turned into.
pub(crate) const FREQUENCIES: usize = 36;
/// Side of a tile in, and out.
pub(super) const IN: usize = 6;
pub(super) const OUT: usize = 4;
/// Fewest tiles that are worth a thread of their own.
const TILES_PER_THREAD: usize = 8;
/// Most tiles that go through together.
const MOST_TILES: usize = 32;
/// Floats of a thread's workspace that stay in its own cache.
const WORKSPACE: usize = 48 * 1024;

/// How the tiles of a layer go through their frequencies, in floats or in words.
pub(crate) struct Tiling {
    pub(crate) groups: Vec<Group>,
    /// Floats from the weights of one frequency to those of the next.
    pub(crate) frequency: usize,
    /// Tiles that go through together.
    pub(crate) tiles: usize,
    /// Floats from one frequency to the next in the workspace: of pixels, and of their products behind them.
    pub(crate) steps: [usize; 2],
}

/// A layer, ready to run.
pub(crate) struct Winograd {
    pub(crate) tiling: Tiling,
    /// Offset of `[block][LANES]` in the packed weights.
    pub(crate) bias: usize,
    /// Offset of a vector of zeros for each block of a group.
    pub(crate) zeros: usize,
    pub(crate) cuts: Cuts<TileFn>,
}

/// One of [`Tiling`]'s steps for `blocks` blocks of `tiles` tiles. One vector more than needed: else the frequencies of a tile
/// would fall into the same few sets of the cache.
pub(crate) fn step(blocks: usize, tiles: usize, lanes: usize) -> usize {
    (blocks * tiles + 1) * lanes
}

#[inline(always)]
unsafe fn into_frequencies<V: Simd>([a, b, c, d, e, f]: [V::V; IN]) -> [V::V; IN] {
    // SAFETY: the caller has the instruction set.
    unsafe {
        let (four, minus_four, minus_five) = (V::splat(4.0), V::splat(-4.0), V::splat(-5.0));
        let (two, minus_two) = (V::splat(2.0), V::splat(-2.0));
        let outer = V::fma(minus_four, c, e);
        let inner = V::fma(minus_four, b, d);
        let even = V::sub(e, c);
        let odd = V::sub(d, b);
        [
            V::fma(four, a, V::fma(minus_five, c, e)),
            V::add(outer, inner),
            V::sub(outer, inner),
            V::fma(two, odd, even),
            V::fma(minus_two, odd, even),
            V::fma(four, b, V::fma(minus_five, d, f)),
        ]
    }
}

#[inline(always)]
pub(super) unsafe fn from_frequencies<V: Simd>([a, b, c, d, e, f]: [V::V; IN]) -> [V::V; OUT] {
    // SAFETY: the caller has the instruction set.
    unsafe {
        let (sum, difference) = (V::add(b, c), V::sub(b, c));
        let (far, far_difference) = (V::add(d, e), V::sub(d, e));
        [
            V::add(V::add(a, sum), far),
            V::fma(V::splat(2.0), far_difference, difference),
            V::fma(V::splat(4.0), far, sum),
            V::fma(V::splat(8.0), far_difference, V::add(difference, f)),
        ]
    }
}

/// 6×6 pixels of one block → 36 vectors, `step` apart.
///
/// # Safety
/// `from` is readable for six rows of six vectors, `to` writable for 36 vectors.
#[inline(always)]
pub(crate) unsafe fn gather<V: Simd>(from: *const f32, row: usize, to: *mut f32, step: usize) {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut columns = [[V::splat(0.0); IN]; IN];
        for x in 0..IN {
            let mut pixels = [V::splat(0.0); IN];
            for y in 0..IN {
                pixels[y] = V::load(from.add(y * row + x * V::LANES));
            }
            columns[x] = into_frequencies::<V>(pixels);
        }
        for y in 0..IN {
            let mut line = [V::splat(0.0); IN];
            for x in 0..IN {
                line[x] = columns[x][y];
            }
            let line = into_frequencies::<V>(line);
            for x in 0..IN {
                V::store(to.add((y * IN + x) * step), line[x]);
            }
        }
    }
}

/// One tile of one block on the way back. Strides are in floats.
pub(crate) struct Scatter {
    from: *const f32,
    step: usize,
    bias: *const f32,
    residual: *const f32,
    residual_row: usize,
    output: *mut f32,
    output_row: usize,
    /// Rows and columns that exist.
    size: [usize; 2],
    clamp: Clamp,
}

impl Scatter {
    /// # Safety
    /// The fields describe readable and writable memory.
    #[inline(always)]
    pub(crate) unsafe fn compute<V: Simd>(&self) {
        // SAFETY: as promised by the caller.
        unsafe {
            let mut columns = [[V::splat(0.0); OUT]; IN];
            for x in 0..IN {
                let mut line = [V::splat(0.0); IN];
                for y in 0..IN {
                    line[y] = V::load(self.from.add((y * IN + x) * self.step));
                }
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
                    let mut pixel = V::add(line[x], bias);
                    if !self.residual.is_null() {
                        pixel = V::add(
                            pixel,
                            V::load(self.residual.add(y * self.residual_row + x * V::LANES)),
                        );
                    }
                    V::store(
                        self.output.add(y * self.output_row + x * V::LANES),
                        V::clamp(pixel, self.clamp),
                    );
                }
            }
        }
    }
}

impl Tiling {
    /// How many tiles should go through together when one takes `blocks` blocks, in and out.
    pub(crate) fn tiles(blocks: usize, lanes: usize) -> usize {
        (WORKSPACE / (FREQUENCIES * blocks * lanes)).clamp(TILES_PER_THREAD, MOST_TILES)
    }

    /// Whether threads that compute `tiles` tiles together divide the channels instead.
    pub(crate) fn shares_channels(tiles: usize, threads: usize) -> bool {
        tiles < threads * TILES_PER_THREAD
    }

    /// Floats of workspace that a thread needs.
    pub(crate) fn workspace(&self) -> usize {
        FREQUENCIES * (self.steps[0] + self.steps[1])
    }

    /// Where its weights end, of which a block has `size` floats for a frequency.
    pub(crate) fn end(&self, size: usize) -> usize {
        let last = (FREQUENCIES - 1) * self.frequency;
        let ends = self.groups.iter().map(|g| g.weights + last + g.count * size);
        ends.max().unwrap_or_default()
    }

    /// What a thread takes: tiles that go through together, one range after the other, and the groups for them.
    pub(super) fn share(
        &self,
        frame: &Frame,
        output: &Place,
        part: Part,
    ) -> (impl Iterator<Item = Range<usize>>, &[Group]) {
        let per_image = output.height.div_ceil(OUT) * output.width.div_ceil(OUT);
        let tiles = frame.images() * per_image;
        // Few tiles: all threads take all of them and share the channels out, whose weights are then read once.
        let (tiles, groups) = if part.of > 1 && Self::shares_channels(tiles, part.of) {
            (0..tiles, &self.groups[part.of(self.groups.len())])
        } else {
            (part.of(tiles), &self.groups[..])
        };
        let most = self.tiles;
        let starts = tiles.clone().step_by(most).take_while(|_| !groups.is_empty());
        (
            starts.map(move |start| start..tiles.end.min(start + most)),
            groups,
        )
    }

    /// Pixels of `tiles` to frequencies.
    ///
    /// # Safety
    /// As for [`super::program::Program`]'s tasks; the workspace holds both sides of `tiles` tiles; `gather` is of the frame's kernels.
    pub(super) unsafe fn gather(&self, frame: &Frame, gather: GatherFn, input: &Place, tiles: Range<usize>) {
        let lanes = frame.kernels.lanes;
        // SAFETY: the workspace holds FREQUENCIES steps of the input.
        unsafe {
            for (index, tile) in tiles.enumerate() {
                let (image, y, x) = position(tile, input);
                let map = frame.map(input, image);
                for block in 0..input.blocks(lanes) {
                    let to = frame.workspace.add((block * self.tiles + index) * lanes);
                    gather_tile(lanes, gather, (map, input), block, [y, x], to, self.steps[0]);
                }
            }
        }
    }
}

impl Winograd {
    /// # Safety
    /// As for [`super::program::Program`]'s tasks; the workspace holds both sides of `tiles` tiles.
    pub(crate) unsafe fn run(
        &self,
        frame: &Frame,
        [input, output]: [&Place; 2],
        residual: Option<&Place>,
        clamp: Clamp,
        part: Part,
    ) {
        let (ranges, groups) = self.tiling.share(frame, output, part);
        for tiles in ranges {
            // SAFETY: the program was checked for these places; threads differ in their tiles or in their channels out.
            unsafe {
                self.multiply(frame, input, tiles.clone(), groups);
                self.finish(frame, output, residual, clamp, tiles, groups);
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
            tiling.gather(frame, frame.kernels.gather, input, tiles);
            let products = frame.workspace.add(FREQUENCIES * step);
            for frequency in 0..FREQUENCIES {
                for group in groups {
                    for &(tile, same, compute) in self.cuts.get(count, group.count) {
                        compute(&Tile {
                            count: same,
                            input: frame.workspace.add(frequency * step + tile * lanes),
                            input_block: tiling.tiles * lanes,
                            input_row: 0,
                            channels: input.channels,
                            kernel: [1, 1],
                            weights: frame.weights.add(group.weights + frequency * tiling.frequency),
                            bias: frame.weights.add(self.zeros),
                            residual: ptr::null(),
                            residual_block: 0,
                            output: products
                                .add(frequency * product_step + (group.first * tiling.tiles + tile) * lanes),
                            output_block: tiling.tiles * lanes,
                            clamp: None,
                        });
                    }
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
        clamp: Clamp,
        tiles: Range<usize>,
        groups: &[Group],
    ) {
        let lanes = frame.kernels.lanes;
        // SAFETY: see `multiply`; pixels out are those of these tiles and groups.
        unsafe {
            let [pixel_step, step] = self.tiling.steps;
            let products = frame.workspace.add(FREQUENCIES * pixel_step);
            for (index, tile) in tiles.enumerate() {
                let (image, y, x) = position(tile, output);
                let to = frame.map(output, image);
                let add = residual.map(|place| frame.map(place, image));
                for block in groups.iter().flat_map(|g| g.first..g.first + g.count) {
                    if y == 0 && x == 0 {
                        to.clear_border(output, block, lanes);
                    }
                    (frame.kernels.scatter)(&Scatter {
                        from: products.add((block * self.tiling.tiles + index) * lanes),
                        step,
                        bias: frame.weights.add(self.bias + block * lanes),
                        residual: add.map_or(ptr::null(), |map| map.at(block, y, x, lanes).cast_const()),
                        residual_row: add.map_or(0, |map| map.row),
                        output: to.at(block, y, x, lanes),
                        output_row: to.row,
                        size: [output.height - y, output.width - x],
                        clamp,
                    });
                }
            }
        }
    }
}

/// Image, row and column of the first pixel of a tile.
pub(super) fn position(tile: usize, place: &Place) -> (usize, usize, usize) {
    let across = place.width.div_ceil(OUT);
    let per_image = place.height.div_ceil(OUT) * across;
    let (image, tile) = (tile / per_image, tile % per_image);
    (image, tile / across * OUT, tile % across * OUT)
}

/// `gather`, a [`gather`] of floats or words, from a map, with zeros for what lies beyond its border.
///
/// # Safety
/// `gather` takes vectors of `lanes` floats; `place` is where `map` lies and has a border; `to` is writable for 36 vectors.
unsafe fn gather_tile(
    lanes: usize,
    gather: GatherFn,
    (map, place): (Map, &Place),
    block: usize,
    [y, x]: [usize; 2],
    to: *mut f32,
    step: usize,
) {
    const MOST_LANES: usize = 16;
    let (rows, columns) = (IN.min(place.height + 2 - y), IN.min(place.width + 2 - x));
    // SAFETY: `rows` and `columns` are those of the tile that lie in the map or its border.
    unsafe {
        let from = map.at_padded(block, y, x, 1, lanes);
        if rows == IN && columns == IN {
            return gather(from, map.row, to, step);
        }
        let mut whole = [0.0_f32; IN * IN * MOST_LANES];
        for row in 0..rows {
            let line = whole.as_mut_ptr().add(row * IN * lanes);
            line.copy_from_nonoverlapping(from.add(row * map.row), columns * lanes);
        }
        gather(whole.as_ptr(), IN * lanes, to, step);
    }
}
