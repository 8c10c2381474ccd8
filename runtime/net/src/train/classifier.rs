//! Training of a whole classifier: the main block, or the cloud's network.

use std::path::Path;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use meanet_data::{Augment, Images, Shuffle, Training, plain, scaled};
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, ensure};
use tracing::info;

use crate::card::{Block, Card};
use crate::grow::widen;
use crate::lower::{Compute, Whole};
use crate::network::Network;
use crate::pytorch::StateDict;
use crate::train::average::Average;
use crate::train::checkpoint::Checkpoint;
use crate::train::initial::seeded;
use crate::train::loss::{Label, cross_entropy, divergence, smoothed};
use crate::train::optimizer::{sgd, velocities, with_velocities};
use crate::train::recipe::{Recipe, seed_of};
use crate::train::run::{DataSnafu, RECIPE, Run, TrainError, WeightsSnafu};
use crate::train::schedule::Schedule;
use crate::train::teacher::{Advice, Teacher};
use crate::weights::{Tensors, WeightsError, apply, decode, encode, tensors_of};

/// Lines of [`EpochLine`], one an epoch.
pub const METRICS: &str = "metrics.jsonl";
/// How often progress is told.
const WORDS: Duration = Duration::from_secs(30);

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
        let network = Whole::new("network in training", input, &self.network, Compute::default())
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

/// What a run says of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochLine {
    /// From 1.
    pub epoch: usize,
    /// Side of the images in pixels.
    pub side: usize,
    /// Mean training loss, over some of the steps.
    pub loss: f64,
    /// Learning rate at its end.
    pub learning_rate: f64,
    /// Share of the images set aside that the network (the averaged one, if any) gets right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout_accuracy: Option<f64>,
    /// Time it took.
    pub seconds: f64,
    /// Images trained on, a second.
    pub images_per_second: f64,
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

