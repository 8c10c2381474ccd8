//! A training of adaptive and extension block in progress.

use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use meanet_data::Shuffle;
use snafu::ResultExt;

use super::{Curriculum, Examples, ExtensionRecipe, Version};
use crate::backend::Processor;
use crate::card::{Block, Card};
use crate::domain::Domain;
use crate::edge::open;
use crate::evaluate::top;
use crate::extend::Specialist;
use crate::norms::Norms;
use crate::train::checkpoint::Checkpoint;
use crate::train::descent::{Beginning, Descent};
use crate::train::initial::seeded;
use crate::train::loss::{Label, cross_entropy, divergence, smoothed};
use crate::train::metrics::{EpochLine, METRICS};
use crate::train::recipe::seed_of;
use crate::train::run::{Run, TrainError, WeightsSnafu};
use crate::train::schedule::Schedule;
use crate::train::watch::Watch;
use crate::weights::{apply, bound, tensors_of};

/// Images that are judged at once.
const JUDGED: usize = 256;

/// A run in progress.
pub(super) struct Trainer<'a> {
    recipe: &'a ExtensionRecipe,
    card: &'a Card,
    curriculum: &'a dyn Curriculum,
    descent: Descent<Specialist>,
    schedule: Schedule,
    /// Epochs done.
    pub(super) epoch: usize,
}

