//! `vpdpwssd` for words; floats as without it.

use super::avx2::Avx2;
use super::table::Kernels;
use super::words::table::word_kernels;

word_kernels!(Avx2<true>, registers: 16, fused: true, feature: "avx2,fma,avxvnni");

pub(crate) static KERNELS: Kernels = Kernels {
    words: &WORDS,
    ..super::avx2::KERNELS
};
