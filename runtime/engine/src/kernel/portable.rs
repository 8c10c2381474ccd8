use super::learn::table::learn_kernels;
use super::simd::Simd;
use super::table::kernels;
use super::words::Words;
use super::words::table::word_kernels;

/// Plain Rust; two 128-bit registers a vector where the compiler finds them.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

type Lanes = [f32; 8];

#[inline(always)]
fn zip(a: Lanes, b: Lanes, f: impl Fn(f32, f32) -> f32) -> Lanes {
    let mut out = [0.0; 8];
    for i in 0..8 {
        out[i] = f(a[i], b[i]);
    }
    out
}

impl Simd for Portable {
    type V = Lanes;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Lanes {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Lanes {
        // SAFETY: the caller promises eight readable floats.
        unsafe { from.cast::<Lanes>().read() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: Lanes) {
        // SAFETY: the caller promises eight writable floats.
        unsafe { to.cast::<Lanes>().write(v) }
    }
    #[inline(always)]
    unsafe fn fma(a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        zip(zip(a, b, |a, b| a * b), c, |ab, c| ab + c)
    }
    #[inline(always)]
    unsafe fn add(a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn max(a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn between(v: Lanes, x: Lanes, low: Lanes, high: Lanes) -> Lanes {
        let mut out = [0.0; 8];
        for i in 0..8 {
            if x[i] > low[i] && x[i] < high[i] {
                out[i] = v[i];
            }
        }
        out
    }
}

impl Words for Portable {
    type W = [i16; 16];
    type I = [i32; 8];

    #[inline(always)]
    unsafe fn spread(from: *const i16) -> [i16; 16] {
        // SAFETY: the caller promises two readable words.
        let [even, odd] = unsafe { from.cast::<[i16; 2]>().read_unaligned() };
        std::array::from_fn(|i| if i % 2 == 0 { even } else { odd })
    }
    #[inline(always)]
    unsafe fn words(from: *const i16) -> [i16; 16] {
        // SAFETY: the caller promises 16 readable words.
        unsafe { from.cast::<[i16; 16]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn put(to: *mut i16, v: [i16; 16]) {
        // SAFETY: the caller promises 16 writable words.
        unsafe { to.cast::<[i16; 16]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn plus(a: [i16; 16], b: [i16; 16]) -> [i16; 16] {
        std::array::from_fn(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    unsafe fn minus(a: [i16; 16], b: [i16; 16]) -> [i16; 16] {
        std::array::from_fn(|i| a[i].wrapping_sub(b[i]))
    }
    #[inline(always)]
    unsafe fn zero() -> [i32; 8] {
        [0; 8]
    }
    #[inline(always)]
    unsafe fn dot(sum: [i32; 8], a: [i16; 16], b: [i16; 16]) -> [i32; 8] {
        let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
        std::array::from_fn(|i| {
            sum[i]
                .wrapping_add(product(2 * i))
                .wrapping_add(product(2 * i + 1))
        })
    }
    #[inline(always)]
    unsafe fn sums(from: *const i32) -> [i32; 8] {
        // SAFETY: the caller promises eight readable sums.
        unsafe { from.cast::<[i32; 8]>().read() }
    }
    #[inline(always)]
    unsafe fn put_sums(to: *mut i32, v: [i32; 8]) {
        // SAFETY: the caller promises eight writable sums.
        unsafe { to.cast::<[i32; 8]>().write(v) }
    }
    #[inline(always)]
    unsafe fn floats(v: [i32; 8]) -> Lanes {
        v.map(|v| v as f32)
    }
    #[inline(always)]
    unsafe fn mul(a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn narrow(to: *mut i16, v: Lanes) {
        // The float next to 1.5·2^23 + n holds the integer n in its last bits.
        const SHIFT: f32 = 12_582_912.0;
        let nearest = v.map(|v| (v + SHIFT).to_bits() as i16);
        // SAFETY: the caller promises eight writable words.
        unsafe { to.cast::<[i16; 8]>().write_unaligned(nearest) }
    }
    #[inline(always)]
    unsafe fn widen(from: *const i16) -> Lanes {
        // SAFETY: the caller promises eight readable words.
        unsafe { from.cast::<[i16; 8]>().read_unaligned() }.map(f32::from)
    }
}

kernels!(Portable, registers: 8);
word_kernels!(Portable, registers: 8, fused: false);
learn_kernels!(Portable, channels: 2, blocks: 1);
