//! The pieces that all blocks of the network are made of.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

/// A convolution and its batch norm; folded into one for inference, where the norm is gone and the convolution has a bias.
#[derive(Module, Debug)]
pub(crate) struct ConvNorm {
    conv: Conv2d,
    norm: Option<BatchNorm>,
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
            norm: Some(BatchNormConfig::new(channels[1]).init(device)),
        }
    }

    /// `[n, in, h, w]` → `[n, out, h/stride, w/stride]`
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv.forward(x);
        match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        }
    }

    /// The same function with the norm's running statistics folded into the convolution.
    pub(crate) fn fold(mut self) -> Self {
        let Some(norm) = self.norm.take() else { return self };
        let variance = norm.running_var.value_sync();
        let mean = norm.running_mean.value_sync();
        let scale = norm.gamma.val() / (variance + norm.epsilon).sqrt();
        let bias = norm.beta.val() - mean * scale.clone();
        let [out] = scale.dims();
        let weight = self.conv.weight.val() * scale.reshape([out, 1, 1, 1]);
        self.conv.weight = burn::module::Param::from_tensor(weight);
        self.conv.bias = Some(burn::module::Param::from_tensor(bias));
        self
    }

    /// Multiply-accumulates for an input of `side`×`side`, and the side of the output.
    pub(crate) fn macs(&self, side: usize) -> (usize, usize) {
        let [out, input, kh, kw] = self.conv.weight.dims();
        let side = side.div_ceil(self.conv.stride[0]);
        (out * input * kh * kw * side * side, side)
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

    pub(crate) fn fold(self) -> Self {
        Self {
            first: self.first.fold(),
            second: self.second.fold(),
            shortcut: self.shortcut.map(ConvNorm::fold),
        }
    }

    pub(crate) fn macs(&self, side: usize) -> (usize, usize) {
        let shortcut = self.shortcut.as_ref().map_or(0, |s| s.macs(side).0);
        let (first, side) = self.first.macs(side);
        let (second, side) = self.second.macs(side);
        (shortcut + first + second, side)
    }
}
