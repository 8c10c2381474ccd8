//! A moving average of weights, which generalises better than the last ones while the learning rate is still high.

use burn::module::{Module, ModuleVisitor, Param};
use burn::store::ModuleSnapshot;
use burn::tensor::{Device, Tensor, TensorData};
use snafu::OptionExt;

use crate::weights::{FormatSnafu, Tensors, Values, WeightsError, names_of};

/// Share of itself that an average of decay `decay` keeps at a step, counted from 1. Early on it forgets faster, or it would hold on
/// to the first weights.
pub(super) fn keep(decay: f64, step: usize) -> f32 {
    let steps = step as f64;
    decay.min((1.0 + steps) / (10.0 + steps)) as f32
}

/// The average so far. Running statistics of batch norms are averaged as well.
pub(super) struct Average {
    /// Of all tensors, one behind the other, on the device that trains: to read them at each step would have it wait.
    values: Tensor<1>,
}

impl Average {
    /// Begins with `tensors`, which are those of a module like this one.
    pub(super) fn new<M: Module + ModuleSnapshot>(
        module: &M,
        tensors: &Tensors,
        device: &Device,
    ) -> Result<Self, WeightsError> {
        let mut values = Vec::new();
        for (name, _) in Flat::of(module).named(module)? {
            let tensor = tensors.get(&name).context(FormatSnafu {
                reason: format!("{name} is missing from the average"),
            })?;
            values.extend_from_slice(&tensor.data);
        }
        let count = values.len();
        let values = Tensor::from_data(TensorData::new(values, [count]), device);
        Ok(Self { values })
    }

    /// Takes in the weights after one more step, and keeps a share of itself.
    pub(super) fn update<M: Module>(&mut self, module: &M, keep: f32) {
        let now = Tensor::cat(Flat::of(module).values, 0);
        self.values = self.values.clone().mul_scalar(keep) + now.mul_scalar(1.0 - keep);
    }

    /// The averaged weights, by the names of `module`.
    pub(super) fn tensors<M: Module + ModuleSnapshot>(&self, module: &M) -> Result<Tensors, WeightsError> {
        let all: Vec<f32> = self.values.to_data().iter::<f32>().collect();
        let mut rest = all.as_slice();
        let mut tensors = Tensors::new();
        for (name, shape) in Flat::of(module).named(module)? {
            let (data, after) = rest.split_at(shape.iter().product());
            rest = after;
            tensors.insert(
                name,
                Values {
                    shape,
                    data: data.to_vec(),
                },
            );
        }
        Ok(tensors)
    }
}

/// All tensors of a module as they lie, each as one row, in the order of a visit.
#[derive(Default)]
struct Flat {
    values: Vec<Tensor<1>>,
    /// Number and shape of each.
    shapes: Vec<(u64, Vec<usize>)>,
}

impl Flat {
    fn of<M: Module>(module: &M) -> Self {
        let mut flat = Self::default();
        module.visit(&mut flat);
        flat
    }

    /// Name and shape of each.
    fn named<M: Module + ModuleSnapshot>(
        self,
        module: &M,
    ) -> Result<Vec<(String, Vec<usize>)>, WeightsError> {
        let mut names = names_of(module);
        let named = self.shapes.into_iter().map(|(id, shape)| {
            let name = names.remove(&id).context(FormatSnafu {
                reason: format!("tensor {id} of the module has no name"),
            })?;
            Ok((name, shape))
        });
        named.collect()
    }
}

impl ModuleVisitor for Flat {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let tensor = if tensor.device().is_autodiff() {
            tensor.inner()
        } else {
            tensor
        };
        self.shapes.push((param.id.val(), tensor.dims().to_vec()));
        self.values.push(tensor.flatten(0, D - 1));
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Initializer, LinearConfig};
    use burn::tensor::Device;

    use super::*;
    use crate::weights::tensors_of;

    #[test]
    fn the_average_lies_between_first_and_last_and_nears_the_last() {
        let device = Device::flex();
        let layer = |value| {
            LinearConfig::new(2, 3)
                .with_initializer(Initializer::Constant { value })
                .init(&device)
        };
        let first = layer(0.0);
        let mut average = Average::new(&first, &tensors_of(&first).unwrap(), &device).unwrap();
        let mut before = 0.0;
        for step in 1..=10 {
            average.update(&layer(1.0), keep(0.9, step));
            let tensors = average.tensors(&first).unwrap();
            assert_eq!(tensors["weight"].shape, [2, 3]);
            assert_eq!(tensors["bias"].shape, [3]);
            let now = tensors["weight"].data[5];
            assert!(before < now && now <= 1.0, "{before} {now}");
            before = now;
        }
        assert!(before > 0.99);
    }

    #[test]
    fn an_average_without_one_of_the_tensors_is_refused() {
        let device = Device::flex();
        let layer = LinearConfig::new(2, 3).init(&device);
        let mut tensors = tensors_of(&layer).unwrap();
        tensors.remove("bias");
        let error = Average::new(&layer, &tensors, &device).err().unwrap().to_string();
        assert!(error.contains("bias is missing"), "{error}");
    }
}
