//! Training of a whole classifier: the main block, or the cloud's network.

use std::path::Path;
use std::time::Instant;

use burn::tensor::Device;
use meanet_data::{Images, Training, plain};
use snafu::{ResultExt, ensure};
use tracing::info;

use crate::backend::Processor;
use crate::card::{Block, Card};
use crate::lower::{Compute, Whole};
use crate::network::Network;
use crate::pytorch::StateDict;
use crate::train::checkpoint::Checkpoint;
use crate::train::metrics::METRICS;
use crate::train::recipe::Recipe;
use crate::train::run::{DataSnafu, RECIPE, Run, TrainError, WeightsSnafu};
use crate::train::teacher::Teacher;
use crate::weights::{Tensors, WeightsError, apply, encode, tensors_of};

mod trainer;

use trainer::Trainer;

/// A trained classifier.
pub struct Classifier {
    recipe: Recipe,
    network: Network,
}

impl Classifier {
    /// The classifier of a run, as its last checkpoint has it, finished or not.
    pub fn from_run(folder: &Path) -> Result<Self, TrainError> {
        let run = Run::look(folder);
        let missing = |reason: &str| TrainError::Content {
            path: folder.to_owned(),
            reason: reason.to_owned(),
        };
        let recipe: Recipe = run
            .read(RECIPE)?
            .ok_or_else(|| missing("there is no recipe: it is no folder of a training run"))?;
        let checkpoint = Checkpoint::read(&run)?
            .ok_or_else(|| missing("there is no checkpoint yet: wait for the first epoch"))?;
        Self::new(recipe, checkpoint.result())
    }

    /// A classifier that `PyTorch` trained, as a run of no epochs: to extend, to package, or to begin another run with.
    pub fn import(recipe: Recipe, state: &StateDict, folder: &Path) -> Result<Self, TrainError> {
        let recipe = Recipe {
            stages: Vec::new(),
            ..recipe
        };
        let network = state
            .network(recipe.backbone, recipe.classes)
            .context(WeightsSnafu)?;
        let run = Run::open(folder, &recipe)?;
        let checkpoint = Checkpoint {
            epochs: 0,
            weights: tensors_of(&network).context(WeightsSnafu)?,
            velocities: Tensors::new(),
            average: Tensors::new(),
        };
        checkpoint.write(&run)?;
        Ok(Self { recipe, network })
    }

    fn new(recipe: Recipe, weights: Tensors) -> Result<Self, TrainError> {
        let mut network = recipe.network(&Device::flex())?;
        apply(&mut network, &recipe.backbone.to_string(), weights).context(WeightsSnafu)?;
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
        let network = Whole::new(
            "network in training",
            input,
            self.network.clone(),
            Compute::default(),
        )
        .map_err(WeightsError::from)
        .context(WeightsSnafu)?;
        let all: Vec<usize> = (0..images.len()).collect();
        let mut logits = Vec::with_capacity(all.len());
        for batch in all.chunks(128) {
            let values = plain(images, batch);
            let found = network.logits(meanet_engine::Images::Floats(&values));
            logits.extend(found.map_err(|e| TrainError::Data {
                reason: e.to_string(),
            })?);
        }
        Ok(logits)
    }

    /// Its weights as a blob, as a main block or as the cloud's network.
    pub fn blob(&self, block: Block) -> Result<Vec<u8>, WeightsError> {
        let Recipe {
            backbone, classes, ..
        } = self.recipe;
        let card = Card {
            variant: self.recipe.variant,
            ..Card::whole(block, backbone, classes, self.recipe.input.clone())
        };
        encode(&card, &tensors_of(&self.network)?)
    }
}

/// What a classifier learns from.
#[derive(Clone, Copy, Debug)]
pub struct Lessons<'a> {
    /// Images to train on.
    pub training: &'a Training,
    /// Images to measure each epoch on; they teach nothing.
    pub holdout: &'a Training,
    /// Blob of a classifier of the same depth to begin with, widened where the recipe's is wider.
    pub start: Option<&'a [u8]>,
    /// The network to learn from besides the labels, where the recipe has distillation.
    pub teacher: Option<&'a Teacher>,
}

/// Trains `recipe` on `processor`. Writes a checkpoint after each epoch and
/// goes on from it, with the result of an unbroken run.
pub fn train_classifier(
    recipe: &Recipe,
    lessons: &Lessons<'_>,
    run: &Run,
    processor: &Processor,
) -> Result<Classifier, TrainError> {
    let images = &lessons.training.0;
    let epoch_images = recipe.epoch_images.unwrap_or(images.len()).min(images.len());
    if let Some(reason) = recipe.fault(epoch_images) {
        return DataSnafu { reason }.fail();
    }
    let wanted = recipe.distillation.as_ref().map(|d| d.teacher.as_str());
    ensure!(
        wanted == lessons.teacher.map(Teacher::digest),
        DataSnafu {
            reason: "the recipe names another teacher than the one given"
        }
    );
    let mut trainer = Trainer::begin(recipe, lessons, epoch_images, run, processor)?;
    let epochs = recipe.epochs();
    let started = Instant::now();
    let first = trainer.epoch;
    while trainer.epoch < epochs {
        let line = trainer.train_epoch()?;
        let done = trainer.epoch - first;
        let left = started.elapsed().as_secs_f64() / done as f64 * (epochs - trainer.epoch) as f64;
        info!(
            epoch = line.epoch,
            of = epochs,
            side = line.side,
            loss = line.loss,
            accuracy = line.holdout_accuracy,
            images_per_second = line.images_per_second,
            seconds_left = left,
            "epoch done"
        );
        run.log(METRICS, &line)?;
        trainer.checkpoint()?.write(run)?;
        run.epoch_done();
    }
    Classifier::new(recipe.clone(), trainer.checkpoint()?.result())
}
