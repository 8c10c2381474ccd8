//! Training of adaptive and extension block over a frozen main block.

use std::time::Instant;

use burn::module::Module;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use meanet_data::{Augment, Images, Shuffle, Training, plain};
use serde::{Deserialize, Serialize};
use snafu::ResultExt;
use tracing::info;

use crate::card::{Block, Card, Variant};
use crate::edge::open;
use crate::evaluate::top;
use crate::extend::Specialist;
use crate::input::InputSpec;
use crate::lower::{Compute, Whole};
use crate::resnet::ResNet;
use crate::train::run::{TrainError, WeightsSnafu};
use crate::train::schedule::Schedule;
use crate::weights::{WeightsError, apply, digest, encode, tensors_of};

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
    /// L2 penalty.
    pub weight_decay: f32,
    /// Probability mass spread over the wrong classes.
    pub label_smoothing: f32,
    /// Versions of each image whose main features are computed once and kept: the image itself, and augmented ones.
    pub views: usize,
    /// Whether the extension's logits are added to the main block's; without it the extension answers from scratch.
    pub adds_to_main: bool,
    /// Seed of initial weights, order and augmentation.
    pub seed: u64,
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

/// The versions of all images, and what the frozen main block makes of them.
struct Cache {
    /// `[image][view]`, each `[3, side, side]`; bytes, which is a quarter of what floats take.
    pixels: Vec<u8>,
    /// `[image][view]`, each `[c, side/4, side/4]`.
    features: Vec<f32>,
    /// `[image][view]`, each the main logits of the extension's classes, or zeros where they are not added to.
    logits: Vec<f32>,
    pixel_stride: usize,
    feature_stride: usize,
    /// Output of the true class; absent for images that are only taken for a class of the extension.
    targets: Vec<Option<usize>>,
    views: usize,
}

