//! Training of adaptive and extension block over a frozen main block.

use std::time::Instant;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use meanet_data::{Augmentation, Shuffle, Training};
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, ensure};
use tracing::info;

use crate::card::{Block, Card, is_default};
use crate::edge::open;
use crate::extend::Specialist;
use crate::layout::Fusion;
use crate::lower::{Compute, Whole};
use crate::network::Network;
use crate::train::average::Average;
use crate::train::cache::Cache;
use crate::train::checkpoint::Checkpoint;
use crate::train::classifier::{EpochLine, METRICS};
use crate::train::initial::seeded;
use crate::train::loss::{Label, cross_entropy, divergence, smoothed};
use crate::train::optimizer::{sgd, velocities, with_velocities};
use crate::train::recipe::{Distillation, seed_of};
use crate::train::run::{DataSnafu, Run, TrainError, WeightsSnafu};
use crate::train::schedule::{Decay, Schedule};
use crate::train::teacher::Teacher;
use crate::weights::{Tensors, WeightsError, apply, digest, encode, tensors_of};

/// How adaptive and extension block are trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExtensionRecipe {
    /// Classes that the extension tells apart, ascending. With all of them it learns from every image, as it has to where it
    /// is to correct the main block; with the hard ones alone, from images of these, as in the paper.
    pub outputs: Vec<u32>,
    /// Passes over the images.
    pub epochs: usize,
    /// Images a step.
    pub batch_size: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Share of the run during which the rate climbs.
    pub warm_up: f64,
    /// How the rate falls after that.
    #[serde(default)]
    pub decay: Decay,
    /// L2 penalty.
    pub weight_decay: f32,
    /// Probability mass spread over the wrong classes.
    pub label_smoothing: f32,
    /// Versions of each image whose main features are computed once and kept: the image itself, and augmented ones.
    pub views: usize,
    /// What is changed at random in the augmented ones.
    #[serde(default)]
    pub augmentation: Augmentation,
    /// Decay a step of the moving average of the weights; absent: the last weights are the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average: Option<f64>,
    /// What is learned from a teacher; absent: all from the labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distillation: Option<Distillation>,
    /// Whether the extension's logits are added to the main block's; without it the extension answers from scratch.
    pub adds_to_main: bool,
    /// How main and adaptive features meet.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fusion: Fusion,
    /// Seed of initial weights, order and augmentation.
    pub seed: u64,
}

impl ExtensionRecipe {
    /// Defaults for an extension with these outputs.
    #[must_use]
    pub fn new(outputs: Vec<u32>) -> Self {
        Self {
            outputs,
            epochs: 5,
            batch_size: 128,
            learning_rate: 0.1,
            warm_up: 0.2,
            decay: Decay::Cosine,
            weight_decay: 5e-4,
            label_smoothing: 0.1,
            views: 2,
            augmentation: Augmentation::default(),
            average: None,
            distillation: None,
            adds_to_main: true,
            fusion: Fusion::Concat,
            seed: 0,
        }
    }
}

/// What an extension learns from.
#[derive(Clone, Copy, Debug)]
pub struct Examples<'a> {
    /// Images to train on.
    pub training: &'a Training,
    /// How likely the label of each image is, in 0..=1, as where a network gave it; none: all are certain.
    pub confidences: &'a [f32],
    /// Images to measure each epoch on.
    pub holdout: Option<&'a Training>,
    /// Blobs of an adaptive and an extension block with the same outputs to go on from.
    pub start: Option<(&'a [u8], &'a [u8])>,
    /// The network to learn from besides the labels, where the recipe has distillation.
    pub teacher: Option<&'a Teacher>,
}

impl<'a> Examples<'a> {
    /// Certain labels and nothing else.
    #[must_use]
    pub fn of(training: &'a Training) -> Self {
        Self {
            training,
            confidences: &[],
            holdout: None,
            start: None,
            teacher: None,
        }
    }
}

/// What a training of the extension gave.
#[derive(Clone, Debug)]
pub struct TrainedExtension {
    /// Blob of the adaptive block.
    pub adaptive: Vec<u8>,
    /// Blob of the extension block.
    pub extension: Vec<u8>,
    /// Images trained on.
    pub trained_on: usize,
    /// Time it took.
    pub seconds: f64,
}

