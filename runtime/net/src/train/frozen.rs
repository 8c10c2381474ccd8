//! A main block that is run and not trained.

use burn::tensor::Device;
use snafu::ResultExt;

use crate::card::Card;
use crate::lower::{Compute, Whole};
use crate::network::Network;
use crate::train::run::{DataSnafu, TrainError, WeightsSnafu};
use crate::weights::{Tensors, WeightsError, apply};

/// The main block that `card` is of, with weights by chance.
pub(super) fn main_block(card: &Card, device: &Device) -> Result<Network, TrainError> {
    let size = [card.input.height, card.input.width];
    Network::main(&card.blueprint(), card.classes, size, device).or_else(|reason| DataSnafu { reason }.fail())
}

/// The main block that `card` is of with the weights `tensors`, as a module and as what runs it.
pub(super) fn frozen(card: &Card, tensors: Tensors) -> Result<(Network, Whole), TrainError> {
    let mut network = main_block(card, &Device::flex())?;
    apply(&mut network, "the main block", tensors).context(WeightsSnafu)?;
    let whole = Whole::new("main block", &card.input, network.clone(), Compute::default())
        .map_err(WeightsError::from)
        .context(WeightsSnafu)?;
    Ok((network, whole))
}
