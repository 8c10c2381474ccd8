//! Training of a whole classifier: the main block, or the cloud's network.

use std::fs;
use std::path::Path;
use std::time::Instant;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use meanet_data::{Augment, Images, Shuffle, Training, plain};
use serde::{Deserialize, Serialize};
use snafu::ResultExt;
use tracing::info;

use crate::backbone::Backbone;
use crate::card::{Block, Card, Variant};
use crate::grow::widen;
use crate::input::InputSpec;
use crate::lower::{Compute, Whole};
use crate::resnet::ResNet;
use crate::train::run::{FileSnafu, RECIPE, Run, TrainError, WeightsSnafu};
use crate::train::schedule::Schedule;
use crate::weights::{WeightsError, apply, decode, decode_tensors, encode, tensors_of};

/// Some epochs at one image size: early epochs on smaller images are cheaper by the square of the side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Side of the images in pixels.
    pub side: usize,
    /// Passes over the training images.
    pub epochs: usize,
}

/// How a classifier is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The network.
    pub backbone: Backbone,
    /// Its classes.
    pub classes: usize,
    /// What it takes.
    pub input: InputSpec,
    /// Epochs, by image size.
    pub stages: Vec<Stage>,
    /// Images of an epoch, drawn anew for each; absent: all. Fewer give more checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch_images: Option<usize>,
    /// Images a step.
    pub batch_size: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Share of the run during which the rate climbs.
    pub warm_up: f64,
    /// L2 penalty.
    pub weight_decay: f32,
    /// Probability mass spread over the wrong classes.
    pub label_smoothing: f32,
    /// Seed of initial weights, order and augmentation.
    pub seed: u64,
}

impl Recipe {
    fn epochs(&self) -> usize {
        self.stages.iter().map(|s| s.epochs).sum()
    }

    fn side(&self, epoch: usize) -> usize {
        let mut end = 0;
        for stage in &self.stages {
            end += stage.epochs;
            if epoch < end {
                return stage.side;
            }
        }
        self.input.height
    }
}

/// A trained classifier.
pub struct Classifier {
    recipe: Recipe,
    network: ResNet,
}

impl Classifier {
    /// The classifier of a run, as its last checkpoint has it, finished or not.
    pub fn from_run(folder: &Path) -> Result<Self, TrainError> {
        let run = Run::look(folder);
        let recipe: Recipe = run.read(RECIPE)?.ok_or_else(|| TrainError::Content {
            path: folder.to_owned(),
            reason: "there is no recipe: it is no folder of a training run".to_owned(),
        })?;
        let mut network = ResNet::new(recipe.backbone, recipe.classes, &Device::flex());
        load_checkpoint(&mut network, &recipe, &run)?;
        Ok(Self { recipe, network })
    }

    /// How it was trained.
    #[must_use]
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Logits of `images`, `[n][classes]`.
    pub fn logits(&self, images: &Images) -> Result<Vec<Vec<f32>>, TrainError> {
        let input = &self.recipe.input;
        let network = Whole::new("network in training", input, &self.network, Compute::default())
            .map_err(WeightsError::from)
            .context(WeightsSnafu)?;
        let all: Vec<usize> = (0..images.len()).collect();
        let mut logits = Vec::with_capacity(all.len());
        for batch in all.chunks(128) {
            let values = plain(images, batch, input.height);
            let found = network.logits(meanet_engine::Images::Floats(&values));
            logits.extend(found.map_err(|e| TrainError::Data {
                reason: e.to_string(),
            })?);
        }
        Ok(logits)
    }

    /// Its weights as a blob, as a main block or as the cloud's network.
    pub fn blob(&self, block: Block) -> Result<Vec<u8>, WeightsError> {
        let card = Card {
            block,
            backbone: self.recipe.backbone,
            variant: Variant::Extend,
            classes: self.recipe.classes,
            input: self.recipe.input.clone(),
            base: None,
            adaptive: None,
            outputs: None,
            adds_to_main: false,
        };
        encode(&card, &tensors_of(&self.network)?)
    }
}

