//! CIFAR `ResNet`s: the main block of variant B, and the cloud's network.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use meanet_engine::Source;

use crate::backbone::Backbone;
use crate::blocks::{BasicBlock, ConvNorm};
use crate::lower::{Draft, LowerError};

/// A whole classifier whose last features can be tapped.
#[derive(Module, Debug)]
pub(crate) struct ResNet {
    stem: ConvNorm,
    stages: Vec<Vec<BasicBlock>>,
    head: Linear,
}

impl ResNet {
    pub(crate) fn new(backbone: Backbone, classes: usize, device: &Device) -> Self {
        let channels = backbone.channels();
        let mut input = channels[0];
        let stages = channels
            .iter()
            .enumerate()
            .map(|(stage, &out)| {
                (0..backbone.blocks())
                    .map(|block| {
                        let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                        let made = BasicBlock::new([input, out], stride, device);
                        input = out;
                        made
                    })
                    .collect()
            })
            .collect();
        Self {
            stem: ConvNorm::new([3, channels[0]], 3, 1, device),
            stages,
            head: LinearConfig::new(channels[2], classes).init(device),
        }
    }

    /// `[n, 3, h, w]`, normalised → `[n, c, h/4, w/4]`
    pub(crate) fn features(&self, x: Tensor<4>) -> Tensor<4> {
        let x = relu(self.stem.forward(x));
        self.stages.iter().flatten().fold(x, |x, block| block.forward(x))
    }

    /// `[n, c, h/4, w/4]` → `[n, classes]`
    pub(crate) fn logits(&self, features: Tensor<4>) -> Tensor<2> {
        self.head.forward(pool(features))
    }

    /// [`Self::features`] and [`Self::logits`] as nodes.
    pub(crate) fn lower(&self, draft: &mut Draft, from: Source) -> Result<[Source; 2], LowerError> {
        let x = self.stem.lower(draft, from)?;
        let mut x = draft.relu(x);
        for block in self.stages.iter().flatten() {
            x = block.lower(draft, x)?;
        }
        Ok([x, draft.head(&self.head, x)?])
    }
}

/// Mean over the positions: `[n, c, h, w]` → `[n, c]`
pub(crate) fn pool(x: Tensor<4>) -> Tensor<2> {
    let [count, channels, height, width] = x.dims();
    x.reshape([count, channels, height * width])
        .mean_dim(2)
        .reshape([count, channels])
}