/// Trains adaptive and extension block on those images whose true class it has an output for. An extension that answers from
/// scratch is also trained on those which the main block (a blob) takes for one of these, since they will come at inference; it
/// learns that none of its classes is likely, so that it can be overruled. With a `run`, a checkpoint is written after each
/// epoch and gone on from.
pub fn train_extension(
    recipe: &ExtensionRecipe,
    main: &[u8],
    examples: &Examples<'_>,
    run: Option<&Run>,
    device: &Device,
) -> Result<TrainedExtension, TrainError> {
    let started = Instant::now();
    let (card, tensors) = open(main, Block::Main).context(WeightsSnafu)?;
    check(recipe, examples, card.classes)?;
    let card = Card {
        fusion: recipe.fusion,
        ..card
    };
    let size = [card.input.height, card.input.width];
    let mut network = Network::main(&card.blueprint(), card.classes, size, &Device::flex())
        .or_else(|reason| DataSnafu { reason }.fail())?;
    apply(&mut network, "the main block", tensors).context(WeightsSnafu)?;
    let frozen = Whole::new("main block", &card.input, &network, Compute::default())
        .map_err(WeightsError::from)
        .context(WeightsSnafu)?;
    let cache = Cache::new(recipe, &frozen, &card, examples)?;
    let count = cache.len();
    // A batch norm learns nothing from a batch of one image.
    ensure!(
        count >= 2 && (0..count).any(|image| cache.target(image).is_some()),
        DataSnafu {
            reason: format!("{count} images are of the extension's classes or taken for them; collect more")
        }
    );
    let holdout = examples.holdout.map(|images| {
        let recipe = ExtensionRecipe {
            views: 1,
            ..recipe.clone()
        };
        Cache::new(&recipe, &frozen, &card, &Examples::of(images))
    });
    let holdout = holdout.transpose()?;
    info!(
        images = count,
        views = recipe.views,
        seconds = started.elapsed().as_secs_f64(),
        "main features are cached"
    );
    let mut trainer = Trainer::begin(recipe, &card, examples, run, device)?;
    let (cached, first) = (Instant::now(), trainer.epoch);
    while trainer.epoch < recipe.epochs {
        let line = trainer.train_epoch(&cache, holdout.as_ref())?;
        let left = cached.elapsed().as_secs_f64() / (trainer.epoch - first) as f64
            * (recipe.epochs - trainer.epoch) as f64;
        info!(
            epoch = line.epoch,
            of = recipe.epochs,
            loss = line.loss,
            accuracy = line.holdout_accuracy,
            images_per_second = line.images_per_second,
            seconds_left = left,
            "extension epoch done"
        );
        if let Some(run) = run {
            run.log(METRICS, &line)?;
            trainer.checkpoint()?.write(run)?;
            run.epoch_done();
        }
    }
    let (adaptive, extension) = trainer.blobs(main, card.clone())?;
    Ok(TrainedExtension {
        adaptive,
        extension,
        trained_on: count,
        seconds: started.elapsed().as_secs_f64(),
    })
}

fn check(recipe: &ExtensionRecipe, examples: &Examples<'_>, classes: usize) -> Result<(), TrainError> {
    let ascending = recipe.outputs.is_sorted_by(|a, b| a < b);
    ensure!(
        ascending
            && recipe
                .outputs
                .last()
                .is_some_and(|&last| (last as usize) < classes),
        DataSnafu {
            reason: "the extension's classes are not ascending or not of the main block's, or there is none"
        }
    );
    let wanted = recipe.distillation.as_ref().map(|d| d.teacher.as_str());
    ensure!(
        wanted == examples.teacher.map(Teacher::digest),
        DataSnafu {
            reason: "the recipe names another teacher than the one given"
        }
    );
    ensure!(
        examples
            .teacher
            .is_none_or(|teacher| teacher.classes() == classes),
        DataSnafu {
            reason: "the teacher has another number of classes than the main block"
        }
    );
    match recipe.augmentation.fault() {
        Some(reason) => DataSnafu { reason }.fail(),
        None => Ok(()),
    }
}

