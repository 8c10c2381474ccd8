use burn::module::Module;
use burn::tensor::Device;
use snafu::ensure;

use crate::batch::ImageBatch;
use crate::card::{Block, Card};
use crate::edge::{Cost, InferError, open, rows, statistics};
use crate::input::InputSpec;
use crate::resnet::ResNet;
use crate::weights::{WarmUpSnafu, WeightsError, apply};

/// The cloud's classifier with its batch norms folded.
pub struct CloudNetwork {
    card: Card,
    network: ResNet,
    cost: Cost,
    device: Device,
}

impl CloudNetwork {
    /// Checks the blob, loads it and tries it once.
    pub fn load(blob: &[u8]) -> Result<Self, WeightsError> {
        let device = Device::flex();
        let (card, tensors) = open(blob, Block::Cloud)?;
        let mut network = ResNet::new(card.backbone, card.classes, &device);
        apply(&mut network, &format!("{} of the cloud", card.backbone), tensors)?;
        let cost = Cost {
            parameters: network.num_params() - statistics(&network),
            macs: network.macs(card.input.height),
        };
        let cloud = Self {
            card,
            network: network.fold(),
            cost,
            device,
        };
        cloud.warm_up()?;
        Ok(cloud)
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
        self.cost
    }

    /// Before softmax, `[n][classes]`.
    pub fn logits(&self, images: &ImageBatch) -> Result<Vec<Vec<f32>>, InferError> {
        let images = images
            .tensor(&self.card.input, &self.device)
            .map_err(|source| InferError::Image { source })?;
        rows(self.network.logits(self.network.features(images)))
    }

    fn warm_up(&self) -> Result<(), WeightsError> {
        let InputSpec { height, width, .. } = self.card.input;
        let fail = |reason: String| WeightsError::WarmUp { reason };
        let images = ImageBatch::from_bytes(height, width, vec![127; 3 * height * width])
            .map_err(|e| fail(e.to_string()))?;
        let logits = self.logits(&images).map_err(|e| fail(e.to_string()))?;
        ensure!(
            logits.iter().flatten().all(|v| v.is_finite()),
            WarmUpSnafu {
                reason: "a grey image gave logits that are not finite"
            }
        );
        Ok(())
    }
}
