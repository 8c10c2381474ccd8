//! The part of a MEANet that is retrained (Long et al. 2021, §III): an adaptive block that sees the raw input again, and an
//! extension that takes the main block's features next to, or added to, those of the adaptive block.

use burn::module::Module;
use burn::nn::pool::MaxPool2d;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use crate::blocks::{ConvNorm, Residual, stem_pool};
use meanet_engine::{Op, Source};

use crate::layout::{Blueprint, Fusion, Stage, blocks, channels, tail};
use crate::lower::{Draft, LowerError};
use crate::network::{enter, lower_classify, lower_enter, pooled};

/// Looks at the raw input again.
#[derive(Module, Debug)]
pub(crate) struct Adaptive {
    pub(crate) stem: ConvNorm,
    pub(crate) pool: Option<MaxPool2d>,
    pub(crate) blocks: Vec<Residual>,
}

impl Adaptive {
    pub(crate) fn new(blueprint: &Blueprint, device: &Device) -> Self {
        let layout = blueprint.backbone.layout();
        Self {
            stem: ConvNorm::new(&layout.stem.conv(layout.activation), device),
            pool: layout.stem.pool.then(stem_pool),
            blocks: row(&blueprint.adaptive(&layout), layout.stem.out, device),
        }
    }

    /// `[n, 3, h, w]`, normalised → `[n, c, h/r, w/r]`
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = enter(&self.stem, self.pool.as_ref(), x);
        self.blocks.iter().fold(x, |x, block| block.forward(x))
    }

    pub(crate) fn lower(&self, draft: &mut Draft, from: Source) -> Result<Source, LowerError> {
        let x = lower_enter(&self.stem, self.pool.as_ref(), draft, from)?;
        self.blocks.iter().try_fold(x, |x, block| block.lower(draft, x))
    }
}

/// Tells the hard classes apart from main and adaptive features.
#[derive(Module, Debug)]
pub(crate) struct Extension {
    #[module(skip)]
    pub(crate) fusion: Fusion,
    pub(crate) blocks: Vec<Residual>,
    pub(crate) tail: Option<ConvNorm>,
    pub(crate) head: Linear,
}

impl Extension {
    /// `outputs` is the number of classes that it answers for.
    pub(crate) fn new(blueprint: &Blueprint, outputs: usize, device: &Device) -> Self {
        let layout = blueprint.backbone.layout();
        let (entering, stages) = blueprint.extension(&layout);
        let features = channels(&layout.stem, &stages);
        // Zero, so that an extension that adds to the main block begins as the main block.
        let head = LinearConfig::new(layout.tail.unwrap_or(features), outputs)
            .with_initializer(Initializer::Zeros)
            .init(device);
        Self {
            fusion: blueprint.fusion,
            blocks: row(&stages, entering, device),
            tail: layout
                .tail
                .map(|out| ConvNorm::new(&tail([features, out], layout.activation), device)),
            head,
        }
    }

    /// The same, but deaf to the main block's features until it is trained with some. Only where features are concatenated.
    pub(crate) fn deaf(mut self) -> Self {
        let Some(block) = self.blocks.first_mut() else {
            return self;
        };
        let entry = block.first.as_mut().unwrap_or(&mut block.second);
        for ConvNorm { conv, .. } in [Some(entry), block.shortcut.as_mut()].into_iter().flatten() {
            conv.weight = conv.weight.clone().map(|weight| {
                let [out, entering, rows, columns] = weight.dims();
                let main = [0..out, 0..entering / 2, 0..rows, 0..columns];
                let zeros = weight.clone().slice(main.clone()).zeros_like();
                weight.slice_assign(main, zeros)
            });
        }
        self
    }

    /// Main and adaptive features, each `[n, c, h/r, w/r]` → `[n, outputs]`
    pub(crate) fn forward(&self, main: Tensor<4>, adaptive: Tensor<4>) -> Tensor<2> {
        let x = match self.fusion {
            Fusion::Concat => Tensor::cat(vec![main, adaptive], 1),
            Fusion::Sum => main + adaptive,
        };
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        self.head.forward(pooled(self.tail.as_ref(), x))
    }

    /// Main and adaptive features → logits.
    pub(crate) fn lower(&self, draft: &mut Draft, features: [Source; 2]) -> Result<Source, LowerError> {
        let joined = match self.fusion {
            Fusion::Concat => draft.op(Op::Concat, features),
            Fusion::Sum => draft.op(Op::Add, features),
        };
        let x = self
            .blocks
            .iter()
            .try_fold(joined, |x, block| block.lower(draft, x))?;
        lower_classify(self.tail.as_ref(), &self.head, draft, x)
    }
}

fn row(stages: &[Stage], input: usize, device: &Device) -> Vec<Residual> {
    let blocks = blocks(stages, input);
    blocks
        .iter()
        .flatten()
        .map(|block| Residual::new(block, device))
        .collect()
}

/// The part of an edge network that is retrained and shipped.
#[derive(Module, Debug)]
pub(crate) struct Specialist {
    pub(crate) adaptive: Adaptive,
    pub(crate) extension: Extension,
}

impl Specialist {
    pub(crate) fn new(blueprint: &Blueprint, outputs: usize, device: &Device) -> Self {
        Self {
            adaptive: Adaptive::new(blueprint, device),
            extension: Extension::new(blueprint, outputs, device),
        }
    }

    /// Images `[n, 3, h, w]`, normalised, and main features `[n, c, h/r, w/r]` → `[n, outputs]`
    pub(crate) fn forward(&self, images: Tensor<4>, features: Tensor<4>) -> Tensor<2> {
        self.extension.forward(features, self.adaptive.forward(images))
    }
}
