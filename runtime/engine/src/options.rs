use std::num::NonZeroUsize;
use std::str::FromStr;

use crate::error::{EngineError, UnknownIsaSnafu};

/// How a plan is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Threads that compute, the caller's among them.
    pub threads: NonZeroUsize,
    /// Instruction set; `None` takes the best one there is.
    pub isa: Option<Isa>,
    /// Most images of one call.
    pub max_batch: usize,
    /// Whether 3×3 convolutions may be computed by Winograd's F(4×4, 3×3): a quarter of the multiplications, and rounding
    /// errors about ten times those of the plain sum.
    pub winograd: bool,
}

impl Default for Options {
    /// One thread, the best instruction set, batches of up to 32, Winograd.
    fn default() -> Self {
        Self {
            threads: NonZeroUsize::MIN,
            isa: None,
            max_batch: 32,
            winograd: true,
        }
    }
}

/// Instruction sets that there are kernels for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// The same as [`Isa::Avx512`], and AVX-512 VNNI for 8 bits.
    Avx512Vnni,
    /// 16 floats at a time (`x86_64` with AVX-512F and AVX-512BW).
    Avx512,
    /// The same as [`Isa::Avx2`], and AVX-VNNI for 8 bits.
    Avx2Vnni,
    /// 8 floats at a time (`x86_64` with AVX2 and FMA).
    Avx2,
    /// 4 floats at a time (`aarch64`).
    Neon,
    /// Whatever the compiler makes of it, on any machine.
    Portable,
}

impl Isa {
    /// All of them, best first.
    pub const ALL: [Self; 6] = [
        Self::Avx512Vnni,
        Self::Avx512,
        Self::Avx2Vnni,
        Self::Avx2,
        Self::Neon,
        Self::Portable,
    ];

    /// Whether this machine has it.
    #[must_use]
    pub fn is_here(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => Self::Avx512.is_here() && is_x86_feature_detected!("avx512vnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2Vnni => Self::Avx2.is_here() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Self::Portable => true,
            _ => false,
        }
    }

    /// The best one this machine has.
    #[must_use]
    pub fn best() -> Self {
        Self::ALL
            .into_iter()
            .find(|isa| isa.is_here())
            .unwrap_or(Self::Portable)
    }
}

impl FromStr for Isa {
    type Err = EngineError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(match name {
            "avx512-vnni" => Self::Avx512Vnni,
            "avx512" => Self::Avx512,
            "avx2-vnni" => Self::Avx2Vnni,
            "avx2" => Self::Avx2,
            "neon" => Self::Neon,
            "portable" => Self::Portable,
            _ => return UnknownIsaSnafu { name }.fail(),
        })
    }
}
