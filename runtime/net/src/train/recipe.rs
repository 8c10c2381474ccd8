//! How a classifier is trained, as it stands in the folder of the run.

use burn::tensor::Device;
use meanet_data::Augmentation;
use serde::{Deserialize, Serialize};

use crate::backbone::Backbone;
use crate::card::{Variant, is_default};
use crate::input::InputSpec;
use crate::layout::Blueprint;
use crate::network::Network;
use crate::train::optimisation::Optimisation;
use crate::train::run::{DataSnafu, TrainError};

/// Some epochs at one image size: early epochs on smaller images are cheaper by the square of the side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Side of the images in pixels.
    pub side: usize,
    /// Passes over the training images.
    pub epochs: usize,
}

/// Learning from what another network says of the same images (Hinton et al. 2015).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Distillation {
    /// Digest of the teacher's file, so that a run goes on with the same one.
    pub teacher: String,
    /// Both sides' logits are divided by this before they are compared.
    pub temperature: f32,
    /// Weight of the teacher's part of the loss; the labels have the rest.
    pub share: f32,
    /// Versions of each image that the teacher is asked about; its answers are kept in memory, and epochs take turns with the
    /// versions. Absent: each epoch has a version of its own, and the teacher is asked about each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub views: Option<usize>,
}

/// How a classifier is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The network.
    pub backbone: Backbone,
    /// How much of it: all, or a main block that shares it with the extension.
    #[serde(default, skip_serializing_if = "is_default")]
    pub variant: Variant,
    /// Its classes.
    pub classes: usize,
    /// What it takes.
    pub input: InputSpec,
    /// Epochs, by image size.
    pub stages: Vec<Stage>,
    /// Images of an epoch, drawn anew for each; absent: all. Fewer give more checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch_images: Option<usize>,
    /// How it is moved down the loss.
    #[serde(flatten)]
    pub optimisation: Optimisation,
    /// What is changed at random in the images.
    #[serde(default)]
    pub augmentation: Augmentation,
    /// What is learned from a teacher; absent: all from the labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distillation: Option<Distillation>,
    /// Seed of initial weights, order and augmentation.
    pub seed: u64,
}

/// The seed of an epoch or version, from the seed of the run.
pub(super) fn seed_of(seed: u64, number: usize) -> u64 {
    seed.wrapping_mul(1_000_003).wrapping_add(number as u64)
}

impl Recipe {
    /// Defaults that give a usable network in minutes, not the best one.
    #[must_use]
    pub fn new(backbone: Backbone, classes: usize, input: InputSpec) -> Self {
        Self {
            backbone,
            variant: Variant::Extend,
            classes,
            stages: vec![Stage {
                side: input.height,
                epochs: 8,
            }],
            input,
            epoch_images: None,
            optimisation: Optimisation {
                learning_rate: 0.2,
                average: Some(0.998),
                ..Optimisation::default()
            },
            augmentation: Augmentation::default(),
            distillation: None,
            seed: 0,
        }
    }

    /// The network with weights by chance.
    pub(super) fn network(&self, device: &Device) -> Result<Network, TrainError> {
        let blueprint = Blueprint {
            variant: self.variant,
            ..Blueprint::whole(self.backbone)
        };
        let size = [self.input.height, self.input.width];
        Network::main(&blueprint, self.classes, size, device).or_else(|reason| DataSnafu { reason }.fail())
    }

    pub(super) fn epochs(&self) -> usize {
        self.stages.iter().map(|s| s.epochs).sum()
    }

    pub(super) fn side(&self, epoch: usize) -> usize {
        let mut end = 0;
        for stage in &self.stages {
            end += stage.epochs;
            if epoch < end {
                return stage.side;
            }
        }
        self.input.height
    }

    /// What is wrong with it for so many images, if anything.
    pub(super) fn fault(&self, images: usize) -> Option<String> {
        let batch_size = self.optimisation.batch_size;
        if batch_size == 0 || images < batch_size {
            return Some(format!(
                "{images} images are fewer than one batch of {batch_size}; lower the batch size"
            ));
        }
        if self
            .stages
            .iter()
            .any(|s| s.side < 4 || !s.side.is_multiple_of(4))
        {
            return Some("a stage has images whose side is not a multiple of 4".to_owned());
        }
        let mut sides = self.stages.iter().map(|s| s.side);
        if self.variant == Variant::Split && sides.any(|side| side != self.input.height) {
            return Some(
                "a main block in variant Split sees images of one size only; give one stage".to_owned(),
            );
        }
        if let Some(reason) = self.optimisation.fault() {
            return Some(reason);
        }
        if let Some(Distillation {
            temperature,
            share,
            views,
            ..
        }) = &self.distillation
        {
            if !(0.1..=100.0).contains(temperature) {
                return Some(format!("a temperature of {temperature} is not in 0.1..100"));
            }
            if !(0.0..=1.0).contains(share) {
                return Some(format!("a teacher's share of {share} is not in 0..1"));
            }
            if *views == Some(0) {
                return Some("a teacher cannot be asked about no version of an image".to_owned());
            }
        }
        self.augmentation.fault()
    }
}
