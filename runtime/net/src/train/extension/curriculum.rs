//! What adaptive and extension block are trained on.

use meanet_data::{Augment, Images, plain};

use super::{Examples, ExtensionRecipe};
use crate::card::Card;
use crate::train::descent::{Batch, Form};
use crate::train::recipe::seed_of;
use crate::train::run::{DataSnafu, TrainError};
use crate::train::teacher::Teacher;

/// Which version of an image.
#[derive(Clone, Copy, Debug)]
pub(in crate::train) enum Version {
    /// The image itself.
    Plain,
    /// That of an epoch, counted from 0.
    Epoch(usize),
}

/// One batch.
pub(in crate::train) struct Lesson {
    /// Images and main features.
    pub(in crate::train) seen: Batch,
    /// What the extension's logits are added to, `[n, outputs]`.
    pub(in crate::train) added: Vec<f32>,
    /// The teacher's logits, `[n, outputs]`.
    pub(in crate::train) taught: Option<Vec<f32>>,
}

/// Images to train on, with all that belongs to them.
pub(in crate::train) trait Curriculum {
    /// Of images.
    fn len(&self) -> usize;

    /// What batches of `count` images look like.
    fn form(&self, count: usize) -> Form;

    /// Output of the true class of an image, and how sure that is; absent for images that are only taken for a class of the extension.
    fn target(&self, image: usize) -> Option<(usize, f32)>;

    /// A version of each image of `batch`.
    fn lesson(&self, batch: &[usize], version: Version) -> Result<Lesson, TrainError>;
}

/// Images of the extension's classes, cut anew in each epoch, with nothing of the main block: zeros stand for its features.
pub(super) struct Alone<'a> {
    recipe: &'a ExtensionRecipe,
    images: &'a Images,
    confidences: &'a [f32],
    teacher: Option<&'a Teacher>,
    /// Positions of the images of the extension's classes.
    wanted: Vec<usize>,
    fill: [f32; 3],
    size: [usize; 2],
    features: [usize; 3],
}

impl<'a> Alone<'a> {
    pub(super) fn new(
        recipe: &'a ExtensionRecipe,
        card: &Card,
        examples: &Examples<'a>,
    ) -> Result<Self, TrainError> {
        let size = [card.input.height, card.input.width];
        let features = card.blueprint().features(size);
        let images = &examples.training.0;
        let known = |&image: &usize| recipe.outputs.binary_search(&images.labels[image]).is_ok();
        Ok(Self {
            recipe,
            images,
            confidences: examples.confidences,
            teacher: examples.teacher,
            wanted: (0..images.len()).filter(known).collect(),
            fill: card.input.fill(),
            size,
            features: features.or_else(|reason| DataSnafu { reason }.fail())?,
        })
    }
}

impl Curriculum for Alone<'_> {
    fn len(&self) -> usize {
        self.wanted.len()
    }

    fn form(&self, count: usize) -> Form {
        Form {
            count,
            size: self.size,
            features: Some(self.features),
        }
    }

    fn target(&self, image: usize) -> Option<(usize, f32)> {
        let image = self.wanted[image];
        let output = self.recipe.outputs.binary_search(&self.images.labels[image]);
        let sure = self.confidences.get(image).copied().unwrap_or(1.0);
        output.ok().map(|output| (output, sure))
    }

    fn lesson(&self, batch: &[usize], version: Version) -> Result<Lesson, TrainError> {
        let chosen: Vec<usize> = batch.iter().map(|&image| self.wanted[image]).collect();
        let pixels = match version {
            Version::Plain => plain(self.images, &chosen),
            Version::Epoch(epoch) => Augment::new(self.recipe.augmentation, seed_of(self.recipe.seed, epoch))
                .batch(self.images, &chosen, self.fill),
        };
        let taught = teacher_logits(self.recipe, self.teacher, &pixels)?;
        Ok(Lesson {
            seen: Batch {
                form: self.form(batch.len()),
                pixels,
                features: vec![0.0; batch.len() * self.features.iter().product::<usize>()],
            },
            added: vec![0.0; batch.len() * self.recipe.outputs.len()],
            taught: self.teacher.map(|_| taught),
        })
    }
}

/// What the teacher says of `values`, for the extension's classes, `[n][outputs]` in one row; nothing without one.
pub(in crate::train) fn teacher_logits(
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
