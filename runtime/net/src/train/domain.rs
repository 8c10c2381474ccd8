//! Which domain a main block does best in: the one in service, the one that it was trained in, or one whose statistics are of new images.

use burn::tensor::Device;
use meanet_data::Images;
use meanet_method::Difference;
use snafu::ResultExt;

use crate::card::Block;
use crate::domain::Domain;
use crate::edge::open;
use crate::evaluate::top;
use crate::norms::Norms;
use crate::train::adapt::reestimate_norms;
use crate::train::backend::Processor;
use crate::train::frozen::{frozen, main_block};
use crate::train::run::{TrainError, WeightsSnafu};

/// Images that are answered together.
const BATCH: usize = 128;

/// The domain for input like `images`. Others than the `current` one are tried, from those that change least of what was trained on: that of
/// the training, with new colours, with new statistics of the batch norms, with both; one replaces another where the main block names more of the images `judging`
/// rightly in it, beyond chance. Statistics are taken without labels, so that images that gave them can judge as well.
pub(super) fn follow(
    main: &[u8],
    current: Domain,
    images: &Images,
    judging: &Images,
    seed: u64,
    processor: &Processor,
) -> Result<Domain, TrainError> {
    let trained = Domain::trained(main).context(WeightsSnafu)?;
    let anew = |input: &_| reestimate_norms(main, input, images, seed, processor);
    let colours = trained.input.of(images);
    let others = [
        Domain {
            input: colours.clone(),
            norms: Norms::default(),
        },
        Domain {
            norms: anew(&trained.input)?,
            input: trained.input.clone(),
        },
        Domain {
            norms: anew(&colours)?,
            input: colours,
        },
    ];
    let mut best = (answers(main, &current, judging)?, current);
    for other in std::iter::once(trained).chain(others) {
        if other == best.1 {
            continue;
        }
        let found = answers(main, &other, judging)?;
        if Difference::between(&best.0, &found).is_gain() {
            best = (found, other);
        }
    }
    Ok(best.1)
}

/// Which of `images` the main block gets right in a domain.
fn answers(main: &[u8], domain: &Domain, images: &Images) -> Result<Vec<bool>, TrainError> {
    let (mut card, mut tensors) = open(main, Block::Main).context(WeightsSnafu)?;
    domain.set(&mut card, &mut tensors).context(WeightsSnafu)?;
    let whole = frozen(&card, main_block(&card, tensors, &Device::flex())?)?;
    let mut right = Vec::with_capacity(images.len());
    for pixels in images.pixels.chunks((images.stride() * BATCH).max(1)) {
        let logits = whole.logits(meanet_engine::Images::Bytes(pixels));
        let logits = logits.map_err(|e| TrainError::Data {
            reason: e.to_string(),
        })?;
        for row in logits {
            right.push(top(&row) == images.labels[right.len()] as usize);
        }
    }
    Ok(right)
}

#[cfg(test)]
mod tests {
    use meanet_data::{Training, procedural};

    use super::*;
    use crate::train::adapt::retrain_head;
    use crate::train::adapt::tests::{LONG, main, with_norms};

    /// A small main block that knows `images`.
    fn knowing(images: &Images) -> Vec<u8> {
        let start = with_norms(&main(), images, &Processor::Engine);
        retrain_head(&LONG, &start, &Training(images.clone()), &Processor::Engine).unwrap()
    }

    /// Hardly any light.
    fn dark(images: &Images) -> Images {
        let mut dark = images.clone();
        dark.pixels.iter_mut().for_each(|value| *value = *value / 8 + 4);
        dark
    }

    #[test]
    fn a_main_block_follows_the_light_and_comes_back() {
        let images = procedural(4, 240, 1);
        let (main, dark) = (knowing(&images), dark(&images));
        let trained = Domain::trained(&main).unwrap();
        let right = |domain: &Domain, images: &Images| {
            let answers = answers(&main, domain, images).unwrap();
            answers.into_iter().filter(|right| *right).count()
        };
        let followed = |current: &Domain, images: &Images| {
            follow(&main, current.clone(), images, images, 0, &Processor::Engine).unwrap()
        };
        assert_eq!(followed(&trained, &images), trained, "nothing has changed");
        let known = right(&trained, &images);
        let moved = followed(&trained, &dark);
        let counts = [&trained, &moved].map(|domain| right(domain, &dark));
        // Five of eight bits are gone, and with them some images for good.
        assert!(
            counts[1] >= counts[0] + (known - counts[0]) / 3,
            "{counts:?} of the {known} that it knew"
        );
        let back = followed(&moved, &images);
        assert!(right(&back, &images) + known / 20 >= known);
    }
}
