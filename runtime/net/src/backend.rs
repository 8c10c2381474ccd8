use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use snafu::{Snafu, ensure};

/// What computes a training, or the cloud's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The project's own engine, on the CPU; always there. What it cannot train goes to `Flex`.
    #[default]
    Engine,
    /// Pure Rust, on the CPU; always there.
    Flex,
    /// `LibTorch`, on NVIDIA GPUs where it finds some, else on the CPU; there with the cargo feature `torch`.
    Torch,
    /// NVIDIA GPUs, through burn's CUDA backend; there with the cargo feature `cuda`.
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
        "failed to use the backend {name}: {reason}; use --backend engine, or see docs/guides/training.md"
    ))]
    Unusable {
        /// The name.
        name: &'static str,
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
    pub(crate) fn gpu(&self) -> Option<Device> {
        let device = self.device();
        (!on_cpu(&device)).then_some(device)
    }

    /// Where a module lies that is trained: with gradients, but for the engine, which has its own.
    pub(crate) fn training_device(&self) -> Device {
        match self {
            Self::Engine => Device::flex(),
            Self::Burn(device) => device.clone().autodiff(),
        }
    }
}

impl Backend {
    /// The quickest for whole networks that this build has and this machine can use: one with a GPU, else the engine.
    #[must_use]
    pub fn best() -> Self {
        let has_gpu = |backend: &Self| {
            let found = backend.processors();
            found.is_ok_and(|found| found.iter().any(|processor| processor.gpu().is_some()))
        };
        let known = [Self::Torch, Self::Cuda];
        known.into_iter().find(has_gpu).unwrap_or_default()
    }

    /// What computes where one device is enough: the first.
    pub fn processor(self) -> Result<Processor, BackendError> {
        Ok(self.processors()?.swap_remove(0))
    }

    /// All that computes: each GPU that the process may see, or the CPU; at least one.
    pub fn processors(self) -> Result<Vec<Processor>, BackendError> {
        let devices = match self {
            Self::Engine => return Ok(vec![Processor::Engine]),
            Self::Flex => vec![Device::flex()],
            #[cfg(feature = "torch")]
            Self::Torch => torch(),
            #[cfg(not(feature = "torch"))]
            Self::Torch => return AbsentSnafu { name: self.name() }.fail(),
            #[cfg(feature = "cuda")]
            Self::Cuda => cuda()?,
            #[cfg(not(feature = "cuda"))]
            Self::Cuda => return AbsentSnafu { name: self.name() }.fail(),
        };
        ensure!(
            !devices.is_empty(),
            UnusableSnafu {
                name: self.name(),
                reason: "it finds no device",
            }
        );
        Ok(devices.into_iter().map(Processor::Burn).collect())
    }

    /// As the command line takes it.
    const fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Flex => "flex",
            Self::Torch => "torch",
            Self::Cuda => "cuda",
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
fn torch() -> Vec<Device> {
    if tch::Cuda::is_available() {
        let count = usize::try_from(tch::Cuda::device_count()).unwrap_or_default();
        (0..count).map(Device::libtorch_cuda).collect()
    } else {
        vec![Device::libtorch()]
    }
}

/// The GPUs, after the first has added two numbers: burn panics where driver or toolkit are missing, and says why.
#[cfg(feature = "cuda")]
fn cuda() -> Result<Vec<Device>, BackendError> {
    let name = Backend::Cuda.name();
    let tried = std::panic::catch_unwind(|| {
        let two = burn::tensor::Tensor::<1>::ones([1], &Device::cuda(0)) + 1.0;
        let devices = Device::enumerate(burn::tensor::DeviceType::Cuda);
        (two.into_scalar::<f32>(), devices.into_iter().collect())
    });
    match tried {
        Ok((2.0, devices)) => Ok(devices),
        Ok((other, _)) => UnusableSnafu {
            name,
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
            UnusableSnafu { name, reason }.fail()
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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
