//! The way down on a device of the tensor library, which keeps the gradients.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::store::ModuleSnapshot;
use burn::tensor::{Device, Tensor};
use snafu::ResultExt;

use super::Start;
use crate::train::average::{Average, keep};
use crate::train::checkpoint::Checkpoint;
use crate::train::optimizer::{sgd, velocities, with_velocities};
use crate::train::run::{TrainError, WeightsSnafu};
use crate::weights::{apply, tensors_of};

/// A module in training, on the autodiff device.
pub(super) struct OnDevice<M> {
    name: String,
    pub(super) module: M,
    optimizer: ModuleOptimizer,
    /// Of the next step.
    gradients: GradientsAccumulator<M>,
    average: Option<Average>,
    /// Steps done, and decay of the average.
    steps: usize,
    decay: Option<f64>,
}

impl<M: Module + ModuleSnapshot> OnDevice<M> {
    pub(super) fn begin(mut module: M, start: Start<'_>, device: &Device) -> Result<Self, TrainError> {
        let Start {
            name,
            how,
            weights,
            velocities,
            average,
            steps,
            ..
        } = start;
        apply(&mut module, &name, weights).context(WeightsSnafu)?;
        let mut optimizer = sgd(how.weight_decay);
        if !velocities.is_empty() {
            optimizer = with_velocities(optimizer, &module, velocities).context(WeightsSnafu)?;
        }
        let kept = how
            .average
            .map(|_| Average::new(&module, &average, device))
            .transpose()
            .context(WeightsSnafu)?;
        Ok(Self {
            name,
            module,
            optimizer,
            gradients: GradientsAccumulator::new(),
            average: kept,
            steps,
            decay: how.average,
        })
    }

    pub(super) fn gather(&mut self, loss: &Tensor<1>) {
        let gradients = GradientsParams::from_grads(loss.backward(), &self.module);
        self.gradients.accumulate(&self.module, gradients);
    }

    pub(super) fn step(&mut self, rate: f64) {
        let gradients = self.gradients.grads();
        // The optimizer takes the module by value and gives it back.
        self.module = self.optimizer.step(rate, self.module.clone(), gradients);
        self.steps += 1;
        if let (Some(average), Some(decay)) = (&mut self.average, self.decay) {
            average.update(&self.module, keep(decay, self.steps));
        }
    }

    pub(super) fn given(&self) -> Result<M, TrainError> {
        let mut module = self.module.valid();
        if let Some(average) = &self.average {
            let tensors = average.tensors(&module).context(WeightsSnafu)?;
            apply(&mut module, &self.name, tensors).context(WeightsSnafu)?;
        }
        Ok(module)
    }

    pub(super) fn checkpoint(&self, epochs: usize) -> Result<Checkpoint, TrainError> {
        Ok(Checkpoint {
            epochs,
            weights: tensors_of(&self.module).context(WeightsSnafu)?,
            velocities: velocities(&self.optimizer, &self.module).context(WeightsSnafu)?,
            average: self
                .average
                .as_ref()
                .map(|average| average.tensors(&self.module))
                .transpose()
                .context(WeightsSnafu)?
                .unwrap_or_default(),
        })
    }
}
