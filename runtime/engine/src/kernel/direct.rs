//! Dense convolution, straight from the definition.

use std::ptr;

use crate::lower::Clamp;

use super::frame::{Frame, Part, Place};
use super::table::{Kernels, TILE_BLOCKS, TILE_WIDTHS, TileFn};
use super::tile::Tile;

/// Blocks of channels out that one tile computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// Offset of its packed weights.
    pub(crate) weights: usize,
}

/// Tiles of one width, side by side: where they begin in a row, how many they are, and their kernel.
pub(crate) type Piece<F> = (usize, usize, F);

/// The kernels that rows are cut for: by pixels and blocks, the relative time of a tile for a slot in, and the tile.
pub(crate) trait Menu<F> {
    fn tile(&self, pixels: usize, blocks: usize) -> Option<(f32, F)>;
}

impl<F, M: Fn(usize, usize) -> Option<(f32, F)>> Menu<F> for M {
    fn tile(&self, pixels: usize, blocks: usize) -> Option<(f32, F)> {
        self(pixels, blocks)
    }
}

/// Tiles of floats for convolutions of a stride.
pub(crate) fn floats(kernels: &Kernels, stride: usize) -> impl Menu<TileFn> {
    move |pixels, blocks| (kernels.tile)(pixels, blocks, stride).map(|tile| (time(pixels, blocks), tile))
}

/// How rows are cut into tiles, by width and blocks.
pub(crate) struct Cuts<F> {
    narrowest: usize,
    pieces: Vec<[Vec<Piece<F>>; TILE_BLOCKS]>,
}

impl<F> Cuts<F> {
    pub(crate) fn new(menu: &impl Menu<F>, widths: std::ops::RangeInclusive<usize>) -> Self {
        Self {
            narrowest: *widths.start(),
            pieces: widths
                .map(|width| std::array::from_fn(|n| cut(menu, width, n + 1).1))
                .collect(),
        }
    }

    pub(crate) fn get(&self, width: usize, blocks: usize) -> &[Piece<F>] {
        &self.pieces[width - self.narrowest][blocks - 1]
    }
}

/// Relative time of a row of `width` pixels in `blocks` blocks, and the fastest way to cut it. Infinite where no tile is compiled.
fn cut<F>(menu: &impl Menu<F>, width: usize, blocks: usize) -> (f32, Vec<Piece<F>>) {
    let times = TILE_WIDTHS.map(|p| menu.tile(p, blocks).map(|(time, _)| (time, p)));
    let mut best: Vec<(f32, usize)> = vec![(0.0, 0)];
    for end in 1..=width {
        let fits = times.iter().flatten().filter(|(_, p)| *p <= end);
        let choices = fits.map(|(time, p)| (best[end - p].0 + time, *p));
        best.push(choices.fold((f32::INFINITY, 1), |a, b| if b.0 < a.0 { b } else { a }));
    }
    let mut widths = Vec::new();
    let mut end = width;
    while end > 0 {
        widths.push(best[end].1);
        end -= best[end].1;
    }
    // In any order they take as long; wide ones first, so that those of one width lie side by side.
    widths.sort_unstable_by(|a, b| b.cmp(a));
    let mut pieces = Vec::new();
    let mut start = 0;
    for same in widths.chunk_by(|a, b| a == b) {
        let pixels = same[0];
        pieces.extend(
            menu.tile(pixels, blocks)
                .map(|(_, tile)| (start, same.len(), tile)),
        );
        start += pixels * same.len();
    }
    (best[width].0, pieces)
}

/// Cycles for a channel in, on a core that begins two products and two loads a cycle and finishes a product after four; a quarter
/// for what a tile costs besides.
fn time(pixels: usize, blocks: usize) -> f32 {
    let products = (pixels * blocks) as f32 / 2.0;
    let loads = (pixels + blocks) as f32 / 2.0;
    products.max(loads).max(4.0) + 0.25
}

/// How many blocks a tile should compute for rows of `width` pixels and `blocks` blocks in all.
pub(crate) fn best_group<F>(menu: &impl Menu<F>, width: usize, blocks: usize) -> usize {
    let total = |n: usize| {
        let whole = (blocks / n) as f32 * cut(menu, width, n).0;
        whole
            + if blocks.is_multiple_of(n) {
                0.0
            } else {
                cut(menu, width, blocks % n).0
            }
    };
    let choices = (1..=TILE_BLOCKS.min(blocks)).map(|n| (total(n), n));
    choices
        .fold((f32::INFINITY, 1), |a, b| if b.0 < a.0 { b } else { a })
        .1
}

/// What the pixels are that tiles are cut from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walk {
    /// This many rows of the output at once; more than one only for 1×1 convolutions between values without borders.
    Rows(usize),
    /// The images: a matrix times vectors.
    Images,
}

/// A dense layer, ready to run.
pub(crate) struct Direct {
    pub(crate) walk: Walk,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) groups: Vec<Group>,
    /// Offset of `[block][LANES]` in the packed weights.
    pub(crate) bias: usize,
    pub(crate) cuts: Cuts<TileFn>,
}

impl Direct {
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
        let (images, height, width) = match self.walk {
            Walk::Rows(merged) => (frame.images(), output.height / merged, output.width * merged),
            Walk::Images => (1, 1, frame.images()),
        };
        let rows = output.height / height;
        let clamp = (clamp != Clamp::NONE).then_some(clamp);
        for unit in part.of(self.groups.len() * images * height) {
            let (y, rest) = (unit % height * rows, unit / height);
            let (image, group) = (rest % images, self.groups[rest / images]);
            // SAFETY: the program was checked for these places, and units are disjoint rows and blocks of the output.
            unsafe {
                let from = frame.map(input, image);
                let to = frame.map(output, image);
                let add = residual.map(|place| frame.map(place, image));
                if y == 0 {
                    for block in group.first..group.first + group.count {
                        to.clear_border(output, block, lanes);
                    }
                }
                for &(x, count, compute) in self.cuts.get(width, group.count) {
                    compute(&Tile {
                        count,
                        input: from.at_padded(0, y * self.stride, x * self.stride, self.padding, lanes),
                        input_block: from.block,
                        input_row: from.row,
                        channels: input.channels,
                        kernel: self.kernel,
                        weights: frame.weights.add(group.weights),
                        bias: frame.weights.add(self.bias + group.first * lanes),
                        residual: add
                            .map_or(ptr::null(), |map| map.at(group.first, y, x, lanes).cast_const()),
                        residual_block: add.map_or(0, |map| map.block),
                        output: to.at(group.first, y, x, lanes),
                        output_block: to.block,
                        clamp,
                    });
                }
            }
        }
    }
}
