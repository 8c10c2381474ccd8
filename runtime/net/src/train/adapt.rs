//! Other ways to follow an input that has changed, for comparison with retraining adaptive and extension block: new statistics
//! for the batch norms, or a new last layer. Each gives a whole main block. Retraining everything is
//! [`crate::train::train_classifier`], begun with the main block.

use burn::module::Module;
use burn::nn::LinearConfig;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use meanet_data::{Images, Shuffle, Training, plain};
use serde::{Deserialize, Serialize};
use snafu::{OptionExt, ResultExt};

use crate::backend::Processor;
use crate::card::{Block, Card};
use crate::edge::{open, open_classifier};
use crate::input::InputSpec;
use crate::lower::values;
use crate::norms::Norms;
use crate::train::descent::{Batch, count};
use crate::train::frozen::{classifier, frozen, name};
use crate::train::optimizer::sgd;
use crate::train::run::{TrainError, WeightsSnafu};
use crate::train::schedule::{Decay, Schedule};
use crate::weights::{KeySnafu, Tensors, WeightsError, apply, encode, tensors_of};

/// Images that are normalised together when statistics are taken.
const BATCH: usize = 128;
/// Passes over the images for new statistics, at most.
const NORM_PASSES: usize = 3;
/// Images that are enough for these, in one pass or more.
const NORM_IMAGES: usize = 7200;

/// How a last layer is retrained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadRecipe {
    /// Passes over the images.
    pub epochs: usize,
    /// Images a step.
    pub batch_size: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// L2 penalty.
    pub weight_decay: f32,
    /// Seed of the order.
    pub seed: u64,
}

/// The main block (a blob) as a network to be asked by itself, as a cloud's is.
pub fn classifier_of(main: &[u8]) -> Result<Vec<u8>, WeightsError> {
    let (card, tensors) = open(main, Block::Main)?;
    let card = Card {
        block: Block::Cloud,
        ..card
    };
    encode(&card, &tensors)
}

/// Statistics of the batch norms of a main block or a cloud's network, taken anew from `images` normalised as `input` says; labels are not
/// looked at (Schneider et al. 2020; Nado et al. 2020). Statistics are moving averages: after twenty batches little is left of the old ones, and of few
/// images they keep a share.
pub fn reestimate_norms(
    blob: &[u8],
    input: &InputSpec,
    images: &Images,
    seed: u64,
    processor: &Processor,
) -> Result<Norms, TrainError> {
    if images.len() < 2 {
        return Err(TrainError::Data {
            reason: format!("{} images have no statistics; give a few hundred", images.len()),
        });
    }
    let (mut card, tensors) = open_classifier(blob).context(WeightsSnafu)?;
    // They are of other statistics.
    card.ranges.clear();
    card.input.clone_from(input);
    let mut shuffle = Shuffle::new(seed);
    let count = NORM_IMAGES.div_ceil(images.len()).min(NORM_PASSES);
    let passes: Vec<Vec<usize>> = (0..count).map(|_| shuffle.epoch(images.len())).collect();
    // A batch of one image has no variance.
    let batches = || {
        passes
            .iter()
            .flat_map(|pass| pass.chunks(BATCH))
            .filter(|batch| batch.len() > 1)
    };
    let counted = match processor {
        Processor::Engine => by_engine(&card, tensors.clone(), images, batches()),
        Processor::Burn(device) => by_library(&card, tensors.clone(), images, batches(), device),
    };
    let counted = match counted {
        // As a training's.
        Err(TrainError::Engine { source }) if source.is_of_graph() => {
            by_library(&card, tensors, images, batches(), &processor.device())
        }
        other => other,
    };
    Ok(Norms::among(counted?))
}

fn by_engine<'a>(
    card: &Card,
    tensors: Tensors,
    images: &Images,
    batches: impl Iterator<Item = &'a [usize]>,
) -> Result<Tensors, TrainError> {
    let network = classifier(card, tensors, &Device::flex())?;
    let size = [card.input.height, card.input.width];
    let batches = batches.map(|batch| Batch::of_images(plain(images, batch), size));
    count(&network, &format!("the {}", name(card)), &card.input, batches)
}

fn by_library<'a>(
    card: &Card,
    tensors: Tensors,
    images: &Images,
    batches: impl Iterator<Item = &'a [usize]>,
    device: &Device,
) -> Result<Tensors, TrainError> {
    // Batch norms take note of what they see on the device that training has; without gradients, nothing is kept for a way back,
    // which would be most of a training's memory.
    let autodiff = device.clone().autodiff();
    let network = classifier(card, tensors, &autodiff)?.no_grad();
    let size = [card.input.height, card.input.width];
    for batch in batches {
        let _ = network.features(card.input.tensor(plain(images, batch), size, &autodiff));
    }
    tensors_of(&network.valid()).context(WeightsSnafu)
}

