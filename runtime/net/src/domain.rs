//! What the input of an edge is like. A main block was trained in one domain; the edge's camera, light and place may give it another.
//! What tells them apart without a label, the usual colours of the input and what batch norms usually see, can follow the edge: the
//! main block's weights stay as they were trained, and so does its blob. A domain travels with the adaptive block, a few kilobytes in
//! its blob, so that a rollback of that blob takes it back.

use snafu::ensure;

use crate::card::{Block, Card};
use crate::edge::{open, open_classifier};
use crate::input::InputSpec;
use crate::norms::Norms;
use crate::weights::{BaseSnafu, Tensors, WeightsError, encode};

/// What a main block takes for usual.
#[derive(Clone, Debug, PartialEq)]
pub struct Domain {
    /// The colours that it is normalised by.
    pub input: InputSpec,
    /// What its batch norms see; empty: what they saw in training.
    pub norms: Norms,
}

impl Domain {
    /// The one that a main block was trained in.
    pub fn trained(main: &[u8]) -> Result<Self, WeightsError> {
        Ok(Self::of_card(&open(main, Block::Main)?.0))
    }

    /// The one that an adaptive block carries.
    pub fn of(adaptive: &[u8]) -> Result<Self, WeightsError> {
        let (card, mut tensors) = open(adaptive, Block::Adaptive)?;
        Ok(Self::take(&card, &mut tensors))
    }

    /// The one that the main block `card` was trained in.
    pub(crate) fn of_card(card: &Card) -> Self {
        Self {
            input: card.input.clone(),
            norms: Norms::default(),
        }
    }

    /// Takes it out of the adaptive block that `card` is of.
    pub(crate) fn take(card: &Card, adaptive: &mut Tensors) -> Self {
        Self {
            input: card.input.clone(),
            norms: Norms::take(adaptive),
        }
    }

    /// The blob of a main block, or of a cloud's network, moved here; ranges for 8 bits are left behind, as they were taken elsewhere.
    pub fn onto(&self, classifier: &[u8]) -> Result<Vec<u8>, WeightsError> {
        let (mut card, mut tensors) = open_classifier(classifier)?;
        self.set(&mut card, &mut tensors)?;
        card.ranges.clear();
        encode(&card, &tensors)
    }

    /// Moves a main block here.
    pub(crate) fn set(&self, card: &mut Card, main: &mut Tensors) -> Result<(), WeightsError> {
        let (own, other) = (&card.input, &self.input);
        ensure!(
            own.is_sized_as(other),
            BaseSnafu {
                reason: format!(
                    "the main block takes images of {}×{}, the adaptive block of {}×{}; use blocks of one network",
                    own.height, own.width, other.height, other.width
                )
            }
        );
        self.norms.set(main)?;
        card.input.clone_from(other);
        Ok(())
    }
}
