//! The pieces that all blocks of the network are made of.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use meanet_engine::{Op, Source};

use crate::lower::{Draft, LowerError};

/// A convolution and its batch norm.
#[derive(Module, Debug)]
pub(crate) struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
}

impl ConvNorm {
    /// `kernel` is 1 or 3, padded so that stride 1 keeps the size.
    pub(crate) fn new(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Self {
        let pad = kernel / 2;
        let conv = Conv2dConfig::new(channels, [kernel, kernel])
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
            .with_bias(false)
            .with_initializer(Initializer::KaimingNormal {
                gain: std::f64::consts::SQRT_2,
                fan_out_only: true,
            })
            .init(device);
        Self {
            conv,
            norm: BatchNormConfig::new(channels[1]).init(device),
        }
    }

    /// `[n, in, h, w]` → `[n, out, h/stride, w/stride]`
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(x))
    }

    /// [`Self::forward`] as nodes.
    pub(crate) fn lower(&self, draft: &mut Draft, from: Source) -> Result<Source, LowerError> {
        let x = draft.conv(&self.conv, from)?;
        draft.norm(&self.norm, x)
    }
}

/// Two 3×3 convolutions and a shortcut around them (He et al. 2016, fig. 2).
#[derive(Module, Debug)]
pub(crate) struct BasicBlock {
    first: ConvNorm,
    second: ConvNorm,
    shortcut: Option<ConvNorm>,
}

impl BasicBlock {
    pub(crate) fn new(channels: [usize; 2], stride: usize, device: &Device) -> Self {
        let [input, out] = channels;
        Self {
            first: ConvNorm::new(channels, 3, stride, device),
            second: ConvNorm::new([out, out], 3, 1, device),
            shortcut: (input != out || stride != 1).then(|| ConvNorm::new(channels, 1, stride, device)),
        }
    }

    /// `[n, in, h, w]` → `[n, out, h/stride, w/stride]`
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x.clone()),
            None => x.clone(),
        };
        let x = relu(self.first.forward(x));
        relu(self.second.forward(x) + shortcut)
    }

    /// [`Self::forward`] as nodes.
    pub(crate) fn lower(&self, draft: &mut Draft, from: Source) -> Result<Source, LowerError> {
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.lower(draft, from)?,
            None => from,
        };
        let x = self.first.lower(draft, from)?;
        let x = draft.relu(x);
        let x = self.second.lower(draft, x)?;
        let x = draft.op(Op::Add, [x, shortcut]);
        Ok(draft.relu(x))
    }
}
