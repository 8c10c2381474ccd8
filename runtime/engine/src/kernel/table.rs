//! One table of functions for each instruction set.

use crate::options::Isa;

use super::depthwise::Row;
use super::learn::table::LearnKernels;
use super::tile::Tile;
use super::words::table::WordKernels;

/// `P` pixels × `N` blocks of a convolution.
pub(crate) type TileFn = unsafe fn(&Tile);
/// Pixels of a row of one block.
pub(crate) type RowFn = unsafe fn(&Row);
/// Source, its row stride, destination, its step from frequency to frequency.
pub(crate) type GatherFn = unsafe fn(*const f32, usize, *mut f32, usize);
/// Back from frequencies to 4×4 pixels.
pub(crate) type ScatterFn = unsafe fn(&super::winograd::Scatter);

/// Widths of tiles that are compiled.
pub(crate) const TILE_WIDTHS: [usize; 11] = [1, 2, 3, 4, 5, 6, 7, 8, 12, 14, 16];
/// Widths of depthwise tiles.
pub(crate) const ROW_WIDTHS: [usize; 4] = [1, 2, 4, 8];
/// Most blocks of a tile.
pub(crate) const TILE_BLOCKS: usize = 4;

/// The kernels of one instruction set. Who holds one may call them: the machine has it.
pub(crate) struct Kernels {
    /// Channels of a block.
    pub(crate) lanes: usize,
    /// By pixels, blocks and stride (1 or 2).
    pub(crate) tile: fn(usize, usize, usize) -> Option<TileFn>,
    /// By pixels and stride; for kernels of 3×3, and for all others.
    pub(crate) row: fn(usize, usize, bool) -> Option<RowFn>,
    pub(crate) gather: GatherFn,
    pub(crate) scatter: ScatterFn,
    /// The same of words.
    pub(crate) words: &'static WordKernels,
    /// What training needs besides.
    pub(crate) learn: &'static LearnKernels,
}

impl Kernels {
    /// `None` where this machine lacks `isa`.
    pub(crate) fn of(isa: Isa) -> Option<&'static Self> {
        if !isa.is_here() {
            return None;
        }
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => Some(&super::avx512_vnni::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Some(&super::avx512::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2Vnni => Some(&super::avx2_vnni::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Some(&super::avx2::KERNELS),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Some(&super::neon::KERNELS),
            Isa::Portable => Some(&super::portable::KERNELS),
            _ => None,
        }
    }
}

/// The instance of `tile` for these pixels and blocks, of those listed and of those that the registers hold.
macro_rules! tiles {
    ($pixels:expr, $blocks:expr, $s:literal: $($p:literal)*) => {
        match ($pixels, $blocks) {
            $(
                ($p, 1) if fits($p, 1) => Some(tile::<{ bound($p, 1) }, 1, $s> as TileFn),
                ($p, 2) if fits($p, 2) => Some(tile::<{ bound($p, 2) }, 2, $s> as TileFn),
                ($p, 3) if fits($p, 3) => Some(tile::<{ bound($p, 3) }, 3, $s> as TileFn),
                ($p, 4) if fits($p, 4) => Some(tile::<{ bound($p, 4) }, 4, $s> as TileFn),
            )*
            _ => None,
        }
    };
}
pub(crate) use tiles;

/// The instance of `row` for these pixels, of those listed.
macro_rules! rows {
    ($pixels:expr, $s:literal, $k:literal: $($p:literal)*) => {
        match $pixels {
            $($p => Some(row::<$p, $s, $k> as RowFn),)*
            _ => None,
        }
    };
}
pub(crate) use rows;

/// Compiles the kernels for one kind of vector, under its target feature, and the table of them.
macro_rules! kernels {
    ($simd:ty, registers: $registers:literal $(, feature: $feature:literal)?) => {
        use super::table::{Kernels, RowFn, TileFn, rows, tiles};

        /// Whether a tile's sums, the fewer of its pixels and filters, and one of the others fit into registers, with one to spare:
        /// with none, the compiler moves sums about.
        const fn fits(pixels: usize, blocks: usize) -> bool {
            let held = if pixels < blocks { pixels } else { blocks };
            pixels * blocks + held + 2 <= $registers
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn tile<const P: usize, const N: usize, const S: usize>(tile: &super::tile::Tile) {
            // SAFETY: passed on to the caller.
            unsafe { tile.compute::<$simd, P, N, S>() }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn row<const P: usize, const S: usize, const K: usize>(row: &super::depthwise::Row) {
            // SAFETY: passed on to the caller.
            unsafe { row.compute::<$simd, P, S, K>() }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn gather(from: *const f32, row: usize, to: *mut f32, step: usize) {
            // SAFETY: passed on to the caller.
            unsafe { super::winograd::gather::<$simd>(from, row, to, step) }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn scatter(tile: &super::winograd::Scatter) {
            // SAFETY: passed on to the caller.
            unsafe { tile.compute::<$simd>() }
        }

        fn pick_tile(pixels: usize, blocks: usize, stride: usize) -> Option<TileFn> {
            match stride {
                1 => tiles!(pixels, blocks, 1: 1 2 3 4 5 6 7 8 12 14 16),
                2 => tiles!(pixels, blocks, 2: 1 2 3 4 5 6 7 8 12 14 16),
                _ => None,
            }
        }

        /// Tiles that no one asks for are those of one pixel, so that they cost no code.
        const fn bound(pixels: usize, blocks: usize) -> usize {
            if fits(pixels, blocks) { pixels } else { 1 }
        }

        fn pick_row(pixels: usize, stride: usize, three: bool) -> Option<RowFn> {
            match (stride, three) {
                (1, true) => rows!(pixels, 1, 3: 1 2 4 8),
                (2, true) => rows!(pixels, 2, 3: 1 2 4 8),
                (1, false) => rows!(pixels, 1, 0: 1 2 4 8),
                (2, false) => rows!(pixels, 2, 0: 1 2 4 8),
                _ => None,
            }
        }

        pub(crate) static KERNELS: Kernels = Kernels {
            lanes: <$simd as Simd>::LANES,
            tile: pick_tile,
            row: pick_row,
            gather,
            scatter,
            words: &WORDS,
            learn: &LEARN,
        };
    };
}
pub(crate) use kernels;