/// A run in progress.
struct Trainer<'a> {
    recipe: &'a ExtensionRecipe,
    card: &'a Card,
    device: &'a Device,
    autodiff: Device,
    specialist: Specialist,
    optimizer: ModuleOptimizer,
    average: Option<Average>,
    schedule: Schedule,
    /// Epochs done.
    epoch: usize,
}

impl<'a> Trainer<'a> {
    /// Anew, from blobs, or from the run's checkpoint.
    fn begin(
        recipe: &'a ExtensionRecipe,
        card: &'a Card,
        examples: &Examples<'_>,
        run: Option<&Run>,
        device: &'a Device,
    ) -> Result<Self, TrainError> {
        let autodiff = device.clone().autodiff();
        let specialist = Specialist::new(&card.blueprint(), recipe.outputs.len(), &autodiff);
        let mut specialist = seeded(specialist, recipe.seed)?;
        let mut optimizer = sgd(recipe.weight_decay);
        let (mut epoch, mut averaged) = (0, None);
        if let Some(checkpoint) = run.map(Checkpoint::read).transpose()?.flatten() {
            epoch = checkpoint.epochs;
            apply(&mut specialist, "the extension", checkpoint.weights).context(WeightsSnafu)?;
            optimizer =
                with_velocities(optimizer, &specialist, checkpoint.velocities).context(WeightsSnafu)?;
            averaged = Some(checkpoint.average).filter(|tensors| !tensors.is_empty());
            info!(epochs = epoch, "resumed");
        } else if let Some((adaptive, extension)) = examples.start {
            let (_, tensors) = open(adaptive, Block::Adaptive).context(WeightsSnafu)?;
            apply(&mut specialist.adaptive, "the adaptive block", tensors).context(WeightsSnafu)?;
            let (_, tensors) = open(extension, Block::Extension).context(WeightsSnafu)?;
            apply(&mut specialist.extension, "the extension block", tensors).context(WeightsSnafu)?;
        }
        if let Some(run) = run {
            run.keep_lines(METRICS, epoch)?;
        }
        let average = match recipe.average {
            None => None,
            Some(decay) => {
                let tensors = match averaged {
                    Some(tensors) => tensors,
                    None => tensors_of(&specialist).context(WeightsSnafu)?,
                };
                let steps = epoch * (examples.training.0.len() / recipe.batch_size.max(1));
                Some(Average::new(decay, steps, tensors))
            }
        };
        Ok(Self {
            recipe,
            card,
            device,
            autodiff,
            specialist,
            optimizer,
            average,
            schedule: Schedule::new(recipe.learning_rate, recipe.warm_up, recipe.decay),
            epoch,
        })
    }