/// The main block with its last layer trained on, over features that stay as they are and are computed once.
pub fn retrain_head(
    recipe: &HeadRecipe,
    main: &[u8],
    training: &Training,
    processor: &Processor,
) -> Result<Vec<u8>, TrainError> {
    let images = &training.0;
    let (card, mut tensors) = open(main, Block::Main).context(WeightsSnafu)?;
    let frozen = tensors.clone();
    let start = last_layer(&mut tensors)?;
    let channels = start.get("weight").map_or(0, |weight| weight.shape[0]);
    let features = features(&card, frozen, images)?;
    let count = features.len();
    let batch_size = recipe.batch_size.clamp(1, count.max(1));
    if count == 0 {
        return Err(TrainError::Data {
            reason: "there are no images to train on".to_owned(),
        });
    }
    let autodiff = processor.device().autodiff();
    let mut head = LinearConfig::new(channels, card.classes).init(&autodiff);
    apply(&mut head, "the last layer", start).context(WeightsSnafu)?;
    let mut optimizer = sgd(recipe.weight_decay);
    let loss_function = CrossEntropyLossConfig::new().init(&autodiff);
    let schedule = Schedule::new(recipe.learning_rate, 0.1, Decay::Cosine);
    let steps = count / batch_size;
    let mut shuffle = Shuffle::new(recipe.seed);
    for epoch in 0..recipe.epochs {
        let mut last = 0.0;
        for (step, batch) in shuffle.epoch(count).chunks_exact(batch_size).enumerate() {
            let values: Vec<f32> = batch.iter().flat_map(|&i| &features[i]).copied().collect();
            let x = Tensor::<2>::from_data(TensorData::new(values, [batch_size, channels]), &autodiff);
            let labels: Vec<i64> = batch.iter().map(|&i| i64::from(images.labels[i])).collect();
            let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [batch_size]), &autodiff);
            let loss = loss_function.forward(head.forward(x), labels);
            if step + 1 == steps {
                last = f64::from(loss.clone().into_scalar::<f32>());
            }
            let gradients = GradientsParams::from_grads(loss.backward(), &head);
            let rate = schedule.rate((epoch * steps + step) as f64 / (recipe.epochs * steps) as f64);
            head = optimizer.step(rate, head, gradients);
        }
        if !last.is_finite() {
            return Err(TrainError::Diverged {
                epoch: epoch + 1,
                loss: last,
                rate: recipe.learning_rate,
            });
        }
    }
    let trained = tensors_of(&head.valid()).context(WeightsSnafu)?;
    tensors.extend(
        trained
            .into_iter()
            .map(|(key, values)| (format!("{HEAD}{key}"), values)),
    );
    encode(&card, &tensors).context(WeightsSnafu)
}

/// What tensors of the last layer begin with.
const HEAD: &str = "head.";

/// Takes weight and bias of the last layer out of a network's tensors.
fn last_layer(tensors: &mut Tensors) -> Result<Tensors, TrainError> {
    ["weight", "bias"]
        .into_iter()
        .map(|name| {
            let key = format!("{HEAD}{name}");
            let values = tensors.remove(&key).context(KeySnafu {
                network: "the last layer",
                key: &key,
                reason: "is missing",
            });
            Ok((name.to_owned(), values.context(WeightsSnafu)?))
        })
        .collect()
}

/// What the last layer sees of each image, `[n][channels]`.
fn features(card: &Card, tensors: Tensors, images: &Images) -> Result<Vec<Vec<f32>>, TrainError> {
    let failed = |reason: String| TrainError::Data { reason };
    let network = classifier(card, tensors, &Device::flex())?;
    let whole = frozen(card, network.clone())?;
    let size = [card.input.height, card.input.width];
    let [channels, height, width] = card.blueprint().features(size).map_err(failed)?;
    let mut features = Vec::with_capacity(images.len());
    for pixels in images.pixels.chunks((images.stride() * BATCH).max(1)) {
        let (maps, logits) = whole
            .features(meanet_engine::Images::Bytes(pixels))
            .map_err(|e| failed(e.to_string()))?;
        let shape = [logits.len(), channels, height, width];
        let seen = network.entering(Tensor::from_data(TensorData::new(maps, shape), &Device::flex()));
        let [_, columns] = seen.dims();
        let seen = values("features", seen).map_err(|e| failed(e.to_string()))?;
        features.extend(seen.chunks_exact(columns.max(1)).map(<[f32]>::to_vec));
    }
    Ok(features)
}

