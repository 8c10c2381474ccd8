use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use snafu::Snafu;

/// What computes a training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The project's own engine, on the CPU; always there. What it cannot train goes to `Flex`.
    #[default]
    Engine,
    /// Pure Rust, on the CPU; always there.
    Flex,
    /// `LibTorch`, on the first NVIDIA GPU where it finds one, else on the CPU; there with the cargo feature `torch`.
    Torch,
    /// The first NVIDIA GPU, through burn's CUDA backend; there with the cargo feature `cuda`.
    Cuda,
}

/// A backend that is not there.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum BackendError {
    /// No such name.
    #[snafu(display("failed to find a backend named {name}: engine, flex, torch and cuda are known"))]
    Unknown {
        /// The name.
        name: String,
    },
    /// Known, but left out of this build.
    #[snafu(display(
        "failed to use the backend {name}: this build is without it; build with --features {name} (docs/guides/training.md)"
    ))]
    Absent {
        /// The name.
        name: &'static str,
    },
    /// Built in, but the machine lacks what it needs.
    #[snafu(display(
        "failed to use the backend cuda: {reason}; use --backend engine, or see docs/guides/training.md"
    ))]
    Unusable {
        /// What is missing.
        reason: String,
    },
}

/// A backend, ready to compute.
#[derive(Clone, Debug)]
pub enum Processor {
    /// The project's own engine.
    Engine,
    /// A device of the tensor library.
    Burn(Device),
}

impl Processor {
    /// Where tensors lie that the engine does not compute.
    #[must_use]
    pub fn device(&self) -> Device {
        match self {
            Self::Engine => Device::flex(),
            Self::Burn(device) => device.clone(),
        }
    }

    /// The GPU that computes, if one does: what does not learn is then faster there as well, and else by the engine.
    pub(super) fn gpu(&self) -> Option<Device> {
        let device = self.device();
        (!on_cpu(&device)).then_some(device)
    }

    /// Where a module lies that is trained: with gradients, but for the engine, which has its own.
    pub(super) fn training_device(&self) -> Device {
        match self {
            Self::Engine => Device::flex(),
            Self::Burn(device) => device.clone().autodiff(),
        }
    }
}

impl Backend {
    /// What computes, where it is there.
    pub fn processor(self) -> Result<Processor, BackendError> {
        match self {
            Self::Engine => Ok(Processor::Engine),
            other => Ok(Processor::Burn(other.device()?)),
        }
    }

    fn device(self) -> Result<Device, BackendError> {
        match self {
            Self::Engine | Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "torch")]
            Self::Torch => Ok(torch()),
            #[cfg(not(feature = "torch"))]
            Self::Torch => AbsentSnafu { name: "torch" }.fail(),
            #[cfg(feature = "cuda")]
            Self::Cuda => cuda(),
            #[cfg(not(feature = "cuda"))]
            Self::Cuda => AbsentSnafu { name: "cuda" }.fail(),
        }
    }
}

#[cfg(feature = "torch")]
#[expect(deprecated, reason = "gone from burn 0.23, which is why burn is pinned")]
fn on_cpu(device: &Device) -> bool {
    [Device::flex(), Device::libtorch()].contains(device)
}

#[cfg(not(feature = "torch"))]
fn on_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

/// Where `LibTorch` computes.
#[cfg(feature = "torch")]
#[expect(deprecated, reason = "gone from burn 0.23, which is why burn is pinned")]
fn torch() -> Device {
    if tch::Cuda::is_available() {
        Device::libtorch_cuda(0)
    } else {
        Device::libtorch()
    }
}

/// The first GPU, after it has added two numbers: burn panics where driver or toolkit are missing, and says why.
#[cfg(feature = "cuda")]
fn cuda() -> Result<Device, BackendError> {
    let tried = std::panic::catch_unwind(|| {
        let device = Device::cuda(0);
        let two = burn::tensor::Tensor::<1>::ones([1], &device) + 1.0;
        (two.into_scalar::<f32>(), device)
    });
    match tried {
        Ok((2.0, device)) => Ok(device),
        Ok((other, _)) => UnusableSnafu {
            reason: format!("the GPU takes 1 + 1 for {other}"),
        }
        .fail(),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
            let reason = format!(
                "no NVIDIA driver with CUDA toolkit 12 or later was found: {}",
                said.unwrap_or("it gave no reason").replace('\n', " ")
            );
            UnusableSnafu { reason }.fail()
        }
    }
}

/// As the command line takes it.
impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Engine => "engine",
            Self::Flex => "flex",
            Self::Torch => "torch",
            Self::Cuda => "cuda",
        })
    }
}

impl FromStr for Backend {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "engine" => Ok(Self::Engine),
            "flex" => Ok(Self::Flex),
            "torch" => Ok(Self::Torch),
            "cuda" => Ok(Self::Cuda),
            _ => UnknownSnafu { name }.fail(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_there_or_say_how_to_get_them() {
        assert_eq!(Backend::default(), "engine".parse().unwrap());
        assert!("flex".parse::<Backend>().unwrap().processor().is_ok());
        let error = "gpu".parse::<Backend>().unwrap_err().to_string();
        assert!(error.contains("engine, flex, torch and cuda"), "{error}");
        for (name, built) in [
            ("torch", cfg!(feature = "torch")),
            ("cuda", cfg!(feature = "cuda")),
        ] {
            let backend = name.parse::<Backend>().unwrap();
            assert_eq!(backend.to_string(), name);
            let processor = backend.processor();
            if !built {
                let error = processor.err().unwrap().to_string();
                assert!(error.contains(&format!("--features {name}")), "{error}");
            }
        }
    }
}
