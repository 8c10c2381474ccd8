//! Kernels of 8-bit layers.
//!
//! Numbers of 8 bits lie in memory as 16-bit integers, *words*, two channels to a slot. `vpmaddwd` and its like multiply words and add
//! the products of a slot as 32-bit integers, exactly, at twice the products an instruction of floats does; the 8-bit instruction
//! of AVX2, `vpmaddubsw`, does no more in a cycle once its sums are widened, and saturates. Sums are integers and exact, and what
//! follows them is a fixed order of single operations on floats, so all instruction sets give the same bits.

pub(super) mod direct;
pub(super) mod quantise;
pub(super) mod table;
pub(super) mod tile;
pub(super) mod winograd;

use super::simd::Simd;

/// What [`Simd`] lacks for words. Methods are inlined into functions that enable the instruction set.
pub(crate) trait Words: Simd {
    /// `LANES` slots of two words.
    type W: Copy;
    /// `LANES` sums of 32 bits.
    type I: Copy;

    /// The slot at `from`, `LANES` times.
    /// # Safety
    /// The machine has the instruction set, and `from` is readable for two words; so for all methods.
    unsafe fn spread(from: *const i16) -> Self::W;
    /// # Safety
    /// `from` is readable for `2·LANES` words.
    unsafe fn words(from: *const i16) -> Self::W;
    /// # Safety
    /// `to` is writable for `2·LANES` words.
    unsafe fn put(to: *mut i16, v: Self::W);
    /// Wraps around.
    /// # Safety
    /// See [`Words::spread`].
    unsafe fn plus(a: Self::W, b: Self::W) -> Self::W;
    /// Wraps around.
    /// # Safety
    /// See [`Words::spread`].
    unsafe fn minus(a: Self::W, b: Self::W) -> Self::W;
    /// # Safety
    /// See [`Words::spread`].
    unsafe fn zero() -> Self::I;
    /// `sum + a[0]·b[0] + a[1]·b[1]` of each slot.
    /// # Safety
    /// See [`Words::spread`].
    unsafe fn dot(sum: Self::I, a: Self::W, b: Self::W) -> Self::I;
    /// # Safety
    /// `from` is readable for `LANES` sums.
    unsafe fn sums(from: *const i32) -> Self::I;
    /// # Safety
    /// `to` is writable for `LANES` sums.
    unsafe fn put_sums(to: *mut i32, v: Self::I);
    /// The nearest floats.
    /// # Safety
    /// See [`Words::spread`].
    unsafe fn floats(v: Self::I) -> Self::V;
    /// `a·b`, rounded.
    /// # Safety
    /// See [`Words::spread`].
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// Stores the nearest integers, ties to even.
    /// # Safety
    /// The floats are within words; `to` is writable for `LANES` words.
    unsafe fn narrow(to: *mut i16, v: Self::V);
    /// `LANES` words as floats.
    /// # Safety
    /// `from` is readable for `LANES` words.
    unsafe fn widen(from: *const i16) -> Self::V;
}
