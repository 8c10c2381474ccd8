//! Variant B, "extend" (Long et al. 2021, §III): the extension takes the last features of a whole network, next to those
//! of an adaptive block that sees the raw input again.

use burn::module::Module;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use meanet_engine::Source;

use crate::backbone::Backbone;
use crate::blocks::{BasicBlock, ConvNorm};
use crate::lower::{Draft, LowerError};
use crate::resnet::pool;

/// Looks at the raw input again: a stem and one block a stage.
#[derive(Module, Debug)]
pub(crate) struct Adaptive {
    stem: ConvNorm,
    blocks: Vec<BasicBlock>,
}

impl Adaptive {
    pub(crate) fn new(backbone: Backbone, device: &Device) -> Self {
        let [a, b, c] = backbone.channels();
        Self {
            stem: ConvNorm::new([3, a], 3, 1, device),
            blocks: vec![
                BasicBlock::new([a, a], 1, device),
                BasicBlock::new([a, b], 2, device),
                BasicBlock::new([b, c], 2, device),
            ],
        }
    }

    /// `[n, 3, h, w]`, normalised → `[n, c, h/4, w/4]`
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = relu(self.stem.forward(x));
        self.blocks.iter().fold(x, |x, block| block.forward(x))
    }

    /// [`Self::forward`] as nodes.
    pub(crate) fn lower(&self, draft: &mut Draft, from: Source) -> Result<Source, LowerError> {
        let x = self.stem.lower(draft, from)?;
        let x = draft.relu(x);
        self.blocks.iter().try_fold(x, |x, block| block.lower(draft, x))
    }
}

/// Tells the hard classes apart from main and adaptive features.
#[derive(Module, Debug)]
pub(crate) struct Extension {
    blocks: Vec<BasicBlock>,
    head: Linear,
}

impl Extension {
    /// `outputs` is the number of hard classes.
    pub(crate) fn new(backbone: Backbone, outputs: usize, device: &Device) -> Self {
        let [.., c] = backbone.channels();
        let mut blocks = vec![BasicBlock::new([2 * c, c], 1, device)];
        blocks.extend((0..3).map(|_| BasicBlock::new([c, c], 1, device)));
        // Zero, so that an extension that adds to the main block begins as the main block.
        Self {
            blocks,
            head: LinearConfig::new(c, outputs)
                .with_initializer(Initializer::Zeros)
                .init(device),
        }
    }

    /// Main and adaptive features, each `[n, c, h/4, w/4]` → `[n, outputs]`
    pub(crate) fn forward(&self, main: Tensor<4>, adaptive: Tensor<4>) -> Tensor<2> {
        let x = Tensor::cat(vec![main, adaptive], 1);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        self.head.forward(pool(x))
    }

    /// [`Self::forward`] as nodes; `joined` are main and adaptive features one behind the other.
    pub(crate) fn lower(&self, draft: &mut Draft, joined: Source) -> Result<Source, LowerError> {
        let x = self
            .blocks
            .iter()
            .try_fold(joined, |x, block| block.lower(draft, x))?;
        draft.head(&self.head, x)
    }
}

/// The part of an edge network that is retrained and shipped.
#[derive(Module, Debug)]
pub(crate) struct Specialist {
    pub(crate) adaptive: Adaptive,
    pub(crate) extension: Extension,
}

impl Specialist {
    pub(crate) fn new(backbone: Backbone, outputs: usize, device: &Device) -> Self {
        Self {
            adaptive: Adaptive::new(backbone, device),
            extension: Extension::new(backbone, outputs, device),
        }
    }

    /// Images `[n, 3, h, w]`, normalised, and main features `[n, c, h/4, w/4]` → `[n, outputs]`
    pub(crate) fn forward(&self, images: Tensor<4>, features: Tensor<4>) -> Tensor<2> {
        self.extension.forward(features, self.adaptive.forward(images))
    }
}