#[derive(Serialize, Deserialize)]
struct Progress {
    epochs_done: usize,
}

#[derive(Serialize)]
struct EpochLine {
    epoch: usize,
    side: usize,
    loss: f64,
    holdout_accuracy: f64,
    seconds: f64,
    images_per_second: f64,
}

const CHECKPOINT: &str = "checkpoint.safetensors";
const PROGRESS: &str = "progress.json";
const METRICS: &str = "metrics.jsonl";

/// Trains `recipe` on `device` (a plain one: gradients are kept on its autodiff twin), measuring each epoch on `holdout`.
/// Writes a checkpoint after each epoch and goes on from it. `start` is the blob of a classifier of the same depth to begin
/// with, widened where the recipe's is wider.
pub fn train_classifier(
    recipe: &Recipe,
    start: Option<&[u8]>,
    training: &Training,
    holdout: &Training,
    run: &Run,
    device: &Device,
) -> Result<Classifier, TrainError> {
    let images = &training.0;
    let epoch_images = recipe.epoch_images.unwrap_or(images.len()).min(images.len());
    if epoch_images < recipe.batch_size || recipe.batch_size == 0 {
        return Err(TrainError::Data {
            reason: format!(
                "{epoch_images} images are fewer than one batch of {}; lower the batch size",
                recipe.batch_size
            ),
        });
    }
    let autodiff = device.clone().autodiff();
    device.seed(recipe.seed);
    let mut network = ResNet::new(recipe.backbone, recipe.classes, &autodiff);
    let mut done = 0;
    if let Some(progress) = run.read::<Progress>(PROGRESS)? {
        load_checkpoint(&mut network, recipe, run)?;
        done = progress.epochs_done;
        info!(epochs = done, "resumed");
    } else if let Some(blob) = start {
        let (card, tensors) = decode(blob).context(WeightsSnafu)?;
        let times = recipe.backbone.width() / card.backbone.width().max(1);
        apply(
            &mut network,
            &recipe.backbone.to_string(),
            widen(&tensors, times.max(1), recipe.seed),
        )
        .context(WeightsSnafu)?;
        info!(from = %card.backbone, to = %recipe.backbone, "started from trained weights");
    }
    let mut optimizer = SgdConfig::new()
        .with_momentum(Some(
            MomentumConfig::new()
                .with_momentum(0.9)
                .with_dampening(0.0)
                .with_nesterov(true),
        ))
        .with_weight_decay(Some(WeightDecayConfig::new(recipe.weight_decay)))
        .init();
    let loss_function = CrossEntropyLossConfig::new()
        .with_smoothing((recipe.label_smoothing > 0.0).then_some(recipe.label_smoothing))
        .init(&autodiff);
    let schedule = Schedule::new(recipe.learning_rate, recipe.warm_up);
    let (epochs, steps) = (recipe.epochs(), epoch_images / recipe.batch_size);
    for epoch in done..epochs {
        let side = recipe.side(epoch);
        let started = Instant::now();
        // Order and augmentation follow from seed and epoch alone, so that a resumed run sees what an unbroken one sees.
        let seed = recipe.seed.wrapping_mul(1_000_003).wrapping_add(epoch as u64);
        let order = Shuffle::new(seed).epoch(images.len());
        let mut augment = Augment::new(4, true, seed);
        let mut total = 0.0;
        let mut spoken = Instant::now();
        for (step, batch) in order[..epoch_images].chunks_exact(recipe.batch_size).enumerate() {
            let values = augment.batch(images, batch, side, recipe.input.fill());
            let x = recipe.input.tensor(values, [side, side], &autodiff);
            let logits = network.logits(network.features(x));
            let loss = loss_function.forward(logits, targets(images, batch, &autodiff));
            // Reading the loss waits for the device; ten times an epoch is enough to notice divergence.
            if step % (steps / 10).max(1) == 0 {
                total += f64::from(loss.clone().into_scalar::<f32>());
                if !total.is_finite() {
                    return Err(TrainError::Diverged {
                        epoch: epoch + 1,
                        loss: total,
                        rate: recipe.learning_rate,
                    });
                }
            }
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            let rate = schedule.rate((epoch * steps + step) as f64 / (epochs * steps) as f64);
            network = optimizer.step(rate, network, gradients);
            if spoken.elapsed().as_secs() >= 30 {
                spoken = Instant::now();
                let elapsed = started.elapsed().as_secs_f64();
                let rate = ((step + 1) * recipe.batch_size) as f64 / elapsed;
                let left = elapsed / (step + 1) as f64 * (steps - step - 1) as f64;
                info!(
                    epoch = epoch + 1,
                    of = epochs,
                    step,
                    steps,
                    images_per_second = rate,
                    epoch_seconds_left = left,
                    "training"
                );
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        let accuracy = accuracy(&network.valid(), &recipe.input, &holdout.0, device);
        let line = EpochLine {
            epoch: epoch + 1,
            side,
            loss: total / steps.div_ceil((steps / 10).max(1)) as f64,
            holdout_accuracy: accuracy,
            seconds,
            images_per_second: (steps * recipe.batch_size) as f64 / seconds,
        };
        info!(
            epoch = line.epoch,
            of = epochs,
            side,
            loss = line.loss,
            accuracy,
            seconds,
            "epoch done"
        );
        run.log(METRICS, &line)?;
        save_checkpoint(&network, run)?;
        let progress = serde_json::to_vec(&Progress {
            epochs_done: epoch + 1,
        })
        .unwrap_or_default();
        run.replace(PROGRESS, &progress)?;
    }
    Ok(Classifier {
        recipe: recipe.clone(),
        network: network.valid(),
    })
}

fn targets(images: &Images, batch: &[usize], device: &Device) -> Tensor<1, Int> {
    let labels: Vec<i64> = batch.iter().map(|&i| i64::from(images.labels[i])).collect();
    Tensor::from_data(TensorData::new(labels, [batch.len()]), device)
}

/// Share of `images` that the network gets right.
fn accuracy(network: &ResNet, input: &InputSpec, images: &Images, device: &Device) -> f64 {
    let all: Vec<usize> = (0..images.len()).collect();
    let mut right = 0_usize;
    for batch in all.chunks(256) {
        let values = plain(images, batch, input.height);
        let x = input.tensor(values, [input.height, input.width], device);
        let predicted = network.logits(network.features(x)).argmax(1).into_data();
        right += predicted
            .iter::<i64>()
            .zip(batch)
            .filter(|(p, i)| *p == i64::from(images.labels[**i]))
            .count();
    }
    right as f64 / images.len().max(1) as f64
}

fn save_checkpoint(network: &ResNet, run: &Run) -> Result<(), TrainError> {
    let mut store = burn::store::SafetensorsStore::from_bytes(None);
    let content = |reason: String| TrainError::Content {
        path: run.path(CHECKPOINT),
        reason,
    };
    burn::store::ModuleSnapshot::save_into(network, &mut store).map_err(|e| content(e.to_string()))?;
    let bytes = store.get_bytes().map_err(|e| content(e.to_string()))?;
    run.replace(CHECKPOINT, &bytes)
}

fn load_checkpoint(network: &mut ResNet, recipe: &Recipe, run: &Run) -> Result<(), TrainError> {
    let path = run.path(CHECKPOINT);
    let bytes = fs::read(&path).context(FileSnafu { path })?;
    let tensors = decode_tensors(&bytes).context(WeightsSnafu)?;
    apply(network, &recipe.backbone.to_string(), tensors).context(WeightsSnafu)
}