    fn train_epoch(&mut self, cache: &Cache, holdout: Option<&Cache>) -> Result<EpochLine, TrainError> {
        let recipe = self.recipe;
        let started = Instant::now();
        let count = cache.len();
        let batch_size = recipe.batch_size.clamp(1, count);
        let steps = (count / batch_size).max(1);
        let watched = (steps / 10).max(1);
        let order = Shuffle::new(seed_of(recipe.seed, self.epoch)).epoch(count);
        let (mut total, mut rate) = (0.0, 0.0);
        for (step, batch) in order.chunks_exact(batch_size).enumerate() {
            let loss = self.loss(cache, batch);
            if step % watched == 0 {
                total += f64::from(loss.clone().into_scalar::<f32>());
                if !total.is_finite() {
                    return Err(TrainError::Diverged {
                        epoch: self.epoch + 1,
                        loss: total,
                        rate: recipe.learning_rate,
                    });
                }
            }
            rate = self
                .schedule
                .rate((self.epoch * steps + step) as f64 / (recipe.epochs * steps) as f64);
            let gradients = GradientsParams::from_grads(loss.backward(), &self.specialist);
            self.specialist = self.optimizer.step(rate, self.specialist.clone(), gradients);
            if let Some(average) = &mut self.average {
                average.update(&self.specialist).context(WeightsSnafu)?;
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        self.epoch += 1;
        Ok(EpochLine {
            epoch: self.epoch,
            side: self.card.input.height,
            loss: total / steps.div_ceil(watched) as f64,
            learning_rate: rate,
            holdout_accuracy: holdout.map(|images| self.accuracy(images)).transpose()?,
            seconds,
            images_per_second: (steps * batch_size) as f64 / seconds,
        })
    }

    fn loss(&self, cache: &Cache, batch: &[usize]) -> Tensor<1> {
        let recipe = self.recipe;
        // Each epoch sees another version of an image, so that all are used alike.
        let view = |image: usize| (self.epoch + image) % cache.views();
        let cached = cache.batch(batch, view, &self.card.input, self.device);
        let [images, features] = [cached.images, cached.features].map(Tensor::from_inner);
        let logits = self.specialist.forward(images, features) + Tensor::from_inner(cached.added);
        let labels = batch.iter().map(|&image| match cache.target(image) {
            Some((output, sure)) => Label::Class(output, sure),
            None => Label::Other,
        });
        let targets = smoothed(
            labels,
            recipe.outputs.len(),
            recipe.label_smoothing,
            &self.autodiff,
        );
        match recipe.distillation.as_ref().zip(cached.taught) {
            None => cross_entropy(logits, targets),
            Some((how, teacher)) => {
                cross_entropy(logits.clone(), targets) * (1.0 - how.share)
                    + divergence(logits, teacher, how.temperature) * how.share
            }
        }
    }

    /// Share of the images of its classes that it gets right.
    fn accuracy(&self, images: &Cache) -> Result<f64, TrainError> {
        let mut specialist = self.specialist.valid();
        apply(&mut specialist, "the extension", self.result()?).context(WeightsSnafu)?;
        let all: Vec<usize> = (0..images.len())
            .filter(|&i| images.target(i).is_some())
            .collect();
        let mut right = 0_usize;
        for batch in all.chunks(256) {
            let cached = images.batch(batch, |_| 0, &self.card.input, self.device);
            let logits = specialist.forward(cached.images, cached.features) + cached.added;
            let found = logits.argmax(1).into_data();
            let found = found.iter::<i64>().zip(batch);
            right += found
                .filter(|(found, image)| images.target(**image).is_some_and(|(t, _)| t as i64 == *found))
                .count();
        }
        Ok(right as f64 / all.len().max(1) as f64)
    }

    /// The weights that the run gives.
    fn result(&self) -> Result<Tensors, TrainError> {
        match &self.average {
            Some(average) => Ok(average.tensors().clone()),
            None => tensors_of(&self.specialist).context(WeightsSnafu),
        }
    }

    fn checkpoint(&self) -> Result<Checkpoint, TrainError> {
        Ok(Checkpoint {
            epochs: self.epoch,
            weights: tensors_of(&self.specialist).context(WeightsSnafu)?,
            velocities: velocities(&self.optimizer, &self.specialist).context(WeightsSnafu)?,
            average: self
                .average
                .as_ref()
                .map(|a| a.tensors().clone())
                .unwrap_or_default(),
        })
    }

    /// Adaptive and extension block over the main block `main`.
    fn blobs(&self, main: &[u8], card: Card) -> Result<(Vec<u8>, Vec<u8>), TrainError> {
        let mut specialist = self.specialist.valid();
        apply(&mut specialist, "the extension", self.result()?).context(WeightsSnafu)?;
        let mut card = Card {
            block: Block::Adaptive,
            base: Some(digest(main)),
            adaptive: None,
            outputs: None,
            ranges: Vec::new(),
            ..card
        };
        let adaptive = tensors_of(&specialist.adaptive)
            .and_then(|t| encode(&card, &t))
            .context(WeightsSnafu)?;
        card.block = Block::Extension;
        card.adaptive = Some(digest(&adaptive));
        card.outputs = Some(self.recipe.outputs.clone());
        card.adds_to_main = self.recipe.adds_to_main;
        let extension = tensors_of(&specialist.extension)
            .and_then(|t| encode(&card, &t))
            .context(WeightsSnafu)?;
        Ok((adaptive, extension))
    }
}
