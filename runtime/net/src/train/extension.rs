//! Training of adaptive and extension block over a frozen main block.

use std::time::Instant;

use burn::tensor::Device;
use meanet_data::{Images, Training};
use snafu::{ResultExt, ensure};
use tracing::info;

use crate::backend::Processor;
use crate::card::{Block, Card};
use crate::domain::Domain;
use crate::edge::open;
use crate::input::InputSpec;
use crate::layout::Fusion;
use crate::train::cache::Cache;
use crate::train::frozen::{classifier, frozen};
use crate::train::metrics::METRICS;
use crate::train::run::{DataSnafu, Run, TrainError, WeightsSnafu};
use crate::train::teacher::Teacher;
use crate::weights::{Tensors, read_card};

mod curriculum;
mod recipe;
mod trainer;

use curriculum::Alone;
pub(in crate::train) use curriculum::{Curriculum, Lesson, Version, teacher_logits};
pub use recipe::ExtensionRecipe;
use trainer::Trainer;

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
    /// What the input is like, where it is not what the main block was trained on; it becomes part of the adaptive blob.
    pub domain: Option<&'a Domain>,
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
            domain: None,
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
    processor: &Processor,
) -> Result<TrainedExtension, TrainError> {
    let started = Instant::now();
    let (mut card, mut tensors) = open(main, Block::Main).context(WeightsSnafu)?;
    check(recipe, examples, card.classes)?;
    if let Some(domain) = examples.domain {
        domain.set(&mut card, &mut tensors).context(WeightsSnafu)?;
    }
    let card = Card {
        fusion: recipe.fusion,
        main_weight: match examples.start {
            Some((_, extension)) => read_card(extension).context(WeightsSnafu)?.main_weight,
            None => card.main_weight,
        },
        ..card
    };
    let (curriculum, holdout) = curricula(recipe, &card, tensors, examples)?;
    let count = curriculum.len();
    // A batch norm learns nothing from a batch of one image.
    ensure!(
        count >= 2 && (0..count).any(|image| curriculum.target(image).is_some()),
        DataSnafu {
            reason: format!("{count} images are of the extension's classes or taken for them; collect more")
        }
    );
    let mut trainer = Trainer::begin(recipe, &card, examples, run, &*curriculum, processor)?;
    let (begun, first) = (Instant::now(), trainer.epoch);
    while trainer.epoch < recipe.epochs {
        let line = trainer.train_epoch(holdout.as_deref())?;
        let left = begun.elapsed().as_secs_f64() / (trainer.epoch - first) as f64
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
    let (adaptive, extension) = trainer.blobs(main, examples.domain)?;
    Ok(TrainedExtension {
        adaptive,
        extension,
        trained_on: count,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// What to train on and what to measure on, the latter where there is something.
type Curricula<'a> = (Box<dyn Curriculum + 'a>, Option<Box<dyn Curriculum + 'a>>);

/// `main` are the main block's weights.
fn curricula<'a>(
    recipe: &'a ExtensionRecipe,
    card: &Card,
    main: Tensors,
    examples: &Examples<'a>,
) -> Result<Curricula<'a>, TrainError> {
    let started = Instant::now();
    for images in [Some(examples.training), examples.holdout].into_iter().flatten() {
        fits(&images.0, &card.input)?;
    }
    let measured = examples.holdout.map(Examples::of);
    if recipe.second_opinion {
        let alone = |examples: &Examples<'a>| Alone::new(recipe, card, examples);
        let holdout = measured.as_ref().map(alone).transpose()?;
        return Ok((
            Box::new(alone(examples)?),
            holdout.map(|holdout| Box::new(holdout) as _),
        ));
    }
    let frozen = frozen(card, classifier(card, main, &Device::flex())?)?;
    let cache = Cache::new(recipe, &frozen, card, examples)?;
    let holdout = measured.map(|images| {
        let recipe = ExtensionRecipe {
            views: 1,
            ..recipe.clone()
        };
        Cache::new(&recipe, &frozen, card, &images)
    });
    let holdout = holdout.transpose()?;
    info!(
        images = cache.len(),
        views = recipe.views,
        seconds = started.elapsed().as_secs_f64(),
        "main features are cached"
    );
    // Training needs what it made of the images, not the main block itself, which ends here.
    Ok((Box::new(cache), holdout.map(|holdout| Box::new(holdout) as _)))
}

fn fits(images: &Images, input: &InputSpec) -> Result<(), TrainError> {
    ensure!(
        images.stride() == input.values(),
        DataSnafu {
            reason: format!(
                "images of {}×{} do not fit a main block that takes {}×{}",
                images.height, images.width, input.height, input.width
            )
        }
    );
    Ok(())
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
    ensure!(
        !recipe.second_opinion || recipe.adds_to_main && recipe.fusion == Fusion::Concat,
        DataSnafu {
            reason: "a second opinion is of an extension that adds to the main block's logits, with features concatenated"
        }
    );
    match recipe
        .optimisation
        .fault()
        .or_else(|| recipe.augmentation.fault())
    {
        Some(reason) => DataSnafu { reason }.fail(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
