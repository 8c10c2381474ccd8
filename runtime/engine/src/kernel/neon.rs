use std::arch::aarch64::*;

use super::learn::table::learn_kernels;
use super::simd::Simd;
use super::table::kernels;
use super::words::Words;
use super::words::table::word_kernels;

/// NEON: 32 registers of 4 floats.
#[derive(Clone, Copy)]
pub(crate) struct Neon;

impl Simd for Neon {
    type V = float32x4_t;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> float32x4_t {
        // SAFETY: the caller promises the instruction set.
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> float32x4_t {
        // SAFETY: the caller promises the instruction set and 4 readable floats.
        unsafe { vld1q_f32(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: float32x4_t) {
        // SAFETY: the caller promises the instruction set and 4 writable floats.
        unsafe { vst1q_f32(to, v) }
    }
    #[inline(always)]
    unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: the caller promises the instruction set.
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the caller promises the instruction set.
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the caller promises the instruction set.
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the caller promises the instruction set.
        unsafe { vmaxq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the caller promises the instruction set.
        unsafe { vminq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn between(v: float32x4_t, x: float32x4_t, low: float32x4_t, high: float32x4_t) -> float32x4_t {
        // SAFETY: the caller promises the instruction set.
        unsafe {
            let there = vandq_u32(vcgtq_f32(x, low), vcltq_f32(x, high));
            vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), there))
        }
    }
}

impl Words for Neon {
    type W = int16x8_t;
    type I = int32x4_t;

    #[inline(always)]
    unsafe fn spread(from: *const i16) -> int16x8_t {
        // SAFETY: the caller promises the instruction set and two readable words.
        unsafe { vreinterpretq_s16_s32(vdupq_n_s32(from.cast::<i32>().read_unaligned())) }
    }
    #[inline(always)]
    unsafe fn words(from: *const i16) -> int16x8_t {
        // SAFETY: the caller promises the instruction set and 8 readable words.
        unsafe { vld1q_s16(from) }
    }
    #[inline(always)]
    unsafe fn put(to: *mut i16, v: int16x8_t) {
        // SAFETY: the caller promises the instruction set and 8 writable words.
        unsafe { vst1q_s16(to, v) }
    }
    #[inline(always)]
    unsafe fn plus(a: int16x8_t, b: int16x8_t) -> int16x8_t {
        // SAFETY: the caller promises the instruction set.
        unsafe { vaddq_s16(a, b) }
    }
    #[inline(always)]
    unsafe fn minus(a: int16x8_t, b: int16x8_t) -> int16x8_t {
        // SAFETY: the caller promises the instruction set.
        unsafe { vsubq_s16(a, b) }
    }
    #[inline(always)]
    unsafe fn zero() -> int32x4_t {
        // SAFETY: the caller promises the instruction set.
        unsafe { vdupq_n_s32(0) }
    }
    #[inline(always)]
    unsafe fn dot(sum: int32x4_t, a: int16x8_t, b: int16x8_t) -> int32x4_t {
        // SAFETY: the caller promises the instruction set.
        unsafe {
            let low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
            vaddq_s32(sum, vpaddq_s32(low, vmull_high_s16(a, b)))
        }
    }
    #[inline(always)]
    unsafe fn sums(from: *const i32) -> int32x4_t {
        // SAFETY: the caller promises the instruction set and 4 readable sums.
        unsafe { vld1q_s32(from) }
    }
    #[inline(always)]
    unsafe fn put_sums(to: *mut i32, v: int32x4_t) {
        // SAFETY: the caller promises the instruction set and 4 writable sums.
        unsafe { vst1q_s32(to, v) }
    }
    #[inline(always)]
    unsafe fn floats(v: int32x4_t) -> float32x4_t {
        // SAFETY: the caller promises the instruction set.
        unsafe { vcvtq_f32_s32(v) }
    }
    #[inline(always)]
    unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the caller promises the instruction set.
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn narrow(to: *mut i16, v: float32x4_t) {
        // SAFETY: the caller promises the instruction set and 4 writable words.
        unsafe { vst1_s16(to, vmovn_s32(vcvtnq_s32_f32(v))) }
    }
    #[inline(always)]
    unsafe fn widen(from: *const i16) -> float32x4_t {
        // SAFETY: the caller promises the instruction set and 4 readable words.
        unsafe { vcvtq_f32_s32(vmovl_s16(vld1_s16(from))) }
    }
}

kernels!(Neon, registers: 32, feature: "neon");
word_kernels!(Neon, registers: 32, fused: false, feature: "neon");
learn_kernels!(Neon, channels: 4, blocks: 3, feature: "neon");
