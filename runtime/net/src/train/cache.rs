//! What the frozen main block makes of the images, computed once: most of the time and memory that training the whole network
//! would take goes into just that.

use meanet_data::{Augment, plain};
use meanet_engine::Images;

use crate::card::Card;
use crate::evaluate::top;
use crate::lower::Whole;
use crate::train::descent::{Batch, Form};
use crate::train::extension::{Curriculum, Examples, ExtensionRecipe, Lesson, Version, teacher_logits};
use crate::train::recipe::seed_of;
use crate::train::run::{DataSnafu, TrainError};

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
    /// Rows and columns.
    image_size: [usize; 2],
    /// Channels, rows and columns.
    feature_size: [usize; 3],
    outputs: usize,
    /// What the main block's logits count.
    main_weight: f32,
    views: usize,
    /// Output of the true class and how sure that is; absent for images that are only taken for a class of the extension.
    targets: Vec<Option<(usize, f32)>>,
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
            image_size: [input.height, input.width],
            feature_size,
            outputs: recipe.outputs.len(),
            main_weight: card.main_weight,
            views: recipe.views.max(1),
            targets: Vec::new(),
        };
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
            // By far the most of what is kept: growing would hold it twice.
            cache.features.reserve_exact(
                (wanted.len() * cache.views * cache.feature_stride()).saturating_sub(cache.features.len()),
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

    fn feature_stride(&self) -> usize {
        self.feature_size.iter().product()
    }

    fn push(&mut self, recipe: &ExtensionRecipe, at: usize, values: &[f32], pass: &Pass, taught: &[f32]) {
        let row = |values: &[f32], stride: usize| at * stride..((at + 1) * stride).min(values.len());
        let bytes = values[row(values, self.pixel_stride)].iter();
        self.pixels
            .extend(bytes.map(|v| v.round().clamp(0.0, 255.0) as u8));
        self.features
            .extend_from_slice(&pass.features[row(&pass.features, self.feature_stride())]);
        let added = |&class: &u32| match pass.logits[at].get(class as usize) {
            Some(logit) if recipe.adds_to_main => self.main_weight * logit,
            _ => 0.0,
        };
        self.added.extend(recipe.outputs.iter().map(added));
        if !taught.is_empty() {
            self.taught.extend_from_slice(&taught[row(taught, self.outputs)]);
        }
    }
}

impl Curriculum for Cache {
    fn len(&self) -> usize {
        self.targets.len()
    }

    fn form(&self, count: usize) -> Form {
        Form {
            count,
            size: self.image_size,
            features: Some(self.feature_size),
        }
    }

    fn target(&self, image: usize) -> Option<(usize, f32)> {
        self.targets[image]
    }

    fn lesson(&self, batch: &[usize], version: Version) -> Result<Lesson, TrainError> {
        // Each epoch sees another version of an image, so that all are used alike.
        let view = |image: usize| match version {
            Version::Plain => 0,
            Version::Epoch(epoch) => (epoch + image) % self.views,
        };
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
        Ok(Lesson {
            seen: Batch {
                form: self.form(batch.len()),
                pixels: pixels.map(|&v| f32::from(v)).collect(),
                features: floats(&self.features, self.feature_stride()),
            },
            added: floats(&self.added, self.outputs),
            taught: (!self.taught.is_empty()).then(|| floats(&self.taught, self.outputs)),
        })
    }
}
