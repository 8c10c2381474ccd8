//! What the frozen main block makes of the images, computed once: most of the time and memory that training the whole network
//! would take goes into just that.

use meanet_data::{Augment, plain};
use meanet_engine::Images;

use crate::card::Card;
use crate::evaluate::top;
use crate::lower::Whole;
use crate::train::descent::{Batch, Form};
use crate::train::extension::{Examples, ExtensionRecipe};
use crate::train::recipe::seed_of;
use crate::train::run::{DataSnafu, TrainError};
use crate::train::teacher::Teacher;

/// Images that go through the main block together.
const BATCH: usize = 128;

/// What the main block makes of some images: features, `[n][c, h, w]` in one row, and logits, `[n][classes]`.
struct Pass {
    features: Vec<f32>,
    logits: Vec<Vec<f32>>,
}

/// Runs `values` in 0..255, `[n, 3, height, width]`.
fn pass(main: &Whole, values: &[f32]) -> Result<Pass, TrainError> {
    let (features, logits) = main
        .features(Images::Floats(values))
        .map_err(|e| TrainError::Data {
            reason: e.to_string(),
        })?;
    Ok(Pass { features, logits })
}

/// The versions of all images, and what the frozen main block, and a teacher if there is one, make of them.
pub(super) struct Cache {
    /// `[image][view]`, each `[3, height, width]`; bytes, which is a quarter of what floats take.
    pixels: Vec<u8>,
    /// `[image][view]`, each `[c, h, w]`.
    features: Vec<f32>,
    /// `[image][view]`, each the main logits of the extension's classes, or zeros where they are not added to.
    added: Vec<f32>,
    /// `[image][view]`, each the teacher's logits of the extension's classes; empty without a teacher.
    taught: Vec<f32>,
    pixel_stride: usize,
    feature_stride: usize,
    /// Rows and columns.
    image_size: [usize; 2],
    feature_size: [usize; 2],
    outputs: usize,
    views: usize,
    /// Output of the true class and how sure that is; absent for images that are only taken for a class of the extension.
    targets: Vec<Option<(usize, f32)>>,
}

/// One batch from a cache.
pub(super) struct CachedBatch {
    /// Images and main features.
    pub(super) seen: Batch,
    /// What the extension's logits are added to, `[n, outputs]`.
    pub(super) added: Vec<f32>,
    /// The teacher's logits, `[n, outputs]`.
    pub(super) taught: Option<Vec<f32>>,
}

impl Cache {
    pub(super) fn new(
        recipe: &ExtensionRecipe,
        main: &Whole,
        card: &Card,
        examples: &Examples<'_>,
    ) -> Result<Self, TrainError> {
        let input = &card.input;
        let feature_size = card
            .blueprint()
            .features([input.height, input.width])
            .or_else(|reason| DataSnafu { reason }.fail())?;
        let images = &examples.training.0;
        let output = |class: u32| recipe.outputs.binary_search(&class).ok();
        let mut cache = Self {
            pixels: Vec::new(),
            features: Vec::new(),
            added: Vec::new(),
            taught: Vec::new(),
            pixel_stride: input.values(),
            feature_stride: 0,
            image_size: [input.height, input.width],
            feature_size,
            outputs: recipe.outputs.len(),
            views: recipe.views.max(1),
            targets: Vec::new(),
        };
        if images.stride() != cache.pixel_stride {
            let reason = format!(
                "images of {}×{} do not fit a main block that takes {}×{}",
                images.height, images.width, input.height, input.width
            );
            return DataSnafu { reason }.fail();
        }
        // Only images of its own classes are of use to an extension that adds to the main block, and they are known beforehand.
        let wanted: Vec<usize> = (0..images.len())
            .filter(|&i| !recipe.adds_to_main || output(images.labels[i]).is_some())
            .collect();
        for chunk in wanted.chunks(BATCH) {
            let values = plain(images, chunk);
            let found = pass(main, &values)?;
            let kept: Vec<usize> = (0..chunk.len())
                .filter(|&i| {
                    output(images.labels[chunk[i]]).is_some()
                        || output(top(&found.logits[i]) as u32).is_some()
                })
                .collect();
            if kept.is_empty() {
                continue;
            }
            cache.feature_stride = found.features.len() / chunk.len();
            // By far the most of what is kept: growing would hold it twice.
            cache.features.reserve_exact(
                (wanted.len() * cache.views * cache.feature_stride).saturating_sub(cache.features.len()),
            );
            let chosen: Vec<usize> = kept.iter().map(|&i| chunk[i]).collect();
            let taught = teacher_logits(recipe, examples.teacher, &values)?;
            let mut views = vec![(kept, values, found, taught)];
            for view in 1..cache.views {
                let augment = Augment::new(recipe.augmentation, seed_of(recipe.seed, view));
                let values = augment.batch(images, &chosen, input.fill());
                let taught = teacher_logits(recipe, examples.teacher, &values)?;
                let found = pass(main, &values)?;
                views.push(((0..chosen.len()).collect(), values, found, taught));
            }
            for (position, &image) in chosen.iter().enumerate() {
                let sure = examples.confidences.get(image).copied().unwrap_or(1.0);
                cache
                    .targets
                    .push(output(images.labels[image]).map(|at| (at, sure)));
                for (at, values, found, taught) in &views {
                    cache.push(recipe, at[position], values, found, taught);
                }
            }
        }
        Ok(cache)
    }