#[cfg(test)]
pub(super) mod tests {
    use meanet_data::procedural;

    use super::*;
    use crate::cloud::CloudNetwork;
    use crate::domain::Domain;
    use crate::evaluate::top;
    use crate::network::Network;
    use crate::train::initial::seeded;
    use crate::{ImageBatch, digest};

    /// Long enough for a head to learn a few hundred drawn images.
    pub(in crate::train) const LONG: HeadRecipe = HeadRecipe {
        epochs: 30,
        batch_size: 32,
        learning_rate: 0.2,
        weight_decay: 0.0,
        seed: 3,
    };

    /// A small main block that was never trained.
    pub(in crate::train) fn main() -> Vec<u8> {
        let backbone = "ResNet20".parse().unwrap();
        let card = Card::whole(Block::Main, backbone, 4, InputSpec::cifar100());
        let network = seeded(Network::new(card.backbone, card.classes, &Device::flex()), 1).unwrap();
        encode(&card, &tensors_of(&network).unwrap()).unwrap()
    }

    /// The blob `main` with statistics of `images`.
    pub(in crate::train) fn with_norms(main: &[u8], images: &Images, processor: &Processor) -> Vec<u8> {
        let trained = Domain::trained(main).unwrap();
        let norms = reestimate_norms(main, &trained.input, images, 0, processor).unwrap();
        Domain { norms, ..trained }.onto(main).unwrap()
    }

    fn differing(old: &[u8], new: &[u8]) -> Vec<String> {
        let [(_, old), (_, new)] = [old, new].map(|blob| open(blob, Block::Main).unwrap());
        let differs = |key: &&String| old[*key] != new[*key];
        old.keys().filter(differs).cloned().collect()
    }

    #[test]
    fn each_way_changes_only_what_it_says() {
        let (main, processor) = (main(), Processor::Engine);
        let images = procedural(4, 64, 1);
        let norms = differing(&main, &with_norms(&main, &images, &processor));
        assert!(
            !norms.is_empty() && norms.iter().all(|key| key.contains(".running_")),
            "{norms:?}"
        );
        let recipe = HeadRecipe {
            epochs: 1,
            batch_size: 16,
            learning_rate: 0.1,
            weight_decay: 0.0,
            seed: 0,
        };
        let head = retrain_head(&recipe, &main, &Training(images), &processor).unwrap();
        assert_eq!(differing(&main, &head), ["head.bias", "head.weight"]);
    }

    #[test]
    fn engine_and_tensor_library_count_the_same() {
        let (main, images) = (main(), procedural(4, 200, 1));
        let counted = |processor: Processor| {
            open(&with_norms(&main, &images, &processor), Block::Main)
                .unwrap()
                .1
        };
        let wanted = counted(Processor::Burn(Device::flex()));
        let found = counted(Processor::Engine);
        for (key, wanted) in wanted.iter().filter(|(key, _)| key.contains(".running_")) {
            for (wanted, found) in wanted.data.iter().zip(&found[key].data) {
                assert!(
                    (wanted - found).abs() < 1e-3 * wanted.abs().max(0.1),
                    "{key}: {found} for {wanted}"
                );
            }
        }
    }

    #[test]
    fn a_head_learns_and_the_same_seed_gives_the_same() {
        let (main, processor) = (main(), Processor::Engine);
        let images = procedural(4, 200, 1);
        let right = |blob: &[u8]| {
            let network = CloudNetwork::load(&classifier_of(blob).unwrap()).unwrap();
            let batch = ImageBatch::from_bytes(32, 32, images.pixels.clone()).unwrap();
            let logits = network.logits(&batch).unwrap();
            let pairs = logits.iter().zip(&images.labels);
            pairs.filter(|(row, label)| top(row) == **label as usize).count()
        };
        let training = Training(images.clone());
        let trained = retrain_head(&LONG, &main, &training, &processor).unwrap();
        let again = retrain_head(&LONG, &main, &training, &processor).unwrap();
        assert_eq!(digest(&trained), digest(&again));
        assert!(
            right(&trained) > right(&main) + 40,
            "{} of 200 before, {} after",
            right(&main),
            right(&trained)
        );
    }

    #[test]
    fn too_few_images_are_refused() {
        let (main, processor) = (main(), Processor::Engine);
        let none = Images::empty(32, 32);
        assert!(reestimate_norms(&main, &InputSpec::cifar100(), &none, 0, &processor).is_err());
        let recipe = HeadRecipe {
            epochs: 1,
            batch_size: 16,
            learning_rate: 0.1,
            weight_decay: 0.0,
            seed: 0,
        };
        assert!(retrain_head(&recipe, &main, &Training(none), &processor).is_err());
    }
}
