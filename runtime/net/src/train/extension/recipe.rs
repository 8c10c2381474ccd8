//! How adaptive and extension block are trained, as it stands in the folder of the run.

use meanet_data::Augmentation;
use serde::{Deserialize, Serialize};

use crate::card::{Card, is_default};
use crate::layout::Fusion;
use crate::train::optimisation::Optimisation;
use crate::train::recipe::Distillation;

/// Images that go through the blocks together where nothing else is said.
const GHOST: usize = 16;

/// How adaptive and extension block are trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExtensionRecipe {
    /// Classes that the extension tells apart, ascending. With all of them it learns from every image, as it has to where it
    /// is to correct the main block; with the hard ones alone, from images of these, as in the paper.
    pub outputs: Vec<u32>,
    /// Passes over the images.
    pub epochs: usize,
    /// How they are moved down the loss.
    #[serde(flatten)]
    pub optimisation: Optimisation,
    /// Images of a step that go through the blocks together: batch norms take their statistics of these (ghost batch norm, Hoffer et
    /// al. 2017), and the memory of a step is theirs. Absent, or where it does not divide the batch: all of the batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ghost_batch: Option<usize>,
    /// Versions of each image whose main features are computed once and kept: the image itself, and augmented ones. A second opinion
    /// needs none.
    pub views: usize,
    /// What is changed at random in the augmented ones.
    #[serde(default)]
    pub augmentation: Augmentation,
    /// What is learned from a teacher; absent: all from the labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distillation: Option<Distillation>,
    /// Whether the extension's logits are added to the main block's; without it the extension answers from scratch.
    pub adds_to_main: bool,
    /// Whether an extension that adds to the main block forms an opinion of its own: it learns the classes from the raw input, cut anew
    /// in each epoch, and neither from features nor from logits of the main block. On images that the main block was trained on
    /// these give the label away, and leave nothing to correct. Two networks that learned apart err apart, so their sum is right more
    /// often than either. A retraining goes on from there with the main block's features and logits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub second_opinion: bool,
    /// How main and adaptive features meet.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fusion: Fusion,
    /// Seed of initial weights, order and augmentation.
    pub seed: u64,
}

/// Peak learning rate of a retraining that goes on from trained blocks. They were led down to a rate of zero, and a larger one forgets on a
/// few thousand images what tens of thousands had taught.
const GOING_ON: f64 = 0.0007;
/// The same where it begins with weights by chance.
const ANEW: f64 = 0.05;

impl ExtensionRecipe {
    /// Defaults for what is to replace the extension block that `card` is of. It can answer with every class: only so can it say that the
    /// main block was wrong to name a hard one.
    #[must_use]
    pub fn retraining(card: &Card) -> Self {
        let outputs: Vec<u32> = (0..).take(card.classes).collect();
        let goes_on = card.outputs.as_ref() == Some(&outputs);
        Self {
            optimisation: Optimisation {
                batch_size: 64,
                learning_rate: if goes_on { GOING_ON } else { ANEW },
                ..Optimisation::default()
            },
            fusion: card.fusion,
            ..Self::new(outputs)
        }
    }

    /// Defaults for an extension with these outputs.
    #[must_use]
    pub fn new(outputs: Vec<u32>) -> Self {
        Self {
            outputs,
            epochs: 5,
            optimisation: Optimisation::default(),
            ghost_batch: Some(GHOST),
            views: 2,
            augmentation: Augmentation::default(),
            distillation: None,
            adds_to_main: true,
            second_opinion: false,
            fusion: Fusion::Concat,
            seed: 0,
        }
    }
}
