//! A moving average of weights, which generalises better than the last ones while the learning rate is still high.

use burn::store::ModuleSnapshot;

use crate::weights::{Tensors, WeightsError, tensors_of};

/// Share of itself that an average of decay `decay` keeps at a step, counted from 1. Early on it forgets faster, or it would hold on
/// to the first weights.
pub(super) fn keep(decay: f64, step: usize) -> f32 {
    let steps = step as f64;
    decay.min((1.0 + steps) / (10.0 + steps)) as f32
}

/// The average so far. Running statistics of batch norms are averaged as well.
pub(super) struct Average {
    tensors: Tensors,
}

impl Average {
    /// Begins with `tensors`.
    pub(super) fn new(tensors: Tensors) -> Self {
        Self { tensors }
    }

    /// Takes in the weights after one more step, and keeps a share of itself.
    pub(super) fn update<M: ModuleSnapshot>(&mut self, module: &M, keep: f32) -> Result<(), WeightsError> {
        for (key, now) in tensors_of(module)? {
            if let Some(average) = self.tensors.get_mut(&key) {
                for (old, new) in average.data.iter_mut().zip(now.data) {
                    *old = (*old - new).mul_add(keep, new);
                }
            }
        }
        Ok(())
    }

    /// The averaged weights.
    pub(super) fn tensors(&self) -> &Tensors {
        &self.tensors
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Initializer, LinearConfig};
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_average_lies_between_first_and_last_and_nears_the_last() {
        let layer = |value| {
            LinearConfig::new(1, 1)
                .with_initializer(Initializer::Constant { value })
                .init(&Device::flex())
        };
        let mut average = Average::new(tensors_of(&layer(0.0)).unwrap());
        let mut before = 0.0;
        for step in 1..=10 {
            average.update(&layer(1.0), keep(0.9, step)).unwrap();
            let now = average.tensors()["weight"].data[0];
            assert!(before < now && now <= 1.0, "{before} {now}");
            before = now;
        }
        assert!(before > 0.99);
    }
}
