use crate::lower::Clamp;

/// Vectors of one instruction set. Methods are inlined into functions that enable it.
pub(crate) trait Simd: Copy + 'static {
    /// `LANES` floats.
    type V: Copy;
    /// Floats of a vector, and channels of a block.
    const LANES: usize;

    /// # Safety
    /// The machine has the instruction set; so for all methods.
    unsafe fn splat(x: f32) -> Self::V;
    /// # Safety
    /// `from` is readable for `LANES` floats.
    unsafe fn load(from: *const f32) -> Self::V;
    /// # Safety
    /// `to` is writable for `LANES` floats.
    unsafe fn store(to: *mut f32, v: Self::V);
    /// `a·b + c`
    /// # Safety
    /// See [`Simd::splat`].
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// # Safety
    /// See [`Simd::splat`].
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// # Safety
    /// See [`Simd::splat`].
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// # Safety
    /// See [`Simd::splat`].
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// # Safety
    /// See [`Simd::splat`].
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;

    /// `v` where `x` lies between `low` and `high`, and is neither; else zero.
    /// # Safety
    /// See [`Simd::splat`].
    unsafe fn between(v: Self::V, x: Self::V, low: Self::V, high: Self::V) -> Self::V;

    /// `v` within `clamp`.
    /// # Safety
    /// See [`Simd::splat`].
    #[inline(always)]
    unsafe fn clamp(v: Self::V, clamp: Clamp) -> Self::V {
        // SAFETY: as promised by the caller.
        unsafe { Self::min(Self::max(v, Self::splat(clamp.low)), Self::splat(clamp.high)) }
    }
}
