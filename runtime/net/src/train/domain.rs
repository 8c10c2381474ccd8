//! Which domain a classifier does best in: the one in service, the one that it was trained in, or one whose statistics are of new images.

use burn::tensor::Device;
use meanet_data::Images;
use meanet_method::grows;
use snafu::ResultExt;

use crate::backend::Processor;
use crate::domain::Domain;
use crate::edge::open_classifier;
use crate::evaluate::top;
use crate::norms::Norms;
use crate::train::adapt::reestimate_norms;
use crate::train::frozen::{classifier, frozen};
use crate::train::run::{TrainError, WeightsSnafu};
use crate::weights::read_card;

/// The domain for input like `images`. Others than the `current` one are tried; one replaces another where the main block names more of the
/// images `judging` rightly in it, beyond chance. Statistics are taken without labels, so that images that gave them can judge as well.
pub(super) fn follow(
    main: &[u8],
    current: Domain,
    images: &Images,
    judging: &Images,
    seed: u64,
    processor: &Processor,
) -> Result<Domain, TrainError> {
    let others = candidates(main, images, seed, processor)?;
    let counted = |domain: &Domain| {
        let right = right(main, domain, judging)?;
        Ok((
            right
                .into_iter()
                .map(|right| f64::from(u8::from(right)))
                .collect(),
            (),
        ))
    };
    Ok(choose(current, others, counted)?.0)
}

/// Of domains in their order the one that does best: one replaces another where the values that `ask` gives it, one an image, are larger beyond
/// chance. Also what else `ask` said of it.
pub(super) fn choose<T>(
    first: Domain,
    others: impl IntoIterator<Item = Domain>,
    ask: impl Fn(&Domain) -> Result<(Vec<f64>, T), TrainError>,
) -> Result<(Domain, T), TrainError> {
    let (mut values, mut said) = ask(&first)?;
    let mut best = first;
    for other in others {
        if other == best {
            continue;
        }
        let found = ask(&other)?;
        if grows(&values, &found.0) {
            (values, said) = found;
            best = other;
        }
    }
    Ok((best, said))
}

/// Domains that input like `images` may be in, for a main block or a cloud's network, from the one that changes least of what was trained on:
/// that of the training, with new colours, with new statistics of the batch norms, with both.
pub(super) fn candidates(
    classifier: &[u8],
    images: &Images,
    seed: u64,
    processor: &Processor,
) -> Result<[Domain; 4], TrainError> {
    let trained = Domain::of_card(&read_card(classifier).context(WeightsSnafu)?);
    let anew = |input: &_| reestimate_norms(classifier, input, images, seed, processor);
    let colours = trained.input.of(images);
    Ok([
        trained.clone(),
        Domain {
            input: colours.clone(),
            norms: Norms::default(),
        },
        Domain {
            norms: anew(&trained.input)?,
            input: trained.input,
        },
        Domain {
            norms: anew(&colours)?,
            input: colours,
        },
    ])
}

/// What a classifier says of `images` in a domain, `[n][classes]`.
pub(super) fn logits(blob: &[u8], domain: &Domain, images: &Images) -> Result<Vec<Vec<f32>>, TrainError> {
    let (mut card, mut tensors) = open_classifier(blob).context(WeightsSnafu)?;
    domain.set(&mut card, &mut tensors).context(WeightsSnafu)?;
    let whole = frozen(&card, classifier(&card, tensors, &Device::flex())?)?;
    let said = whole.logits(meanet_engine::Images::Bytes(&images.pixels));
    said.map_err(|e| TrainError::Data {
        reason: e.to_string(),
    })
}

/// Which of `images` the main block gets right in a domain.
fn right(main: &[u8], domain: &Domain, images: &Images) -> Result<Vec<bool>, TrainError> {
    let logits = logits(main, domain, images)?;
    let pairs = logits.iter().zip(&images.labels);
    Ok(pairs.map(|(row, label)| top(row) == *label as usize).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use meanet_data::{Training, procedural};

    use super::*;
    use crate::train::adapt::retrain_head;
    use crate::train::adapt::tests::{LONG, main, with_norms};

    /// A small main block that knows `images`.
    pub(in crate::train) fn knowing(images: &Images) -> Vec<u8> {
        let start = with_norms(&main(), images, &Processor::Engine);
        retrain_head(&LONG, &start, &Training(images.clone()), &Processor::Engine).unwrap()
    }

    /// Hardly any light.
    pub(in crate::train) fn dark(images: &Images) -> Images {
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
            let answers = right(&main, domain, images).unwrap();
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
