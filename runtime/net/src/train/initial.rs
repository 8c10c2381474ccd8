//! Initial weights that follow from a seed, on every backend the same. The tensor library's own draw from one generator for the
//! whole process, so they depend on who else draws meanwhile.

use burn::store::ModuleSnapshot;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use snafu::ResultExt;

use crate::train::run::{TrainError, WeightsSnafu};
use crate::weights::{apply, tensors_of};

/// The module with what was drawn for it drawn anew, evenly up to one by the root of the inputs (`PyTorch`'s and burn's default);
/// what begins as ones or zeros stays.
pub(crate) fn seeded<M: ModuleSnapshot>(mut module: M, seed: u64) -> Result<M, TrainError> {
    let mut tensors = tensors_of(&module).context(WeightsSnafu)?;
    let drawn: Vec<(String, usize)> = tensors
        .iter()
        .filter(|(_, values)| {
            values.shape.len() > 1
                && values
                    .data
                    .windows(2)
                    .any(|pair| pair[0].to_bits() != pair[1].to_bits())
        })
        .map(|(key, values)| (key.clone(), fan_in(&values.shape)))
        .collect();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for (weight, inputs) in drawn {
        let bound = 1.0 / (inputs.max(1) as f32).sqrt();
        let bias = weight.strip_suffix("weight").map(|layer| format!("{layer}bias"));
        for key in [Some(weight), bias].into_iter().flatten() {
            for value in tensors.get_mut(&key).into_iter().flat_map(|v| &mut v.data) {
                *value = random.random_range(-bound..bound);
            }
        }
    }
    apply(&mut module, "the initial network", tensors).context(WeightsSnafu)?;
    Ok(module)
}

/// Values that one output is made from: convolutions are `[out, in, rows, columns]`, linear layers `[in, out]`.
fn fan_in(shape: &[usize]) -> usize {
    match shape {
        [inputs, _] => *inputs,
        [_, inputs @ ..] => inputs.iter().product(),
        [] => 1,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::network::Network;
    use crate::weights::Tensors;

    fn weights(seed: u64) -> Tensors {
        let network = Network::new("ResNet20".parse().unwrap(), 4, &Device::flex());
        tensors_of(&seeded(network, seed).unwrap()).unwrap()
    }

    #[test]
    fn weights_follow_from_the_seed_whoever_else_draws() {
        let data = |seed| weights(seed).into_values().map(|v| v.data).collect::<Vec<_>>();
        let wanted = data(7);
        assert!(data(8) != wanted);
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| data(7))).collect();
            for one in all {
                assert!(one.join().unwrap() == wanted);
            }
        });
    }

    #[test]
    fn what_is_drawn_has_the_spread_of_its_layer_and_norms_stay() {
        for (key, values) in weights(1) {
            let largest = values.data.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
            match values.shape.len() {
                1 if key.ends_with("bias") && key.contains("head") => assert!(largest > 0.0, "{key}"),
                1 => assert!(
                    values
                        .data
                        .iter()
                        .all(|v| [0.0_f32, 1.0].map(f32::to_bits).contains(&v.to_bits())),
                    "{key}"
                ),
                _ => {
                    let bound = 1.0 / (fan_in(&values.shape) as f32).sqrt();
                    assert!(
                        (0.8 * bound..bound).contains(&largest),
                        "{key}: {largest} of {bound}"
                    );
                }
            }
        }
    }
}
