//! Weights between two blocks: on the way from those that a training began with to those that it gave. Part of the way often serves
//! better than all of it, on the new input and on the old (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").

use crate::card::Block;
use crate::edge::open;
use crate::norms::Norms;
use crate::temperature::divide_logits;
use crate::weights::{Tensors, WeightsError, bound};

/// Blobs of an adaptive and an extension block.
pub(super) type Pair<'a> = (&'a [u8], &'a [u8]);

/// How much of what was trained is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Taken {
    /// This share of the way, with batch norms that usually see what the training saw.
    Share(f32),
    /// Nothing but the domain: the blocks are as they began.
    Domain,
}

/// Blobs that go as far as `taken` from the blocks `from` to the blocks `to`, which were trained from them over `main`. The domain is
/// that of `to`. From nothing on, an extension that adds to the main block's logits adds that share; one with logits of its own is
/// taken as it is.
pub(super) fn blend(
    main: &[u8],
    from: Option<Pair<'_>>,
    to: Pair<'_>,
    taken: Taken,
) -> Result<[Vec<u8>; 2], WeightsError> {
    let (adaptive_card, mut adaptive) = open(to.0, Block::Adaptive)?;
    let (extension_card, mut extension) = open(to.1, Block::Extension)?;
    match (from, taken) {
        (Some(from), _) => {
            let norms = Norms::take(&mut adaptive);
            let mut before = open(from.0, Block::Adaptive)?.1;
            Norms::take(&mut before);
            mix(&before, &mut adaptive, taken);
            norms.put(&mut adaptive);
            mix(&open(from.1, Block::Extension)?.1, &mut extension, taken);
        }
        (None, Taken::Share(share)) if extension_card.adds_to_main => {
            divide_logits(&mut extension, 1.0 / share);
        }
        (None, _) => {}
    }
    bound(main, (adaptive_card, &adaptive), (extension_card, &extension))
}

/// Leads `to` back on its way from `from`. Statistics of batch norms are of one or the other: they say what the input is like, which has no
/// part of the way.
fn mix(from: &Tensors, to: &mut Tensors, taken: Taken) {
    for (key, values) in to.iter_mut() {
        let Some(before) = from.get(key).filter(|before| before.shape == values.shape) else {
            continue;
        };
        let share = match taken {
            Taken::Domain => 0.0,
            Taken::Share(_) if key.contains(".running_") => continue,
            Taken::Share(share) => share,
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
        let (mean, both) = ("norm.running_mean", "both");
        let from = tensors(&[(both, [0.0, 8.0]), ("gone", [1.0, 1.0]), (mean, [0.0, 0.0])]);
        let mut to = tensors(&[(both, [4.0, 4.0]), ("new", [2.0, 3.0]), (mean, [1.0, 1.0])]);
        let trained = to.clone();
        mix(&from, &mut to, Taken::Share(0.25));
        let wanted = tensors(&[(both, [1.0, 7.0]), ("new", [2.0, 3.0]), (mean, [1.0, 1.0])]);
        assert!(to == wanted);
        let mut to = trained;
        mix(&from, &mut to, Taken::Domain);
        let wanted = tensors(&[(both, [0.0, 8.0]), ("new", [2.0, 3.0]), (mean, [0.0, 0.0])]);
        assert!(to == wanted);
    }
}
