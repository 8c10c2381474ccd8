#[allow(clippy::wildcard_imports)]
use std::arch::x86_64::*;

use super::learn::table::learn_kernels;
use super::simd::Simd;
use super::table::kernels;
use super::words::Words;
use super::words::table::word_kernels;

/// AVX2 and FMA: 16 registers of 8 floats. With `VNNI`, products of words are multiplied and added in one instruction.
#[derive(Clone, Copy)]
pub(crate) struct Avx2<const VNNI: bool>;

impl<const VNNI: bool> Simd for Avx2<VNNI> {
    type V = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        // SAFETY: the caller promises the instruction set and 8 readable floats.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m256) {
        // SAFETY: the caller promises the instruction set and 8 writable floats.
        unsafe { _mm256_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn between(v: __m256, x: __m256, low: __m256, high: __m256) -> __m256 {
        // SAFETY: the caller promises the instruction set.
        unsafe {
            let (above, below) = (
                _mm256_cmp_ps::<_CMP_GT_OQ>(x, low),
                _mm256_cmp_ps::<_CMP_LT_OQ>(x, high),
            );
            _mm256_and_ps(v, _mm256_and_ps(above, below))
        }
    }
}

impl<const VNNI: bool> Words for Avx2<VNNI> {
    type W = __m256i;
    type I = __m256i;

    #[inline(always)]
    unsafe fn spread(from: *const i16) -> __m256i {
        // SAFETY: the caller promises the instruction set and two readable words.
        unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn words(from: *const i16) -> __m256i {
        // SAFETY: the caller promises the instruction set and 16 readable words.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn put(to: *mut i16, v: __m256i) {
        // SAFETY: the caller promises the instruction set and 16 writable words.
        unsafe { _mm256_storeu_si256(to.cast(), v) }
    }
    #[inline(always)]
    unsafe fn plus(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm256_add_epi16(a, b) }
    }
    #[inline(always)]
    unsafe fn minus(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm256_sub_epi16(a, b) }
    }
    #[inline(always)]
    unsafe fn zero() -> __m256i {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller promises the instruction set.
        unsafe {
            if VNNI {
                _mm256_dpwssd_avx_epi32(sum, a, b)
            } else {
                _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
            }
        }
    }
    #[inline(always)]
    unsafe fn sums(from: *const i32) -> __m256i {
        // SAFETY: the caller promises the instruction set and 8 readable sums.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn put_sums(to: *mut i32, v: __m256i) {
        // SAFETY: the caller promises the instruction set and 8 writable sums.
        unsafe { _mm256_storeu_si256(to.cast(), v) }
    }
    #[inline(always)]
    unsafe fn floats(v: __m256i) -> __m256 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm256_cvtepi32_ps(v) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn narrow(to: *mut i16, v: __m256) {
        // SAFETY: the caller promises the instruction set and 8 writable words; the upper half holds a copy of them.
        unsafe {
            let rounded = _mm256_cvtps_epi32(v);
            let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packs_epi32(rounded, rounded));
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(packed));
        }
    }
    #[inline(always)]
    unsafe fn widen(from: *const i16) -> __m256 {
        // SAFETY: the caller promises the instruction set and 8 readable words.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128(from.cast()))) }
    }
}

kernels!(Avx2<false>, registers: 16, feature: "avx2,fma");
word_kernels!(Avx2<false>, registers: 16, fused: false, feature: "avx2,fma");
learn_kernels!(Avx2<false>, channels: 4, blocks: 2, feature: "avx2,fma");
