//! Wider networks that start as the same function as a narrow one (`Net2Net`, Chen et al. 2016), so that what the narrow one
//! has learned need not be learned again.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::weights::{Tensors, Values};

/// Tensors of a `ResNet` with `times` as many channels that computes what `narrow` computes. The copies of a channel feed
/// the next layer in random shares: with equal ones they would get equal gradients and stay copies forever.
pub(crate) fn widen(narrow: &Tensors, times: usize, seed: u64) -> Tensors {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    narrow
        .iter()
        .map(|(key, values)| {
            let wide = match values.shape.as_slice() {
                [out, input, kh, kw] => {
                    // The stem sees colours, which are not copied.
                    let inputs = if key.starts_with("stem.") { 1 } else { times };
                    convolution(
                        &values.data,
                        [*out, *input, kh * kw],
                        [times, inputs],
                        &mut rng,
                        &[*kh, *kw],
                    )
                }
                // The head's rows are its inputs, and its outputs, the classes, are not copied.
                [input, classes] => head(&values.data, [*input, *classes], times, &mut rng),
                _ if key == "head.bias" => values.clone(),
                _ => {
                    let data: Vec<f32> = std::iter::repeat_n(&values.data, times)
                        .flatten()
                        .copied()
                        .collect();
                    Values {
                        shape: vec![data.len()],
                        data,
                    }
                }
            };
            (key.clone(), wide)
        })
        .collect()
}

/// Random shares that add up to one.
fn shares(times: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let raw: Vec<f32> = (0..times).map(|_| rng.random_range(0.1..1.0)).collect();
    let sum: f32 = raw.iter().sum();
    raw.iter().map(|v| v / sum).collect()
}

fn convolution(
    data: &[f32],
    [out, input, area]: [usize; 3],
    [outs, inputs]: [usize; 2],
    rng: &mut ChaCha8Rng,
    kernel: &[usize],
) -> Values {
    let (wide_out, wide_input) = (out * outs, input * inputs);
    let mut wide = vec![0.0; wide_out * wide_input * area];
    for o in 0..wide_out {
        for i in 0..input {
            let shares = shares(inputs, rng);
            for (copy, share) in shares.iter().enumerate() {
                for k in 0..area {
                    let from = ((o % out) * input + i) * area + k;
                    wide[(o * wide_input + copy * input + i) * area + k] = data[from] * share;
                }
            }
        }
    }
    Values {
        shape: [&[wide_out, wide_input], kernel].concat(),
        data: wide,
    }
}

fn head(data: &[f32], [input, classes]: [usize; 2], times: usize, rng: &mut ChaCha8Rng) -> Values {
    let mut wide = vec![0.0; input * times * classes];
    for i in 0..input {
        for (copy, share) in shares(times, rng).iter().enumerate() {
            for class in 0..classes {
                wide[(copy * input + i) * classes + class] = data[i * classes + class] * share;
            }
        }
    }
    Values {
        shape: vec![input * times, classes],
        data: wide,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tensor};

    use super::*;
    use crate::backbone::Backbone;
    use crate::network::Network;
    use crate::weights::{apply, tensors_of};

    #[test]
    fn a_wider_network_computes_the_same() {
        let device = Device::flex();
        let backbone = |name: &str| name.parse::<Backbone>().unwrap();
        let narrow = Network::new(backbone("ResNet20"), 10, &device);
        let mut wide = Network::new(backbone("ResNet20x2"), 10, &device);
        apply(
            &mut wide,
            "ResNet20x2",
            widen(&tensors_of(&narrow).unwrap(), 2, 1),
        )
        .unwrap();
        let x = Tensor::<4>::random([2, 3, 16, 16], Distribution::Default, &device);
        let difference = (narrow.logits(narrow.features(x.clone())) - wide.logits(wide.features(x)))
            .abs()
            .max();
        assert!(difference.into_scalar::<f32>() < 1e-3);
    }
}