/// Trains adaptive and extension block on those images of `training` whose true class it has an output for. An extension that answers
/// from scratch is also trained on those which the main block (a blob) takes for one of these, since they will come at
/// inference; it learns that none of its classes is likely, so that it can be overruled. `start` holds blobs of an adaptive and an extension block with the same outputs to go on from.
pub fn train_extension(
    recipe: &ExtensionRecipe,
    main: &[u8],
    start: Option<(&[u8], &[u8])>,
    training: &Training,
    device: &Device,
) -> Result<TrainedExtension, TrainError> {
    let started = Instant::now();
    let (card, tensors) = open(main, Block::Main).context(WeightsSnafu)?;
    if recipe.outputs.is_empty() || !recipe.outputs.is_sorted_by(|a, b| a < b) {
        return Err(TrainError::Data {
            reason: "the extension's classes are not ascending, or there is none".to_owned(),
        });
    }
    let mut frozen = ResNet::new(card.backbone, card.classes, &Device::flex());
    apply(&mut frozen, "the main block", tensors).context(WeightsSnafu)?;
    let frozen = Whole::new("main block", &card.input, &frozen, Compute::default())
        .map_err(WeightsError::from)
        .context(WeightsSnafu)?;
    let cache = Cache::new(recipe, &frozen, &card.input, &training.0)?;
    let count = cache.targets.len();
    let batch_size = recipe.batch_size.clamp(1, count.max(1));
    // A batch norm learns nothing from a batch of one image.
    if count < 2 || cache.targets.iter().flatten().next().is_none() {
        return Err(TrainError::Data {
            reason: format!("{count} images are of the extension's classes or taken for them; collect more"),
        });
    }
    info!(
        images = count,
        views = recipe.views,
        seconds = started.elapsed().as_secs_f64(),
        "main features are cached"
    );

    let autodiff = device.clone().autodiff();
    device.seed(recipe.seed);
    let mut specialist = Specialist::new(card.backbone, recipe.outputs.len(), &autodiff);
    if let Some((adaptive, extension)) = start {
        let (_, tensors) = open(adaptive, Block::Adaptive).context(WeightsSnafu)?;
        apply(&mut specialist.adaptive, "the adaptive block", tensors).context(WeightsSnafu)?;
        let (_, tensors) = open(extension, Block::Extension).context(WeightsSnafu)?;
        apply(&mut specialist.extension, "the extension block", tensors).context(WeightsSnafu)?;
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
    let schedule = Schedule::new(recipe.learning_rate, recipe.warm_up);
    let steps = (count / batch_size).max(1);
    for epoch in 0..recipe.epochs {
        let seed = recipe.seed.wrapping_mul(1_000_003).wrapping_add(epoch as u64);
        let order = Shuffle::new(seed).epoch(count);
        let mut total = 0.0;
        for (step, batch) in order.chunks_exact(batch_size).enumerate() {
            // Each epoch sees another version of an image, so that all are used alike.
            let view = |image: usize| (epoch + image) % cache.views;
            let (images, features) = cache.batch(batch, view, &card.input, device);
            let targets = cache.targets(batch, recipe, &autodiff);
            let added = Tensor::from_inner(cache.added(batch, view, recipe.outputs.len(), device));
            let logits = specialist.forward(Tensor::from_inner(images), Tensor::from_inner(features)) + added;
            let loss = -(log_softmax(logits, 1) * targets).sum_dim(1).mean();
            if step % (steps / 4).max(1) == 0 {
                total += f64::from(loss.clone().into_scalar::<f32>());
                if !total.is_finite() {
                    return Err(TrainError::Diverged {
                        epoch: epoch + 1,
                        loss: total,
                        rate: recipe.learning_rate,
                    });
                }
            }
            let gradients = GradientsParams::from_grads(loss.backward(), &specialist);
            let rate = schedule.rate((epoch * steps + step) as f64 / (recipe.epochs * steps) as f64);
            specialist = optimizer.step(rate, specialist, gradients);
        }
        let elapsed = started.elapsed().as_secs_f64();
        let left = elapsed / (epoch + 1) as f64 * (recipe.epochs - epoch - 1) as f64;
        let loss = total / steps.div_ceil((steps / 4).max(1)) as f64;
        info!(
            epoch = epoch + 1,
            of = recipe.epochs,
            loss,
            elapsed,
            left,
            "extension epoch done"
        );
    }
    let specialist = specialist.valid();
    let mut card = Card {
        block: Block::Adaptive,
        variant: Variant::Extend,
        base: Some(digest(main)),
        adaptive: None,
        outputs: None,
        ..card
    };
    let adaptive = tensors_of(&specialist.adaptive)
        .and_then(|t| encode(&card, &t))
        .context(WeightsSnafu)?;
    card.block = Block::Extension;
    card.adaptive = Some(digest(&adaptive));
    card.outputs = Some(recipe.outputs.clone());
    card.adds_to_main = recipe.adds_to_main;
    let extension = tensors_of(&specialist.extension)
        .and_then(|t| encode(&card, &t))
        .context(WeightsSnafu)?;
    Ok(TrainedExtension {
        adaptive,
        extension,
        trained_on: count,
        seconds: started.elapsed().as_secs_f64(),
    })
}

impl Cache {
    fn new(
        recipe: &ExtensionRecipe,
        main: &Whole,
        input: &InputSpec,
        images: &Images,
    ) -> Result<Self, TrainError> {
        let side = input.height;
        let output = |class: u32| recipe.outputs.binary_search(&class).ok();
        let views = recipe.views.max(1);
        let mut cache = Self {
            pixels: Vec::new(),
            features: Vec::new(),
            logits: Vec::new(),
            pixel_stride: input.values(),
            feature_stride: 0,
            targets: Vec::new(),
            views,
        };
        let run = |values: &[f32]| {
            main.features(meanet_engine::Images::Floats(values))
                .map_err(|e| TrainError::Data {
                    reason: e.to_string(),
                })
        };
        let mut augment = Augment::new(4, true, recipe.seed);
        let all: Vec<usize> = (0..images.len()).collect();
        // Only images of its own classes are of use to an extension that adds to the main block, and they are known beforehand.
        let wanted: Vec<usize> = all
            .into_iter()
            .filter(|&i| !recipe.adds_to_main || output(images.labels[i]).is_some())
            .collect();
        for chunk in wanted.chunks(128) {
            let values = plain(images, chunk, side);
            let (features, logits) = run(&values)?;
            let kept: Vec<usize> = (0..chunk.len())
                .filter(|&i| {
                    output(images.labels[chunk[i]]).is_some() || output(top(&logits[i]) as u32).is_some()
                })
                .collect();
            if kept.is_empty() {
                continue;
            }
            cache.feature_stride = features.len() / chunk.len();
            let chosen: Vec<usize> = kept.iter().map(|&i| chunk[i]).collect();
            let mut of_views = vec![(kept, values, features, logits)];
            for _ in 1..views {
                let values = augment.batch(images, &chosen, side, input.fill());
                let (features, logits) = run(&values)?;
                of_views.push(((0..chosen.len()).collect(), values, features, logits));
            }
            for (position, &image) in chosen.iter().enumerate() {
                cache.targets.push(output(images.labels[image]));
                for (at, values, features, logits) in &of_views {
                    cache.push(recipe, at[position], values, features, &logits[at[position]]);
                }
            }
        }
        Ok(cache)
    }

    fn push(
        &mut self,
        recipe: &ExtensionRecipe,
        at: usize,
        values: &[f32],
        features: &[f32],
        logits: &[f32],
    ) {
        let (pixels, stride) = (self.pixel_stride, self.feature_stride);
        let values = &values[at * pixels..(at + 1) * pixels];
        self.pixels
            .extend(values.iter().map(|v| v.round().clamp(0.0, 255.0) as u8));
        self.features
            .extend_from_slice(&features[at * stride..(at + 1) * stride]);
        let added = |&class: &u32| {
            logits
                .get(class as usize)
                .copied()
                .filter(|_| recipe.adds_to_main)
                .unwrap_or(0.0)
        };
        self.logits.extend(recipe.outputs.iter().map(added));
    }

    /// What the extension's logits are added to, `[n, outputs]`.
    fn added(
        &self,
        batch: &[usize],
        view: impl Fn(usize) -> usize,
        outputs: usize,
        device: &Device,
    ) -> Tensor<2> {
        let rows = batch.iter().map(|&image| image * self.views + view(image));
        let values: Vec<f32> = rows
            .flat_map(|at| &self.logits[at * outputs..(at + 1) * outputs])
            .copied()
            .collect();
        Tensor::from_data(TensorData::new(values, [batch.len(), outputs]), device)
    }

    /// Images `[n, 3, side, side]`, normalised, and their main features `[n, c, side/4, side/4]`.
    fn batch(
        &self,
        batch: &[usize],
        view: impl Fn(usize) -> usize,
        input: &InputSpec,
        device: &Device,
    ) -> (Tensor<4>, Tensor<4>) {
        let mut pixels = Vec::with_capacity(batch.len() * self.pixel_stride);
        let mut features = Vec::with_capacity(batch.len() * self.feature_stride);
        for &image in batch {
            let at = image * self.views + view(image);
            let values = &self.pixels[at * self.pixel_stride..(at + 1) * self.pixel_stride];
            pixels.extend(values.iter().map(|&v| f32::from(v)));
            features
                .extend_from_slice(&self.features[at * self.feature_stride..(at + 1) * self.feature_stride]);
        }
        let side = input.height / 4;
        let shape = [
            batch.len(),
            self.feature_stride / (side * side).max(1),
            side,
            side,
        ];
        let images = input.tensor(pixels, [input.height, input.width], device);
        (
            images,
            Tensor::from_data(TensorData::new(features, shape), device),
        )
    }

    /// Probabilities to learn, `[n, outputs]`.
    fn targets(&self, batch: &[usize], recipe: &ExtensionRecipe, device: &Device) -> Tensor<2> {
        let classes = recipe.outputs.len();
        let mut targets = Vec::with_capacity(batch.len() * classes);
        for &image in batch {
            let even = match self.targets[image] {
                Some(_) => recipe.label_smoothing / classes as f32,
                None => 1.0 / classes as f32,
            };
            let start = targets.len();
            targets.resize(start + classes, even);
            if let Some(target) = self.targets[image] {
                targets[start + target] += 1.0 - recipe.label_smoothing;
            }
        }
        Tensor::from_data(TensorData::new(targets, [batch.len(), classes]), device)
    }
}
