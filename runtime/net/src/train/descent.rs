//! A module on its way down a loss: its weights, their velocities and their moving average, which a checkpoint keeps.

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::store::ModuleSnapshot;
use burn::tensor::Tensor;
use snafu::ResultExt;
use tracing::info;

use crate::train::average::Average;
use crate::train::checkpoint::Checkpoint;
use crate::train::optimisation::Optimisation;
use crate::train::optimizer::{sgd, velocities, with_velocities};
use crate::train::run::{TrainError, WeightsSnafu};
use crate::weights::{Tensors, apply, tensors_of};

/// A module in training, on the autodiff device.
pub(super) struct Descent<M> {
    /// What errors call it.
    name: String,
    pub(super) module: M,
    optimizer: ModuleOptimizer,
    average: Option<Average>,
}

impl<M: Module + ModuleSnapshot> Descent<M> {
    /// From `module` as it is, or from `checkpoint`; an epoch has `steps` steps.
    pub(super) fn begin(
        name: String,
        mut module: M,
        how: &Optimisation,
        checkpoint: Option<Checkpoint>,
        steps: usize,
    ) -> Result<Self, TrainError> {
        let mut optimizer = sgd(how.weight_decay);
        let (mut epochs, mut averaged) = (0, Tensors::new());
        if let Some(checkpoint) = checkpoint {
            epochs = checkpoint.epochs;
            apply(&mut module, &name, checkpoint.weights).context(WeightsSnafu)?;
            optimizer = with_velocities(optimizer, &module, checkpoint.velocities).context(WeightsSnafu)?;
            averaged = checkpoint.average;
            info!(epochs, "resumed");
        }
        let average = match how.average {
            None => None,
            Some(decay) => {
                if averaged.is_empty() {
                    averaged = tensors_of(&module).context(WeightsSnafu)?;
                }
                Some(Average::new(decay, epochs * steps, averaged))
            }
        };
        Ok(Self {
            name,
            module,
            optimizer,
            average,
        })
    }

    /// One step against the gradients of `loss`, `[1]`.
    pub(super) fn step(&mut self, loss: &Tensor<1>, rate: f64) -> Result<(), TrainError> {
        let gradients = GradientsParams::from_grads(loss.backward(), &self.module);
        // The optimizer takes the module by value and gives it back.
        self.module = self.optimizer.step(rate, self.module.clone(), gradients);
        match &mut self.average {
            Some(average) => average.update(&self.module).context(WeightsSnafu),
            None => Ok(()),
        }
    }

    /// The module as the run would give it, without gradients.
    pub(super) fn given(&self) -> Result<M, TrainError> {
        let mut module = self.module.valid();
        if let Some(average) = &self.average {
            apply(&mut module, &self.name, average.tensors().clone()).context(WeightsSnafu)?;
        }
        Ok(module)
    }

    /// All of it after so many epochs.
    pub(super) fn checkpoint(&self, epochs: usize) -> Result<Checkpoint, TrainError> {
        Ok(Checkpoint {
            epochs,
            weights: tensors_of(&self.module).context(WeightsSnafu)?,
            velocities: velocities(&self.optimizer, &self.module).context(WeightsSnafu)?,
            average: self
                .average
                .as_ref()
                .map(|average| average.tensors().clone())
                .unwrap_or_default(),
        })
    }
}
