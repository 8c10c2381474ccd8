use std::str::FromStr;

use burn::tensor::Device;
use snafu::Snafu;

/// What computes a training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// Pure Rust, on the CPU; always there.
    #[default]
    Flex,
    /// `LibTorch` on the CPU, two to three times as fast; there with the cargo feature `torch`.
    Torch,
}

/// A backend that is not there.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum BackendError {
    /// No such name.
    #[snafu(display("failed to find a backend named {name}: flex and torch are known"))]
    Unknown {
        /// The name.
        name: String,
    },
    /// Known, but left out of this build.
    #[snafu(display(
        "failed to use the backend torch: this build is without it; build with --features torch (hack/libtorch)"
    ))]
    Absent,
}

impl Backend {
    /// Its device.
    pub fn device(self) -> Result<Device, BackendError> {
        match self {
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "torch")]
            #[expect(deprecated, reason = "gone from burn 0.23, which is why burn is pinned")]
            Self::Torch => Ok(Device::libtorch()),
            #[cfg(not(feature = "torch"))]
            Self::Torch => AbsentSnafu.fail(),
        }
    }
}

impl FromStr for Backend {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "flex" => Ok(Self::Flex),
            "torch" => Ok(Self::Torch),
            _ => UnknownSnafu { name }.fail(),
        }
    }
}
