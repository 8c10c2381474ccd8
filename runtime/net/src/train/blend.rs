//! Weights between two blocks: on the way from what is in service to what was trained from it on few images. Part of the way often
//! serves better than all of it, on the new input and on the old (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").

use crate::card::Block;
use crate::edge::open;
use crate::norms::Norms;
use crate::weights::{Tensors, WeightsError, bound};

/// Blobs of an adaptive and an extension block.
pub(super) type Pair<'a> = [&'a [u8]; 2];

/// Blobs a `share` of the way from the first blocks to the second, which were trained from them over `main`. Statistics for the main
/// block are those of the second.
pub(super) fn blend(
    main: &[u8],
    [from, to]: [Pair<'_>; 2],
    share: f32,
) -> Result<[Vec<u8>; 2], WeightsError> {
    let (mut from_adaptive, from_extension) = (
        open(from[0], Block::Adaptive)?.1,
        open(from[1], Block::Extension)?.1,
    );
    let (adaptive_card, mut adaptive) = open(to[0], Block::Adaptive)?;
    let (extension_card, mut extension) = open(to[1], Block::Extension)?;
    Norms::take(&mut from_adaptive);
    let norms = Norms::take(&mut adaptive);
    mix(&from_adaptive, &mut adaptive, share);
    mix(&from_extension, &mut extension, share);
    norms.put(&mut adaptive);
    bound(main, (adaptive_card, &adaptive), (extension_card, &extension))
}

/// Leads `to` back to a `share` of its way from `from`.
fn mix(from: &Tensors, to: &mut Tensors, share: f32) {
    for (key, values) in to {
        let Some(before) = from.get(key).filter(|before| before.shape == values.shape) else {
            continue;
        };
        for (value, before) in values.data.iter_mut().zip(&before.data) {
            *value = (*value - before).mul_add(share, *before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Values;

    #[test]
    fn numbers_with_a_counterpart_are_mixed() {
        let tensors = |all: &[(&str, [f32; 2])]| -> Tensors {
            let values = |data: &[f32; 2]| Values {
                shape: vec![2],
                data: data.to_vec(),
            };
            all.iter()
                .map(|(key, data)| ((*key).to_owned(), values(data)))
                .collect()
        };
        let from = tensors(&[("both", [0.0, 8.0]), ("gone", [1.0, 1.0])]);
        let mut to = tensors(&[("both", [4.0, 4.0]), ("new", [2.0, 3.0])]);
        mix(&from, &mut to, 0.25);
        assert!(to == tensors(&[("both", [1.0, 7.0]), ("new", [2.0, 3.0])]));
    }
}
