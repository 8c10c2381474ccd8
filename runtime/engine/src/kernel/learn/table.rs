//! One table of functions for training for each instruction set.

use super::gradient::{DepthwiseProducts, Products, Tiles, widest};
use super::rows::{Apply, Moments, Slopes, Through};
use super::update::{Frequencies, Sgd};

/// `C` channels in × `N` blocks out of a gradient.
pub(crate) type GradientFn = unsafe fn(&Products);

/// What training needs of one instruction set.
pub(crate) struct LearnKernels {
    /// Most channels in and blocks out of a gradient's tile.
    pub(crate) channels: usize,
    pub(crate) blocks: usize,
    pub(crate) tiles: Tiles,
    pub(crate) depthwise: unsafe fn(&DepthwiseProducts),
    pub(crate) depthwise_strided: unsafe fn(&DepthwiseProducts),
    pub(crate) moments: unsafe fn(&Moments),
    pub(crate) apply: unsafe fn(&Apply),
    pub(crate) slopes: unsafe fn(&Slopes),
    pub(crate) through: unsafe fn(&Through),
    pub(crate) sgd: unsafe fn(&Sgd),
    pub(crate) frequencies: unsafe fn(&Frequencies),
}

impl LearnKernels {
    /// The tile for some of `left` channels in, and `blocks` blocks out: how many channels it takes, and its kernel.
    pub(crate) fn products(&self, left: usize, blocks: usize, stride: usize) -> (usize, GradientFn) {
        let (index, count) = widest(left, self.channels);
        (count, self.tiles[index][blocks - 1][stride - 1])
    }
}

/// Compiles the kernels of training for one kind of vector, under its target feature, and the table of them. Sums of `channels` ×
/// `blocks` vectors have to fit into registers.
macro_rules! learn_kernels {
    ($simd:ty, channels: $channels:literal, blocks: $blocks:literal $(, feature: $feature:literal)?) => {
        use super::learn::table::{GradientFn, LearnKernels};

        $(#[target_feature(enable = $feature)])?
        unsafe fn products<const C: usize, const N: usize, const S: usize>(
            products: &super::learn::gradient::Products,
        ) {
            // SAFETY: passed on to the caller.
            unsafe { products.compute::<$simd, C, N, S>() }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn depthwise<const S: usize>(products: &super::learn::gradient::DepthwiseProducts) {
            // SAFETY: passed on to the caller.
            unsafe { products.compute::<$simd, S>() }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn moments(of: &super::learn::rows::Moments) {
            // SAFETY: passed on to the caller.
            unsafe { of.compute::<$simd>() }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn apply(of: &super::learn::rows::Apply) {
            // SAFETY: passed on to the caller.
            unsafe { of.compute::<$simd>() }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn slopes(of: &super::learn::rows::Slopes) {
            // SAFETY: passed on to the caller.
            unsafe { of.compute::<$simd>() }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn through(of: &super::learn::rows::Through) {
            // SAFETY: passed on to the caller.
            unsafe { of.compute::<$simd>() }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn sgd(of: &super::learn::update::Sgd) {
            // SAFETY: passed on to the caller.
            unsafe { of.compute::<$simd>() }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn frequencies(of: &super::learn::update::Frequencies) {
            // SAFETY: passed on to the caller.
            unsafe { of.compute::<$simd>() }
        }

        /// By blocks; those that are never asked for are of one block, so that they cost no code.
        const fn by_blocks<const C: usize>() -> [[GradientFn; 2]; 3] {
            const fn bound(blocks: usize) -> usize {
                if blocks <= $blocks { blocks } else { 1 }
            }
            [
                [products::<C, 1, 1>, products::<C, 1, 2>],
                [products::<C, { bound(2) }, 1>, products::<C, { bound(2) }, 2>],
                [products::<C, { bound(3) }, 1>, products::<C, { bound(3) }, 2>],
            ]
        }

        pub(crate) static LEARN: LearnKernels = LearnKernels {
            channels: $channels,
            blocks: $blocks,
            tiles: [
                by_blocks::<{ if $channels >= 8 { 8 } else { 1 } }>(),
                by_blocks::<4>(),
                by_blocks::<2>(),
                by_blocks::<1>(),
            ],
            depthwise: depthwise::<1>,
            depthwise_strided: depthwise::<2>,
            moments,
            apply,
            slopes,
            through,
            sgd,
            frequencies,
        };
    };
}
pub(crate) use learn_kernels;
