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

/// The domain for input like `images`. Others than the `current` one are tried, from those that change least on: with new colours, with
/// new statistics of the batch norms, with both; one replaces another where the main block names more of the images `judging`
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
    use crate::card::Card;
    use crate::input::InputSpec;
    use crate::network::Network;
    use crate::train::adapt::{HeadRecipe, retrain_head};
    use crate::train::initial::seeded;
    use crate::weights::{encode, tensors_of};

    /// A small main block that knows `images`.
    fn main(images: &Images) -> Vec<u8> {
        let backbone = "ResNet20".parse().unwrap();
        let card = Card::whole(Block::Main, backbone, 4, InputSpec::cifar100());
        let network = seeded(Network::new(card.backbone, card.classes, &Device::flex()), 1).unwrap();
        let drawn = encode(&card, &tensors_of(&network).unwrap()).unwrap();
        let norms = reestimate_norms(&drawn, &card.input, images, 0, &Processor::Engine).unwrap();
        let mut tensors = open(&drawn, Block::Main).unwrap().1;
        norms.set(&mut tensors).unwrap();
        let recipe = HeadRecipe {
            epochs: 30,
            batch_size: 32,
            learning_rate: 0.2,
            weight_decay: 0.0,
            seed: 3,
        };
        let start = encode(&card, &tensors).unwrap();
        retrain_head(&recipe, &start, &Training(images.clone()), &Processor::Engine).unwrap()
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
        let (main, dark) = (main(&images), dark(&images));
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
