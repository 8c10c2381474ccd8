#[allow(clippy::wildcard_imports)]
use std::arch::x86_64::*;

use super::learn::table::learn_kernels;
use super::simd::Simd;
use super::table::kernels;
use super::words::Words;
use super::words::table::word_kernels;

/// AVX-512F: 32 registers of 16 floats. With `VNNI`, products of words are multiplied and added in one instruction.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const VNNI: bool>;

impl<const VNNI: bool> Simd for Avx512<VNNI> {
    type V = __m512;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        // SAFETY: the caller promises the instruction set and 16 readable floats.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m512) {
        // SAFETY: the caller promises the instruction set and 16 writable floats.
        unsafe { _mm512_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn between(v: __m512, x: __m512, low: __m512, high: __m512) -> __m512 {
        // SAFETY: the caller promises the instruction set.
        unsafe {
            let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, low);
            _mm512_maskz_mov_ps(_mm512_mask_cmp_ps_mask::<_CMP_LT_OQ>(above, x, high), v)
        }
    }
}

impl<const VNNI: bool> Words for Avx512<VNNI> {
    type W = __m512i;
    type I = __m512i;

    #[inline(always)]
    unsafe fn spread(from: *const i16) -> __m512i {
        // SAFETY: the caller promises the instruction set and two readable words.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn words(from: *const i16) -> __m512i {
        // SAFETY: the caller promises the instruction set and 32 readable words.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn put(to: *mut i16, v: __m512i) {
        // SAFETY: the caller promises the instruction set and 32 writable words.
        unsafe { _mm512_storeu_si512(to.cast(), v) }
    }
    #[inline(always)]
    unsafe fn plus(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm512_add_epi16(a, b) }
    }
    #[inline(always)]
    unsafe fn minus(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm512_sub_epi16(a, b) }
    }
    #[inline(always)]
    unsafe fn zero() -> __m512i {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller promises the instruction set.
        unsafe {
            if VNNI {
                _mm512_dpwssd_epi32(sum, a, b)
            } else {
                _mm512_add_epi32(sum, _mm512_madd_epi16(a, b))
            }
        }
    }
    #[inline(always)]
    unsafe fn sums(from: *const i32) -> __m512i {
        // SAFETY: the caller promises the instruction set and 16 readable sums.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn put_sums(to: *mut i32, v: __m512i) {
        // SAFETY: the caller promises the instruction set and 16 writable sums.
        unsafe { _mm512_storeu_si512(to.cast(), v) }
    }
    #[inline(always)]
    unsafe fn floats(v: __m512i) -> __m512 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm512_cvtepi32_ps(v) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn narrow(to: *mut i16, v: __m512) {
        // SAFETY: the caller promises the instruction set and 16 writable words.
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(v))) }
    }
    #[inline(always)]
    unsafe fn widen(from: *const i16) -> __m512 {
        // SAFETY: the caller promises the instruction set and 16 readable words.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_loadu_si256(from.cast()))) }
    }
}

kernels!(Avx512<false>, registers: 32, feature: "avx512f");
word_kernels!(Avx512<false>, registers: 32, fused: false, feature: "avx512f,avx512bw");
learn_kernels!(Avx512<false>, channels: 8, blocks: 3, feature: "avx512f");
