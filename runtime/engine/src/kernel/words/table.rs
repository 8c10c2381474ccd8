//! One table of functions of words for each instruction set.

use super::super::direct::Menu;
use super::super::table::GatherFn;
use super::quantise::Line;
use super::tile::WordTile;
use super::winograd::WordScatter;

/// `P` pixels × `N` blocks of a convolution.
pub(crate) type WordTileFn = unsafe fn(&WordTile);

/// The kernels of words of one instruction set.
pub(crate) struct WordKernels {
    /// Whether a product is added as it is made.
    pub(crate) fused: bool,
    /// By pixels, blocks and stride (1 or 2).
    pub(crate) tile: fn(usize, usize, usize) -> Option<WordTileFn>,
    /// Source, its row stride, destination, its step from frequency to frequency.
    pub(crate) gather: GatherFn,
    pub(crate) scatter: unsafe fn(&WordScatter),
    pub(crate) quantise: unsafe fn(&Line),
}

impl WordKernels {
    /// Tiles for convolutions of a stride.
    pub(crate) fn menu(&self, stride: usize) -> impl Menu<WordTileFn> {
        move |pixels, blocks| {
            (self.tile)(pixels, blocks, stride).map(|tile| (time(pixels, blocks, self.fused), tile))
        }
    }
}

/// Cycles for a slot in, on a core that begins six instructions a cycle, two loads and two products among them; a quarter for what a
/// tile costs besides. A sum may be added to in the next cycle, so that few of them are enough; where products are added as they are
/// made, after five.
fn time(pixels: usize, blocks: usize, fused: bool) -> f32 {
    let products = (pixels * blocks) as f32;
    let loads = (pixels + blocks) as f32;
    let (instructions, wait) = if fused {
        (products, 5.0)
    } else {
        (2.0 * products, 1.0)
    };
    let begun = (instructions + loads + 3.0) / 6.0;
    begun.max(products / 2.0).max(loads / 2.0).max(wait) + 0.25
}

/// The instance of `word_tile` for these pixels and blocks, of those listed and of those that the registers hold.
macro_rules! word_tiles {
    ($pixels:expr, $blocks:expr, $s:literal: $($p:literal)*) => {
        match ($pixels, $blocks) {
            $(
                ($p, 1) if word_fits($p, 1) => Some(word_tile::<{ word_bound($p, 1) }, 1, $s> as WordTileFn),
                ($p, 2) if word_fits($p, 2) => Some(word_tile::<{ word_bound($p, 2) }, 2, $s> as WordTileFn),
                ($p, 3) if word_fits($p, 3) => Some(word_tile::<{ word_bound($p, 3) }, 3, $s> as WordTileFn),
                ($p, 4) if word_fits($p, 4) => Some(word_tile::<{ word_bound($p, 4) }, 4, $s> as WordTileFn),
            )*
            _ => None,
        }
    };
}
pub(crate) use word_tiles;

/// Compiles the kernels of words for one kind of vector, under its target feature, and the table of them.
macro_rules! word_kernels {
    ($simd:ty, registers: $registers:literal, fused: $fused:literal $(, feature: $feature:literal)?) => {
        use super::words::table::{WordKernels, WordTileFn, word_tiles};

        /// As for floats, with one register more for a product before it is added, where it is one of its own.
        const fn word_fits(pixels: usize, blocks: usize) -> bool {
            let held = if pixels < blocks { pixels } else { blocks };
            let spare = if $fused { 2 } else { 3 };
            pixels * blocks + held + spare <= $registers
        }

        /// Tiles that no one asks for are those of one pixel, so that they cost no code.
        const fn word_bound(pixels: usize, blocks: usize) -> usize {
            if word_fits(pixels, blocks) { pixels } else { 1 }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn word_tile<const P: usize, const N: usize, const S: usize>(tile: &super::words::tile::WordTile) {
            // SAFETY: passed on to the caller.
            unsafe { tile.compute::<$simd, P, N, S>() }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn word_gather(from: *const f32, row: usize, to: *mut f32, step: usize) {
            // SAFETY: passed on to the caller.
            unsafe { super::words::winograd::gather::<$simd>(from, row, to, step) }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn word_scatter(tile: &super::words::winograd::WordScatter) {
            // SAFETY: passed on to the caller.
            unsafe { tile.compute::<$simd>() }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn quantise(line: &super::words::quantise::Line) {
            // SAFETY: passed on to the caller.
            unsafe { line.compute::<$simd>() }
        }

        fn pick_word_tile(pixels: usize, blocks: usize, stride: usize) -> Option<WordTileFn> {
            match stride {
                1 => word_tiles!(pixels, blocks, 1: 1 2 3 4 5 6 7 8 12 14 16),
                2 => word_tiles!(pixels, blocks, 2: 1 2 3 4 5 6 7 8 12 14 16),
                _ => None,
            }
        }

        pub(crate) static WORDS: WordKernels = WordKernels {
            fused: $fused,
            tile: pick_word_tile,
            gather: word_gather,
            scatter: word_scatter,
            quantise,
        };
    };
}
pub(crate) use word_kernels;
