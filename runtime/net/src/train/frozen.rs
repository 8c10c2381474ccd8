//! A main block that is run and not trained.

use burn::tensor::Device;
use snafu::ResultExt;

use crate::card::Card;
use crate::lower::{Compute, Whole};
use crate::network::Network;
use crate::train::run::{DataSnafu, TrainError, WeightsSnafu};
use crate::weights::{Tensors, WeightsError, apply};

/// The main block that `card` is of, with the weights `tensors`.
pub(super) fn main_block(card: &Card, tensors: Tensors, device: &Device) -> Result<Network, TrainError> {
    let size = [card.input.height, card.input.width];
    let network = Network::main(&card.blueprint(), card.classes, size, device);
    let mut network = network.or_else(|reason| DataSnafu { reason }.fail())?;
    apply(&mut network, "the main block", tensors).context(WeightsSnafu)?;
    Ok(network)
}

/// What runs a main block, which lies on the CPU.
pub(super) fn frozen(card: &Card, network: Network) -> Result<Whole, TrainError> {
    Whole::new("main block", &card.input, network, Compute::default())
        .map_err(WeightsError::from)
        .context(WeightsSnafu)
}
