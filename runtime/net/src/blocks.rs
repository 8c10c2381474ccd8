//! The pieces that all blocks of a network are made of.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, PaddingConfig2d};
use burn::tensor::activation::{relu, relu6, sigmoid, silu};
use burn::tensor::{Device, Tensor};

use meanet_engine::{Op, Source};

use crate::layout::{Activation, Block, Conv, Way};
use crate::lower::{Draft, LowerError};

#[cfg(feature = "torch")]
mod native;

/// A convolution, its batch norm, and an activation.
#[derive(Module, Debug)]
pub(crate) struct ConvNorm {
    pub(crate) conv: Conv2d,
    pub(crate) norm: BatchNorm,
    #[module(skip)]
    pub(crate) then: Activation,
}

impl ConvNorm {
    pub(crate) fn new(plan: &Conv, device: &Device) -> Self {
        Self {
            conv: convolution(plan, false, device),
            norm: BatchNormConfig::new(plan.channels[1]).init(device),
            then: plan.then,
        }
    }

    /// `[n, in, h, w]` → `[n, out, h/stride, w/stride]`
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.joined(x, None, self.then)
    }

    /// The same with `way` `[n, out, h/stride, w/stride]` added before an activation of the caller's.
    fn joined(&self, x: Tensor<4>, way: Option<Tensor<4>>, then: Activation) -> Tensor<4> {
        #[cfg(feature = "torch")]
        if let Some(trained) = native::trained(self, &x, way.as_ref(), then) {
            return trained;
        }
        let x = self.norm.forward(self.conv.forward(x));
        let x = match way {
            Some(way) => x + way,
            None => x,
        };
        activate(then, x)
    }

    pub(crate) fn lower(&self, draft: &mut Draft, from: Source) -> Result<Source, LowerError> {
        let x = draft.conv(&self.conv, from)?;
        let x = draft.norm(&self.norm, x)?;
        Ok(draft.activation(self.then, x))
    }
}

fn convolution(plan: &Conv, bias: bool, device: &Device) -> Conv2d {
    let pad = plan.padding;
    Conv2dConfig::new(plan.channels, [plan.kernel, plan.kernel])
        .with_stride([plan.stride, plan.stride])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .with_groups(if plan.depthwise { plan.channels[0] } else { 1 })
        .with_bias(bias)
        .with_initializer(Initializer::KaimingNormal {
            gain: std::f64::consts::SQRT_2,
            fan_out_only: true,
        })
        .init(device)
}

fn activate(activation: Activation, x: Tensor<4>) -> Tensor<4> {
    match activation {
        Activation::None => x,
        Activation::Relu => relu(x),
        Activation::Relu6 => relu6(x),
        Activation::Swish => silu(x),
    }
}

/// Up to three convolutions and a way around them: all kinds of [`Block`].
#[derive(Module, Debug)]
pub(crate) struct Residual {
    pub(crate) first: Option<ConvNorm>,
    pub(crate) second: ConvNorm,
    pub(crate) squeeze: Option<Squeeze>,
    pub(crate) third: Option<ConvNorm>,
    pub(crate) shortcut: Option<ConvNorm>,
    /// Whether the input itself is added.
    pub(crate) identity: bool,
    #[module(skip)]
    pub(crate) then: Activation,
}

impl Residual {
    pub(crate) fn new(block: &Block, device: &Device) -> Self {
        let parts = block.parts();
        let conv = |plan: Option<Conv>| plan.map(|plan| ConvNorm::new(&plan, device));
        Self {
            first: conv(parts.first),
            second: ConvNorm::new(&parts.second, device),
            squeeze: parts.squeeze.map(|channels| Squeeze::new(channels, device)),
            third: conv(parts.third),
            shortcut: match parts.way {
                Way::Projected(plan) => Some(ConvNorm::new(&plan, device)),
                Way::Nothing | Way::Input => None,
            },
            identity: parts.way == Way::Input,
            then: parts.then,
        }
    }

    /// `[n, in, h, w]` → `[n, out, h/stride, w/stride]`
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let way = match &self.shortcut {
            Some(shortcut) => Some(shortcut.forward(x.clone())),
            None => self.identity.then(|| x.clone()),
        };
        let x = match &self.first {
            Some(first) => first.forward(x),
            None => x,
        };
        // The last convolution of all kinds has no activation of its own, and is not followed by a squeeze.
        let Some(third) = &self.third else {
            return self.second.joined(x, way, self.then);
        };
        let x = self.second.forward(x);
        let x = match &self.squeeze {
            Some(squeeze) => squeeze.forward(x),
            None => x,
        };
        third.joined(x, way, self.then)
    }

    pub(crate) fn lower(&self, draft: &mut Draft, from: Source) -> Result<Source, LowerError> {
        let way = match &self.shortcut {
            Some(shortcut) => Some(shortcut.lower(draft, from)?),
            None => self.identity.then_some(from),
        };
        let mut x = match &self.first {
            Some(first) => first.lower(draft, from)?,
            None => from,
        };
        x = self.second.lower(draft, x)?;
        if let Some(squeeze) = &self.squeeze {
            x = squeeze.lower(draft, x)?;
        }
        if let Some(third) = &self.third {
            x = third.lower(draft, x)?;
        }
        if let Some(way) = way {
            x = draft.op(Op::Add, [x, way]);
        }
        Ok(draft.activation(self.then, x))
    }
}

/// Weighs channels by what all of them show on average (Hu et al. 2018).
#[derive(Module, Debug)]
pub(crate) struct Squeeze {
    pub(crate) reduce: Conv2d,
    pub(crate) expand: Conv2d,
}

impl Squeeze {
    /// All channels, and the few they are squeezed to.
    fn new([channels, few]: [usize; 2], device: &Device) -> Self {
        let plan = |channels| Conv {
            channels,
            kernel: 1,
            stride: 1,
            padding: 0,
            depthwise: false,
            then: Activation::None,
        };
        Self {
            reduce: convolution(&plan([channels, few]), true, device),
            expand: convolution(&plan([few, channels]), true, device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mean = x.clone().mean_dim(2).mean_dim(3);
        let few = silu(self.reduce.forward(mean));
        x * sigmoid(self.expand.forward(few))
    }

    fn lower(&self, draft: &mut Draft, from: Source) -> Result<Source, LowerError> {
        let mean = draft.op(Op::GlobalAvgPool, [from]);
        let few = draft.pointwise(&self.reduce, mean)?;
        let few = draft.activation(Activation::Swish, few);
        let weights = draft.pointwise(&self.expand, few)?;
        let weights = draft.op(Op::Sigmoid, [weights]);
        Ok(draft.op(Op::Scale, [from, weights]))
    }
}

/// The largest of 3×3 pixels, two apart.
pub(crate) fn stem_pool() -> MaxPool2d {
    MaxPool2dConfig::new([3, 3])
        .with_strides([2, 2])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .init()
}