impl<'a> Trainer<'a> {
    /// Anew, from blobs, or from the run's checkpoint.
    pub(super) fn begin(
        recipe: &'a ExtensionRecipe,
        card: &'a Card,
        examples: &Examples<'_>,
        run: Option<&Run>,
        curriculum: &'a dyn Curriculum,
        processor: &Processor,
    ) -> Result<Self, TrainError> {
        let device = processor.training_device();
        let specialist = Specialist::new(&card.blueprint(), recipe.outputs.len(), &device);
        let mut specialist = seeded(specialist, recipe.seed)?;
        let checkpoint = run.map(Checkpoint::read).transpose()?.flatten();
        let epoch = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.epochs);
        if let (None, Some((adaptive, extension))) = (&checkpoint, examples.start) {
            let (_, mut tensors) = open(adaptive, Block::Adaptive).context(WeightsSnafu)?;
            Norms::take(&mut tensors);
            apply(&mut specialist.adaptive, "the adaptive block", tensors).context(WeightsSnafu)?;
            let (_, tensors) = open(extension, Block::Extension).context(WeightsSnafu)?;
            apply(&mut specialist.extension, "the extension block", tensors).context(WeightsSnafu)?;
        }
        if recipe.second_opinion {
            // Shown zeros for main features it stays so: nothing moves these weights.
            specialist.extension = specialist.extension.deaf();
        }
        if let Some(run) = run {
            run.keep_lines(METRICS, epoch)?;
        }
        let how = &recipe.optimisation;
        let steps = curriculum.len() / batch_size(recipe, curriculum);
        Ok(Self {
            recipe,
            card,
            curriculum,
            descent: Descent::begin(
                specialist,
                Beginning {
                    name: "the extension".to_owned(),
                    how,
                    checkpoint,
                    steps,
                    processor,
                    input: &card.input,
                    form: curriculum.form(together(recipe, curriculum)),
                },
            )?,
            schedule: how.schedule(),
            epoch,
        })
    }

    pub(super) fn train_epoch(&mut self, holdout: Option<&dyn Curriculum>) -> Result<EpochLine, TrainError> {
        let recipe = self.recipe;
        let started = Instant::now();
        let count = self.curriculum.len();
        let batch_size = batch_size(recipe, self.curriculum);
        let steps = count / batch_size;
        let order = Shuffle::new(seed_of(recipe.seed, self.epoch)).epoch(count);
        let mut watch = Watch::new(self.epoch + 1, steps, recipe.optimisation.learning_rate);
        let mut rate = 0.0;
        for (step, batch) in order.chunks_exact(batch_size).enumerate() {
            for images in batch.chunks(together(recipe, self.curriculum)) {
                let loss = self.loss(images)?;
                watch.see(step, &loss)?;
                self.descent
                    .gather(&(loss * (images.len() as f32 / batch_size as f32)))?;
            }
            rate = self
                .schedule
                .rate((self.epoch * steps + step) as f64 / (recipe.epochs * steps) as f64);
            self.descent.step(rate)?;
        }
        let seconds = started.elapsed().as_secs_f64();
        self.epoch += 1;
        Ok(EpochLine {
            epoch: self.epoch,
            side: self.card.input.height,
            loss: watch.mean(),
            learning_rate: rate,
            holdout_accuracy: holdout.map(|images| self.accuracy(images)).transpose()?,
            seconds,
            images_per_second: (steps * batch_size) as f64 / seconds,
        })
    }

    /// Mean of the images `batch`, which go through the blocks together.
    fn loss(&mut self, batch: &[usize]) -> Result<Tensor<1>, TrainError> {
        let (recipe, curriculum) = (self.recipe, self.curriculum);
        let lesson = curriculum.lesson(batch, Version::Epoch(self.epoch))?;
        let outputs = recipe.outputs.len();
        let autodiff = self.descent.autodiff();
        let tensor = |values: Vec<f32>, device: &Device| -> Tensor<2> {
            Tensor::from_data(TensorData::new(values, [batch.len(), outputs]), device)
        };
        let logits = self.descent.logits(lesson.seen)? + tensor(lesson.added, &autodiff);
        let labels = batch.iter().map(|&image| match curriculum.target(image) {
            Some((output, sure)) => Label::Class(output, sure),
            None => Label::Other,
        });
        let smoothing = recipe.optimisation.label_smoothing;
        let targets = smoothed(labels, outputs, smoothing, &autodiff);
        Ok(match recipe.distillation.as_ref().zip(lesson.taught) {
            None => cross_entropy(logits, targets),
            Some((how, teacher)) => {
                let teacher = tensor(teacher, &self.descent.plain());
                cross_entropy(logits.clone(), targets) * (1.0 - how.share)
                    + divergence(logits, teacher, how.temperature) * how.share
            }
        })
    }

    /// Share of the images of its classes that it gets right.
    fn accuracy(&self, images: &dyn Curriculum) -> Result<f64, TrainError> {
        let all: Vec<usize> = (0..images.len())
            .filter(|&i| images.target(i).is_some())
            .collect();
        if all.is_empty() {
            return Ok(0.0);
        }
        let mut judge = self.descent.judge(images.form(JUDGED.min(all.len())))?;
        let mut right = 0_usize;
        for batch in all.chunks(JUDGED) {
            let lesson = images.lesson(batch, Version::Plain)?;
            let mut logits = judge.logits(lesson.seen)?;
            for (logit, added) in logits.iter_mut().zip(&lesson.added) {
                *logit += added;
            }
            let rows = logits.chunks_exact(self.recipe.outputs.len()).zip(batch);
            right += rows
                .filter(|(row, image)| images.target(**image).is_some_and(|(t, _)| t == top(row)))
                .count();
        }
        Ok(right as f64 / all.len() as f64)
    }

    pub(super) fn checkpoint(&self) -> Result<Checkpoint, TrainError> {
        self.descent.checkpoint(self.epoch)
    }

    /// Adaptive and extension block over the main block `main`, in this domain.
    pub(super) fn blobs(
        &self,
        main: &[u8],
        domain: Option<&Domain>,
    ) -> Result<(Vec<u8>, Vec<u8>), TrainError> {
        let specialist = self.descent.given()?;
        let card = Card {
            ranges: Vec::new(),
            ..self.card.clone()
        };
        let mut adaptive = tensors_of(&specialist.adaptive).context(WeightsSnafu)?;
        if let Some(domain) = domain {
            domain.norms.put(&mut adaptive);
        }
        let adaptive_card = Card {
            block: Block::Adaptive,
            outputs: None,
            main_weight: 1.0,
            ..card.clone()
        };
        let extension = tensors_of(&specialist.extension).context(WeightsSnafu)?;
        let extension_card = Card {
            block: Block::Extension,
            outputs: Some(self.recipe.outputs.clone()),
            adds_to_main: self.recipe.adds_to_main,
            ..card
        };
        let [adaptive, extension] =
            bound(main, (adaptive_card, &adaptive), (extension_card, &extension)).context(WeightsSnafu)?;
        Ok((adaptive, extension))
    }
}

/// Images of a step: all where there are fewer than the recipe wants.
fn batch_size(recipe: &ExtensionRecipe, curriculum: &dyn Curriculum) -> usize {
    recipe.optimisation.batch_size.min(curriculum.len()).max(1)
}

/// Images of a step that go through the blocks together.
fn together(recipe: &ExtensionRecipe, curriculum: &dyn Curriculum) -> usize {
    let batch = batch_size(recipe, curriculum);
    let divides = |ghost: &usize| *ghost > 1 && batch.is_multiple_of(*ghost);
    recipe.ghost_batch.filter(divides).unwrap_or(batch)
}
