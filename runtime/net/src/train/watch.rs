//! The loss of an epoch, looked at now and then: reading it waits for the device.

use burn::tensor::Tensor;

use crate::train::run::TrainError;

/// How often an epoch's loss is read: enough to notice that it diverges.
const LOOKS: usize = 10;

/// Watches the loss of one epoch.
pub(super) struct Watch {
    /// From 1.
    epoch: usize,
    /// Peak learning rate, for what is said of a loss that diverges.
    peak: f64,
    /// Steps from one look to the next.
    every: usize,
    total: f64,
    looks: usize,
}

impl Watch {
    /// Of the epoch, numbered from 1, of so many steps.
    pub(super) fn new(epoch: usize, steps: usize, peak: f64) -> Self {
        Self {
            epoch,
            peak,
            every: (steps / LOOKS).max(1),
            total: 0.0,
            looks: 0,
        }
    }

    /// Takes note of the loss of a step, numbered from 0; fails where it is no number.
    pub(super) fn see(&mut self, step: usize, loss: &Tensor<1>) -> Result<(), TrainError> {
        if !step.is_multiple_of(self.every) {
            return Ok(());
        }
        self.total += f64::from(loss.clone().into_scalar::<f32>());
        self.looks += 1;
        if self.total.is_finite() {
            return Ok(());
        }
        Err(TrainError::Diverged {
            epoch: self.epoch,
            loss: self.total,
            rate: self.peak,
        })
    }

    /// Mean of what was seen.
    pub(super) fn mean(&self) -> f64 {
        self.total / self.looks.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn some_steps_are_looked_at_and_a_loss_that_is_no_number_ends_it() {
        let loss = |value: f32| Tensor::<1>::from_floats([value], &Device::flex());
        let mut watch = Watch::new(3, 20, 0.1);
        for (step, value) in [2.0, f32::NAN, 4.0, f32::NAN].into_iter().enumerate() {
            watch.see(step, &loss(value)).unwrap();
        }
        assert!((watch.mean() - 3.0).abs() < 1e-9);
        let error = watch.see(4, &loss(f32::NAN)).unwrap_err().to_string();
        assert!(error.contains("epoch 3"), "{error}");
    }
}