/// Trains `recipe` on `device` (a plain one: gradients are kept on its autodiff twin). Writes a checkpoint after each epoch and
/// goes on from it, with the result of an unbroken run.
pub fn train_classifier(
    recipe: &Recipe,
    lessons: &Lessons<'_>,
    run: &Run,
    device: &Device,
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
    let mut trainer = Trainer::begin(recipe, lessons, run, device)?;
    let epochs = recipe.epochs();
    let started = Instant::now();
    let first = trainer.epoch;
    while trainer.epoch < epochs {
        let line = trainer.train_epoch(epoch_images)?;
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

/// A run in progress.
struct Trainer<'a> {
    recipe: &'a Recipe,
    lessons: &'a Lessons<'a>,
    device: &'a Device,
    autodiff: Device,
    network: Network,
    optimizer: ModuleOptimizer,
    average: Option<Average>,
    advice: Option<Advice<'a>>,
    schedule: Schedule,
    /// Epochs done.
    epoch: usize,
}

impl<'a> Trainer<'a> {
    /// Anew, or from the run's checkpoint.
    fn begin(
        recipe: &'a Recipe,
        lessons: &'a Lessons<'a>,
        run: &Run,
        device: &'a Device,
    ) -> Result<Self, TrainError> {
        let autodiff = device.clone().autodiff();
        let name = recipe.backbone.to_string();
        let mut network = seeded(recipe.network(&autodiff)?, recipe.seed)?;
        let mut optimizer = sgd(recipe.weight_decay);
        let (mut epoch, mut averaged) = (0, None);
        if let Some(checkpoint) = Checkpoint::read(run)? {
            epoch = checkpoint.epochs;
            apply(&mut network, &name, checkpoint.weights).context(WeightsSnafu)?;
            optimizer = with_velocities(optimizer, &network, checkpoint.velocities).context(WeightsSnafu)?;
            averaged = Some(checkpoint.average).filter(|tensors| !tensors.is_empty());
            info!(epochs = epoch, "resumed");
        } else if let Some(blob) = lessons.start {
            let (card, tensors) = decode(blob).context(WeightsSnafu)?;
            let times = recipe.backbone.width() / card.backbone.width().max(1);
            let wide = widen(&tensors, times.max(1), recipe.seed);
            apply(&mut network, &name, wide).context(WeightsSnafu)?;
            info!(from = %card.backbone, to = %recipe.backbone, "started from trained weights");
        }
        // An epoch may have been told of and then lost, with its checkpoint not yet written.
        run.keep_lines(METRICS, epoch)?;
        let mut trainer = Self {
            recipe,
            lessons,
            device,
            autodiff,
            network,
            optimizer,
            average: None,
            advice: lessons.teacher.map(|teacher| {
                let views = recipe.distillation.as_ref().and_then(|how| how.views);
                Advice::new(teacher, lessons.training.0.len(), views)
            }),
            schedule: Schedule::new(recipe.learning_rate, recipe.warm_up, recipe.decay),
            epoch,
        };
        if let Some(decay) = recipe.average {
            let tensors = match averaged {
                Some(tensors) => tensors,
                None => tensors_of(&trainer.network).context(WeightsSnafu)?,
            };
            trainer.average = Some(Average::new(decay, epoch * trainer.steps(), tensors));
        }
        Ok(trainer)
    }

    /// Steps of an epoch.
    fn steps(&self) -> usize {
        let count = self.lessons.training.0.len();
        self.recipe.epoch_images.unwrap_or(count).min(count) / self.recipe.batch_size
    }

    fn train_epoch(&mut self, epoch_images: usize) -> Result<EpochLine, TrainError> {
        let recipe = self.recipe;
        let images = &self.lessons.training.0;
        let side = recipe.side(self.epoch);
        let (epochs, steps) = (recipe.epochs(), self.steps());
        let (started, mut spoken) = (Instant::now(), Instant::now());
        // Order and augmentation follow from seed and epoch alone, so that a resumed run sees what an unbroken one sees.
        let order = Shuffle::new(seed_of(recipe.seed, self.epoch)).epoch(images.len());
        let views = recipe.distillation.as_ref().and_then(|how| how.views);
        let view = self.epoch % views.unwrap_or(usize::MAX);
        let augment = Augment::new(recipe.augmentation, seed_of(recipe.seed, view));
        // Reading the loss waits for the device; ten times an epoch is enough to notice divergence.
        let watched = (steps / 10).max(1);
        let (mut total, mut rate) = (0.0, 0.0);
        for (step, batch) in order[..epoch_images].chunks_exact(recipe.batch_size).enumerate() {
            let values = augment.batch(images, batch, recipe.input.fill());
            let loss = self.loss(values, batch, side, view)?;
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
                .rate((self.epoch * steps + step) as f64 / (epochs * steps) as f64);
            self.step(&loss, rate)?;
            if spoken.elapsed() >= WORDS {
                spoken = Instant::now();
                let elapsed = started.elapsed().as_secs_f64();
                info!(
                    epoch = self.epoch + 1,
                    of = epochs,
                    step,
                    steps,
                    images_per_second = ((step + 1) * recipe.batch_size) as f64 / elapsed,
                    epoch_seconds_left = elapsed / (step + 1) as f64 * (steps - step - 1) as f64,
                    "training"
                );
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        self.epoch += 1;
        Ok(EpochLine {
            epoch: self.epoch,
            side,
            loss: total / steps.div_ceil(watched) as f64,
            learning_rate: rate,
            holdout_accuracy: Some(self.accuracy()?),
            seconds,
            images_per_second: (steps * recipe.batch_size) as f64 / seconds,
        })
    }

    /// Loss of the images `batch`, of which `values` are the versions of `view`.
    fn loss(
        &mut self,
        values: Vec<f32>,
        batch: &[usize],
        side: usize,
        view: usize,
    ) -> Result<Tensor<1>, TrainError> {
        let recipe = self.recipe;
        let size = [recipe.input.height, recipe.input.width];
        // The teacher looks at the same cut-outs, but at full size.
        let taught = match (&recipe.distillation, &mut self.advice) {
            (Some(how), Some(advice)) => Some((how, advice.on(&values, size, batch, view, self.device)?)),
            _ => None,
        };
        let x = recipe
            .input
            .tensor(scaled(values, size, side), [side, side], &self.autodiff);
        let logits = self.network.logits(self.network.features(x));
        let labels = &self.lessons.training.0.labels;
        let labels = batch
            .iter()
            .map(|&image| Label::Class(labels[image] as usize, 1.0));
        let targets = smoothed(labels, recipe.classes, recipe.label_smoothing, &self.autodiff);
        Ok(match taught {
            None => cross_entropy(logits, targets),
            Some((how, teacher)) => {
                cross_entropy(logits.clone(), targets) * (1.0 - how.share)
                    + divergence(logits, teacher, how.temperature) * how.share
            }
        })
    }

    fn step(&mut self, loss: &Tensor<1>, rate: f64) -> Result<(), TrainError> {
        let gradients = GradientsParams::from_grads(loss.backward(), &self.network);
        // The optimizer takes the network by value and gives it back.
        self.network = self.optimizer.step(rate, self.network.clone(), gradients);
        match &mut self.average {
            Some(average) => average.update(&self.network).context(WeightsSnafu),
            None => Ok(()),
        }
    }

    /// Share of the images set aside that the network gets right as it would be given.
    fn accuracy(&self) -> Result<f64, TrainError> {
        let recipe = self.recipe;
        let mut network = self.network.valid();
        if let Some(average) = &self.average {
            let name = recipe.backbone.to_string();
            apply(&mut network, &name, average.tensors().clone()).context(WeightsSnafu)?;
        }
        let images = &self.lessons.holdout.0;
        let all: Vec<usize> = (0..images.len()).collect();
        let mut right = 0_usize;
        for batch in all.chunks(256) {
            let size = [recipe.input.height, recipe.input.width];
            let x = recipe.input.tensor(plain(images, batch), size, self.device);
            let predicted = network.logits(network.features(x)).argmax(1).into_data();
            right += predicted
                .iter::<i64>()
                .zip(batch)
                .filter(|(p, i)| *p == i64::from(images.labels[**i]))
                .count();
        }
        Ok(right as f64 / images.len().max(1) as f64)
    }

    fn checkpoint(&self) -> Result<Checkpoint, TrainError> {
        Ok(Checkpoint {
            epochs: self.epoch,
            weights: tensors_of(&self.network).context(WeightsSnafu)?,
            velocities: velocities(&self.optimizer, &self.network).context(WeightsSnafu)?,
            average: self
                .average
                .as_ref()
                .map(|a| a.tensors().clone())
                .unwrap_or_default(),
        })
    }
}
