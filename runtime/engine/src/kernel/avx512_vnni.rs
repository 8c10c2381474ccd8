//! `vpdpwssd` for words; floats as without it.

use super::avx512::Avx512;
use super::table::Kernels;
use super::words::table::word_kernels;

word_kernels!(Avx512<true>, registers: 32, fused: true, feature: "avx512f,avx512bw,avx512vnni");

pub(crate) static KERNELS: Kernels = Kernels {
    words: &WORDS,
    ..super::avx512::KERNELS
};
