//! SGD with Nesterov momentum whose state goes into a checkpoint by the names of the weights.

use std::collections::BTreeMap;

use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{ModuleOptimizer, SgdConfig};
use burn::store::ModuleSnapshot;
use burn::store::burn_pack::{Reader, Tensor as PackedTensor, Writer};
use burn::tensor::{Bytes, DType};

use crate::weights::{Tensors, Values, WeightsError, floats, names_of};

/// How burn names the velocity of a parameter, behind the parameter's number.
const VELOCITY: &str = "momentum.velocity";

/// Share of its velocity that a weight keeps.
pub(super) const MOMENTUM: f32 = 0.9;

/// A new one, at rest.
pub(super) fn sgd(weight_decay: f32) -> ModuleOptimizer {
    SgdConfig::new()
        .with_momentum(Some(
            MomentumConfig::new()
                .with_momentum(f64::from(MOMENTUM))
                .with_dampening(0.0)
                .with_nesterov(true),
        ))
        .with_weight_decay(Some(WeightDecayConfig::new(weight_decay)))
        .init()
}

/// The velocity of each weight of `module`, by the weight's name. Weights have other numbers in each process, so the names are
/// what can be kept.
pub(super) fn velocities<M: ModuleSnapshot>(
    optimizer: &ModuleOptimizer,
    module: &M,
) -> Result<Tensors, WeightsError> {
    let names = names_of(module);
    let bytes = optimizer.into_bytes().map_err(format)?;
    let packed = Reader::from_bytes(bytes)
        .and_then(Reader::into_tensors)
        .map_err(format)?;
    let mut velocities = Tensors::new();
    for tensor in packed {
        let (_, _, shape, id, bytes) = tensor.into_parts().map_err(format)?;
        if let Some(name) = id.and_then(|id| names.get(&id)) {
            let values = Values {
                shape: shape.to_vec(),
                data: floats(&bytes),
            };
            velocities.insert(name.clone(), values);
        }
    }
    Ok(velocities)
}

/// `optimizer` with the velocities that [`velocities`] gave for a module of the same kind.
pub(super) fn with_velocities<M: ModuleSnapshot>(
    optimizer: ModuleOptimizer,
    module: &M,
    velocities: Tensors,
) -> Result<ModuleOptimizer, WeightsError> {
    let numbers: BTreeMap<String, u64> = names_of(module)
        .into_iter()
        .map(|(id, name)| (name, id))
        .collect();
    let packed = velocities
        .into_iter()
        .filter_map(|(name, values)| {
            let id = *numbers.get(&name)?;
            let bytes = Bytes::from_elems(values.data);
            let name = format!("{id}.{VELOCITY}");
            Some(PackedTensor::new(name, DType::F32, values.shape, Some(id), bytes))
        })
        .collect();
    let bytes = Writer::new(packed).into_bytes().map_err(format)?;
    optimizer.from_bytes(bytes).map_err(format)
}

fn format(error: impl std::fmt::Display) -> WeightsError {
    WeightsError::Format {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::optim::GradientsParams;
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::weights::{apply, tensors_of};

    fn step(layer: Linear, optimizer: &mut ModuleOptimizer, device: &Device) -> Linear {
        let x = Tensor::<2>::from_floats([[1.0, -2.0], [0.5, 3.0]], device);
        let loss = layer.forward(x).powf_scalar(2.0).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &layer);
        optimizer.step(0.1, layer, gradients)
    }

    #[test]
    fn momentum_goes_on_in_another_module() {
        let device = Device::flex().autodiff();
        let mut optimizer = sgd(0.01);
        let layer = step(LinearConfig::new(2, 3).init(&device), &mut optimizer, &device);
        let kept = velocities(&optimizer, &layer).unwrap();
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["bias", "weight"]);

        let mut other = LinearConfig::new(2, 3).init(&device);
        apply(&mut other, "a copy", tensors_of(&layer).unwrap()).unwrap();
        let mut resumed = with_velocities(sgd(0.01), &other, kept).unwrap();
        let unbroken = tensors_of(&step(layer, &mut optimizer, &device)).unwrap();
        assert_eq!(
            tensors_of(&step(other.clone(), &mut resumed, &device)).unwrap(),
            unbroken
        );
        // Without the momentum it would be another step.
        assert_ne!(
            tensors_of(&step(other, &mut sgd(0.01), &device)).unwrap(),
            unbroken
        );
    }
}