    /// Of images; each has `views` versions.
    pub(super) fn len(&self) -> usize {
        self.targets.len()
    }

    pub(super) fn views(&self) -> usize {
        self.views
    }

    /// What batches of `count` images look like.
    pub(super) fn form(&self, count: usize) -> Form {
        let [height, width] = self.feature_size;
        Form {
            count,
            size: self.image_size,
            features: Some([self.feature_stride / (height * width).max(1), height, width]),
        }
    }

    /// Output of the true class of an image, and how sure that is.
    pub(super) fn target(&self, image: usize) -> Option<(usize, f32)> {
        self.targets[image]
    }

    fn push(&mut self, recipe: &ExtensionRecipe, at: usize, values: &[f32], pass: &Pass, taught: &[f32]) {
        let row = |values: &[f32], stride: usize| at * stride..((at + 1) * stride).min(values.len());
        let bytes = values[row(values, self.pixel_stride)].iter();
        self.pixels
            .extend(bytes.map(|v| v.round().clamp(0.0, 255.0) as u8));
        self.features
            .extend_from_slice(&pass.features[row(&pass.features, self.feature_stride)]);
        let added = |&class: &u32| match pass.logits[at].get(class as usize) {
            Some(logit) if recipe.adds_to_main => *logit,
            _ => 0.0,
        };
        self.added.extend(recipe.outputs.iter().map(added));
        if !taught.is_empty() {
            self.taught.extend_from_slice(&taught[row(taught, self.outputs)]);
        }
    }

    /// The given version of each image of `batch`.
    pub(super) fn batch(&self, batch: &[usize], view: impl Fn(usize) -> usize) -> CachedBatch {
        let rows: Vec<usize> = batch
            .iter()
            .map(|&image| image * self.views + view(image))
            .collect();
        let floats = |values: &[f32], stride: usize| -> Vec<f32> {
            let rows = rows.iter().map(|at| &values[at * stride..(at + 1) * stride]);
            rows.flatten().copied().collect()
        };
        let pixels = rows
            .iter()
            .flat_map(|at| &self.pixels[at * self.pixel_stride..(at + 1) * self.pixel_stride]);
        CachedBatch {
            seen: Batch {
                form: self.form(batch.len()),
                pixels: pixels.map(|&v| f32::from(v)).collect(),
                features: floats(&self.features, self.feature_stride),
            },
            added: floats(&self.added, self.outputs),
            taught: (!self.taught.is_empty()).then(|| floats(&self.taught, self.outputs)),
        }
    }
}

/// What the teacher says of `values`, for the extension's classes, `[n][outputs]` in one row; nothing without one.
fn teacher_logits(
    recipe: &ExtensionRecipe,
    teacher: Option<&Teacher>,
    values: &[f32],
) -> Result<Vec<f32>, TrainError> {
    let Some(teacher) = teacher else {
        return Ok(Vec::new());
    };
    let logits = teacher.logits(values)?;
    let rows = logits.iter();
    Ok(rows
        .flat_map(|row| recipe.outputs.iter().map(|&class| row[class as usize]))
        .collect())
}
