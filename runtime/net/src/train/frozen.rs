//! Whole classifiers that are run and not trained: a main block, or a network of the cloud.

use burn::tensor::Device;
use snafu::ResultExt;

use crate::card::{Block, Card};
use crate::lower::{Compute, Whole};
use crate::network::Network;
use crate::train::run::{DataSnafu, TrainError, WeightsSnafu};
use crate::weights::{Tensors, WeightsError, apply};

/// The classifier that `card` is of, with the weights `tensors`.
pub(super) fn classifier(card: &Card, tensors: Tensors, device: &Device) -> Result<Network, TrainError> {
    let size = [card.input.height, card.input.width];
    let network = Network::main(&card.blueprint(), card.classes, size, device);
    let mut network = network.or_else(|reason| DataSnafu { reason }.fail())?;
    apply(&mut network, &format!("the {}", name(card)), tensors).context(WeightsSnafu)?;
    Ok(network)
}

/// What runs a classifier, which lies on the CPU.
pub(super) fn frozen(card: &Card, network: Network) -> Result<Whole, TrainError> {
    Whole::new(name(card), &card.input, network, Compute::default())
        .map_err(WeightsError::from)
        .context(WeightsSnafu)
}

/// What errors call it.
pub(super) fn name(card: &Card) -> &'static str {
    match card.block {
        Block::Cloud => "cloud's network",
        _ => "main block",
    }
}
