//! A training of a whole classifier in progress.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};
use meanet_data::{Augment, Shuffle, plain, scaled};
use snafu::ResultExt;
use tracing::info;

use super::Lessons;
use crate::backend::Processor;
use crate::evaluate::top;
use crate::grow::widen;
use crate::network::Network;
use crate::train::checkpoint::Checkpoint;
use crate::train::descent::{Batch, Beginning, Descent, Form};
use crate::train::initial::seeded;
use crate::train::loss::{Label, cross_entropy, divergence, smoothed};
use crate::train::metrics::{EpochLine, METRICS};
use crate::train::recipe::{Recipe, seed_of};
use crate::train::run::{Run, TrainError, WeightsSnafu};
use crate::train::schedule::Schedule;
use crate::train::teacher::Advice;
use crate::train::watch::Watch;
use crate::weights::{apply, decode};

/// Images that are judged at once.
const JUDGED: usize = 256;
/// How often progress is told.
const WORDS: Duration = Duration::from_secs(30);

/// A run in progress.
pub(super) struct Trainer<'a> {
    recipe: &'a Recipe,
    lessons: &'a Lessons<'a>,
    /// Where the teacher's answers lie.
    device: Device,
    descent: Descent<Network>,
    advice: Option<Advice<'a>>,
    schedule: Schedule,
    /// Steps of an epoch.
    steps: usize,
    /// Epochs done.
    pub(super) epoch: usize,
}

impl<'a> Trainer<'a> {
    /// Anew, or from the run's checkpoint. An epoch has `epoch_images` images.
    pub(super) fn begin(
        recipe: &'a Recipe,
        lessons: &'a Lessons<'a>,
        epoch_images: usize,
        run: &Run,
        processor: &Processor,
    ) -> Result<Self, TrainError> {
        let name = recipe.backbone.to_string();
        let mut network = seeded(recipe.network(&processor.training_device())?, recipe.seed)?;
        let checkpoint = Checkpoint::read(run)?;
        let epoch = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.epochs);
        if let (None, Some(blob)) = (&checkpoint, lessons.start) {
            let (card, tensors) = decode(blob).context(WeightsSnafu)?;
            let times = recipe.backbone.width() / card.backbone.width().max(1);
            let wide = widen(&tensors, times.max(1), recipe.seed);
            apply(&mut network, &name, wide).context(WeightsSnafu)?;
            info!(from = %card.backbone, to = %recipe.backbone, "started from trained weights");
        }
        // An epoch may have been told of and then lost, with its checkpoint not yet written.
        run.keep_lines(METRICS, epoch)?;
        let how = &recipe.optimisation;
        let steps = epoch_images / how.batch_size;
        Ok(Self {
            recipe,
            lessons,
            device: processor.device(),
            descent: Descent::begin(
                network,
                Beginning {
                    name,
                    how,
                    checkpoint,
                    steps,
                    processor,
                    input: &recipe.input,
                    form: Form::of_images(how.batch_size, [recipe.side(epoch); 2]),
                },
            )?,
            advice: lessons.teacher.map(|teacher| {
                let views = recipe.distillation.as_ref().and_then(|how| how.views);
                Advice::new(teacher, lessons.training.0.len(), views)
            }),
            schedule: how.schedule(),
            steps,
            epoch,
        })
    }

    pub(super) fn train_epoch(&mut self) -> Result<EpochLine, TrainError> {
        let recipe = self.recipe;
        let images = &self.lessons.training.0;
        let side = recipe.side(self.epoch);
        let (epochs, steps, batch_size) = (recipe.epochs(), self.steps, recipe.optimisation.batch_size);
        let (started, mut spoken) = (Instant::now(), Instant::now());
        // Order and augmentation follow from seed and epoch alone, so that a resumed run sees what an unbroken one sees.
        let order = Shuffle::new(seed_of(recipe.seed, self.epoch)).epoch(images.len());
        let views = recipe.distillation.as_ref().and_then(|how| how.views);
        let view = self.epoch % views.unwrap_or(usize::MAX);
        let augment = Augment::new(recipe.augmentation, seed_of(recipe.seed, view));
        let mut watch = Watch::new(self.epoch + 1, steps, recipe.optimisation.learning_rate);
        let mut rate = 0.0;
        for (step, batch) in order.chunks_exact(batch_size).take(steps).enumerate() {
            let values = augment.batch(images, batch, recipe.input.fill());
            let loss = self.loss(values, batch, side, view)?;
            watch.see(step, &loss)?;
            self.descent.gather(&loss)?;
            rate = self
                .schedule
                .rate((self.epoch * steps + step) as f64 / (epochs * steps) as f64);
            self.descent.step(rate)?;
            if spoken.elapsed() >= WORDS {
                spoken = Instant::now();
                let elapsed = started.elapsed().as_secs_f64();
                info!(
                    epoch = self.epoch + 1,
                    of = epochs,
                    step,
                    steps,
                    images_per_second = ((step + 1) * batch_size) as f64 / elapsed,
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
            loss: watch.mean(),
            learning_rate: rate,
            holdout_accuracy: Some(self.accuracy()?),
            seconds,
            images_per_second: (steps * batch_size) as f64 / seconds,
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
            (Some(how), Some(advice)) => Some((how, advice.on(&values, size, batch, view, &self.device)?)),
            _ => None,
        };
        let seen = Batch::of_images(scaled(values, size, side), [side; 2]);
        let logits = self.descent.logits(seen)?;
        let labels = &self.lessons.training.0.labels;
        let labels = batch
            .iter()
            .map(|&image| Label::Class(labels[image] as usize, 1.0));
        let smoothing = recipe.optimisation.label_smoothing;
        let targets = smoothed(labels, recipe.classes, smoothing, &self.descent.autodiff());
        Ok(match taught {
            None => cross_entropy(logits, targets),
            Some((how, teacher)) => {
                cross_entropy(logits.clone(), targets) * (1.0 - how.share)
                    + divergence(logits, teacher, how.temperature) * how.share
            }
        })
    }

    /// Share of the images set aside that the network gets right as it would be given.
    fn accuracy(&self) -> Result<f64, TrainError> {
        let recipe = self.recipe;
        let images = &self.lessons.holdout.0;
        if images.is_empty() {
            return Ok(0.0);
        }
        let size = [recipe.input.height, recipe.input.width];
        let mut judge = self
            .descent
            .judge(Form::of_images(JUDGED.min(images.len()), size))?;
        let all: Vec<usize> = (0..images.len()).collect();
        let mut right = 0_usize;
        for batch in all.chunks(JUDGED) {
            let logits = judge.logits(Batch::of_images(plain(images, batch), size))?;
            let rows = logits.chunks_exact(recipe.classes).zip(batch);
            right += rows
                .filter(|(row, image)| top(row) == images.labels[**image] as usize)
                .count();
        }
        Ok(right as f64 / images.len() as f64)
    }

    pub(super) fn checkpoint(&self) -> Result<Checkpoint, TrainError> {
        self.descent.checkpoint(self.epoch)
    }
}
