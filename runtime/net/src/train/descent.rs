//! A module on its way down a loss: its weights, their velocities and their moving average, which a checkpoint keeps. What computes
//! it is a device of the tensor library, or the project's own engine.

mod burn;
mod engine;
mod pupil;

use ::burn::tensor::{Device, Tensor};
use snafu::ResultExt;
use tracing::{info, warn};

use crate::backend::Processor;
use crate::input::InputSpec;
use crate::train::checkpoint::Checkpoint;
use crate::train::optimisation::Optimisation;
use crate::train::run::{TrainError, WeightsSnafu};
use crate::weights::{Tensors, apply, tensors_of};

use burn::OnDevice;
pub(super) use engine::count;
use engine::{OnEngine, Planned};
pub(super) use pupil::{Batch, Form, Pupil};

/// A module in training.
pub(super) struct Descent<M> {
    way: Way<M>,
    input: InputSpec,
    device: Device,
}

enum Way<M> {
    Device(Box<OnDevice<M>>),
    Engine(Box<OnEngine<M>>),
}

/// What a training begins with.
struct Start<'a> {
    /// What errors call it.
    name: String,
    how: &'a Optimisation,
    weights: Tensors,
    velocities: Tensors,
    /// As the weights where nothing was averaged yet.
    average: Tensors,
    /// Steps done.
    steps: usize,
}

/// Where a training begins, and how it goes on.
pub(super) struct Beginning<'a> {
    /// What errors call the module.
    pub(super) name: String,
    pub(super) how: &'a Optimisation,
    /// Where an earlier process has stopped.
    pub(super) checkpoint: Option<Checkpoint>,
    /// Of an epoch.
    pub(super) steps: usize,
    pub(super) processor: &'a Processor,
    pub(super) input: &'a InputSpec,
    /// Of the first batch.
    pub(super) form: Form,
}

impl<M: Pupil> Descent<M> {
    /// From the weights of `module` as they are, or from the checkpoint. What the engine cannot train goes to the tensor library.
    pub(super) fn begin(module: M, beginning: Beginning<'_>) -> Result<Self, TrainError> {
        let Beginning {
            name,
            how,
            checkpoint,
            steps,
            processor,
            input,
            form,
        } = beginning;
        let (mut epochs, mut velocities, mut average) = (0, Tensors::new(), Tensors::new());
        let mut weights = tensors_of(&module).context(WeightsSnafu)?;
        if let Some(checkpoint) = checkpoint {
            epochs = checkpoint.epochs;
            (weights, velocities, average) = (checkpoint.weights, checkpoint.velocities, checkpoint.average);
            info!(epochs, "resumed");
        }
        if average.is_empty() && how.average.is_some() {
            average = weights.clone();
        }
        let start = || Start {
            name: name.clone(),
            how,
            weights: weights.clone(),
            velocities: velocities.clone(),
            average: average.clone(),
            steps: epochs * steps,
        };
        let device = processor.device();
        let way = match processor {
            Processor::Engine => match OnEngine::begin(module.clone(), start(), input, form) {
                Ok(engine) => Way::Engine(Box::new(engine)),
                Err(TrainError::Engine { source }) if source.is_of_graph() => {
                    warn!(reason = %source, "the engine cannot train this network; the backend flex does");
                    Way::Device(Box::new(OnDevice::begin(module.train(), start(), &device)?))
                }
                Err(error) => return Err(error),
            },
            Processor::Burn(_) => Way::Device(Box::new(OnDevice::begin(module, start(), &device)?)),
        };
        Ok(Self {
            way,
            input: input.clone(),
            device,
        })
    }

    /// What the module says of a batch in training, `[n, outputs]`, with gradients for [`Descent::gather`].
    pub(super) fn logits(&mut self, batch: Batch) -> Result<Tensor<2>, TrainError> {
        match &mut self.way {
            Way::Device(way) => Ok(way
                .module
                .answer(batch, &self.input, &self.device.clone().autodiff())),
            Way::Engine(way) => way.logits(&batch, &self.input),
        }
    }

    /// Where tensors lie that a loss is made of besides the logits.
    pub(super) fn autodiff(&self) -> Device {
        self.device.clone().autodiff()
    }

    /// The same without gradients.
    pub(super) fn plain(&self) -> Device {
        self.device.clone()
    }

    /// Adds the gradients of `loss`, `[1]`, which was made of the last logits, to those of the next step.
    pub(super) fn gather(&mut self, loss: &Tensor<1>) -> Result<(), TrainError> {
        match &mut self.way {
            Way::Device(way) => {
                way.gather(loss);
                Ok(())
            }
            Way::Engine(way) => way.gather(loss),
        }
    }

    /// One step against the gradients that were gathered since the last one.
    pub(super) fn step(&mut self, rate: f64) -> Result<(), TrainError> {
        match &mut self.way {
            Way::Device(way) => {
                way.step(rate);
                Ok(())
            }
            Way::Engine(way) => way.step(rate),
        }
    }

    /// The module as the run would give it, without gradients.
    pub(super) fn given(&self) -> Result<M, TrainError> {
        match &self.way {
            Way::Device(way) => way.given(),
            Way::Engine(way) => way.given(),
        }
    }

    /// What the module as the run would give it says of batches of `form`, or smaller ones.
    pub(super) fn judge(&self, form: Form) -> Result<Judge<M>, TrainError> {
        let module = self.given()?;
        Ok(match &self.way {
            Way::Device(_) => Judge::Device(module, self.input.clone(), self.device.clone()),
            Way::Engine(_) => Judge::Engine(Box::new(Planned::new(&module, &self.input, form)?)),
        })
    }

    /// All of it after so many epochs.
    pub(super) fn checkpoint(&self, epochs: usize) -> Result<Checkpoint, TrainError> {
        match &self.way {
            Way::Device(way) => way.checkpoint(epochs),
            Way::Engine(way) => way.checkpoint(epochs),
        }
    }
}

/// A module that answers and does not learn.
pub(super) enum Judge<M> {
    Device(M, InputSpec, Device),
    Engine(Box<Planned>),
}

impl<M: Pupil> Judge<M> {
    /// `[n][outputs]`, one behind the other.
    pub(super) fn logits(&mut self, batch: Batch) -> Result<Vec<f32>, TrainError> {
        match self {
            Self::Device(module, input, device) => {
                let logits = module.answer(batch, input, device).into_data();
                Ok(logits.iter::<f32>().collect())
            }
            Self::Engine(planned) => planned.logits(&batch),
        }
    }
}

/// `module` with other weights.
fn with<M: Pupil>(module: &M, name: &str, tensors: Tensors) -> Result<M, TrainError> {
    let mut module = module.clone();
    apply(&mut module, name, tensors).context(WeightsSnafu)?;
    Ok(module)
}

#[cfg(test)]
mod tests;
