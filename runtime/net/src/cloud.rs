use burn::tensor::Device;
use snafu::ResultExt;

use crate::answerer::Answerer;
use crate::backend::Processor;
use crate::batch::ImageBatch;
use crate::card::{Block, Card};
use crate::edge::{Cost, ImageSnafu, InferError, open};
use crate::input::InputSpec;
use crate::lower::{CloudGraph, Compute};
use crate::network::Network;
use crate::weights::{WeightsError, apply};

/// The cloud's classifier, ready to answer.
pub struct CloudNetwork {
    card: Card,
    network: Answerer,
}

impl CloudGraph {
    /// Checks the blob of a cloud's network and says what it computes.
    pub fn of_blob(blob: &[u8]) -> Result<Self, WeightsError> {
        let (card, network) = read(blob)?;
        Ok(Self::new(&card.input, &network)?)
    }
}

/// Card and module of a blob.
fn read(blob: &[u8]) -> Result<(Card, Network), WeightsError> {
    let (card, tensors) = open(blob, Block::Cloud)?;
    let mut network = Network::new(card.backbone, card.classes, &Device::flex());
    apply(&mut network, &format!("{} of the cloud", card.backbone), tensors)?;
    Ok((card, network))
}

impl CloudNetwork {
    /// [`Self::load_on`] the engine, with all of the CPU.
    pub fn load(blob: &[u8]) -> Result<Self, WeightsError> {
        Self::load_on(blob, &Processor::Engine, Compute::default())
    }

    /// Checks the blob, brings its network to `processor`, where `compute` is the engine's, and compares what it answers there to a few
    /// images with the burn module on the CPU.
    pub fn load_on(blob: &[u8], processor: &Processor, compute: Compute) -> Result<Self, WeightsError> {
        let (card, network) = read(blob)?;
        let network = Answerer::new("cloud's network", &card.input, network, processor, compute)?;
        Ok(Self { card, network })
    }

    /// What it takes.
    #[must_use]
    pub fn input(&self) -> &InputSpec {
        &self.card.input
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.card.classes
    }

    /// What it is.
    #[must_use]
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Parameters and multiply-accumulates.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.network.cost()
    }

    /// Before softmax, `[n][classes]`.
    pub fn logits(&self, images: &ImageBatch) -> Result<Vec<Vec<f32>>, InferError> {
        images.fits(&self.card.input).context(ImageSnafu)?;
        self.network.logits(images.images())
    }
}
