//! A convolution with its batch norm, in training, as one operation of `LibTorch` and its own gradients.
//!
//! burn differentiates convolutions and norms by operations that every backend has: the gradient of a convolution's weights is a
//! convolution of transposed copies, a norm is a dozen passes over the activations each way. `LibTorch` has both made for the
//! purpose, but only behind its own record of what was computed. So each operation here keeps such a record of itself, and
//! burn's goes from one to the next. What is kept until then is the input and the convolution's result.
#![expect(deprecated, reason = "gone from burn 0.23, which is why burn is pinned")]

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::libtorch::TchTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, LibTorch, backend_extension};
use burn::nn::{BatchNorm, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use tch::Tensor as Native;

use super::ConvNorm;
use crate::layout::Activation;

/// What an operation does besides its tensors.
#[derive(Clone, Copy, Debug)]
pub struct How {
    stride: [i64; 2],
    padding: [i64; 2],
    dilation: [i64; 2],
    groups: i64,
    epsilon: f64,
    /// Nothing or a ReLU, with or without an upper end.
    then: Activation,
}

/// Operations that only a backend's own code does well.
#[backend_extension(LibTorch, Autodiff)]
pub trait Trained: Backend {
    /// The convolution of `x` `[n, in, h, w]` by `weight` `[out, in / groups, k, k]`, normalised over the batch by `gamma` and
    /// `beta` `[out]`. Gives the result, and the batch's mean and biased variance `[out]`.
    fn conv_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        how: How,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The same with `way` `[n, out, h', w']` added.
    fn conv_norm_add(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        way: FloatTensor<Self>,
        how: How,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl Trained for LibTorch {
    fn conv_norm(
        x: TchTensor,
        weight: TchTensor,
        gamma: TchTensor,
        beta: TchTensor,
        how: How,
    ) -> (TchTensor, TchTensor, TchTensor) {
        let inputs = [&x, &weight, &gamma, &beta].map(|input| &input.tensor);
        compute(inputs, None, how).map_to(TchTensor::new)
    }

    fn conv_norm_add(
        x: TchTensor,
        weight: TchTensor,
        gamma: TchTensor,
        beta: TchTensor,
        way: TchTensor,
        how: How,
    ) -> (TchTensor, TchTensor, TchTensor) {
        let inputs = [&x, &weight, &gamma, &beta].map(|input| &input.tensor);
        compute(inputs, Some(&way.tensor), how).map_to(TchTensor::new)
    }
}

/// Result, mean and biased variance.
struct Computed([Native; 3]);

impl Computed {
    fn map_to<T>(self, to: impl Fn(Native) -> T) -> (T, T, T) {
        let [result, mean, variance] = self.0;
        (to(result), to(mean), to(variance))
    }
}

fn compute([x, weight, gamma, beta]: [&Native; 4], way: Option<&Native>, how: How) -> Computed {
    let none = None::<&Native>;
    let x = x.conv2d(weight, none, how.stride, how.padding, how.dilation, how.groups);
    let (mut result, mean, inverse) =
        x.native_batch_norm(Some(gamma), Some(beta), none, none, true, 0.0, how.epsilon);
    // Neither the norm nor the sum keeps its result, so that it can be changed in place.
    if let Some(way) = way {
        result = result.g_add_(way);
    }
    result = match how.then {
        Activation::Relu => result.relu_(),
        Activation::Relu6 => result.relu6_(),
        _ => result,
    };
    // The norm keeps both for its gradient, and whoever gets these may change them in place.
    let variance = inverse.detach().square().reciprocal() - how.epsilon;
    Computed([result, mean.detach().copy(), variance])
}

/// What is kept of one operation.
#[derive(Clone, Debug)]
struct Kept<const N: usize> {
    /// Input, weight, gamma, beta and, if it is there, what is added. Nobody may change them in place meanwhile, which burn knows
    /// by their storage.
    inputs: [TchTensor; N],
    /// With `LibTorch`'s record of how it came about.
    result: TchTensor,
}

impl<const N: usize> Kept<N> {
    /// Computes it, and gives the result, mean and variance besides.
    fn new(inputs: [TchTensor; N], how: How) -> (Self, (TchTensor, TchTensor, TchTensor)) {
        let inputs = inputs.map(|input| TchTensor {
            tensor: input.tensor.detach().set_requires_grad(true),
            storage: input.storage,
        });
        let four = [0, 1, 2, 3].map(|place: usize| &inputs[place].tensor);
        let way = inputs.get(4).map(|way| &way.tensor);
        let (result, mean, variance) = compute(four, way, how).map_to(TchTensor::new);
        let mut given = TchTensor::new(result.tensor.detach());
        if how.then != Activation::None {
            // Such a result tells the gradient where it was positive; any other may be changed in place.
            given.storage = result.storage.clone();
        }
        (Self { inputs, result }, (given, mean, variance))
    }

    /// Gradients of the `wanted` inputs.
    fn gradients(self, gradient: &TchTensor, wanted: [bool; N]) -> Vec<TchTensor> {
        // A record begins with a number, and the gradient of this one by the result is the gradient that came.
        let number = self.result.tensor.reshape(-1).dot(&gradient.tensor.reshape(-1));
        let inputs: Vec<&Native> = self
            .inputs
            .iter()
            .zip(wanted)
            .filter_map(|(input, wanted)| wanted.then_some(&input.tensor))
            .collect();
        let found = Native::run_backward(&[number], &inputs, false, false);
        found.into_iter().map(TchTensor::new).collect()
    }
}

/// The way back through one operation.
#[derive(Debug)]
struct Back;

impl<const N: usize> Backward<LibTorch, N> for Back {
    type State = Kept<N>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<LibTorch>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = ops.state.gradients(&gradient, wanted);
        for (node, gradient) in ops.parents.into_iter().flatten().zip(found) {
            grads.register::<LibTorch>(node.id, gradient);
        }
    }
}

impl<C: CheckpointStrategy> Trained for Autodiff<LibTorch, C> {
    fn conv_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        how: How,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        tracked::<C, 4>([x, weight, gamma, beta], how)
    }

    fn conv_norm_add(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        way: FloatTensor<Self>,
        how: How,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        tracked::<C, 5>([x, weight, gamma, beta, way], how)
    }
}

type Tracked<C> = FloatTensor<Autodiff<LibTorch, C>>;

fn tracked<C: CheckpointStrategy, const N: usize>(
    inputs: [Tracked<C>; N],
    how: How,
) -> (Tracked<C>, Tracked<C>, Tracked<C>) {
    let prepared =
        <Back as Backward<LibTorch, N>>::prepare::<C>(Back, inputs.each_ref().map(|input| input.node()));
    let inputs = inputs.map(|input| input.into_primitive());
    let (kept, (result, mean, variance)) = Kept::new(inputs, how);
    let result = match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(kept, result),
        OpsKind::UnTracked(prepared) => prepared.finish(result),
    };
    let [mean, variance] = [mean, variance].map(<Autodiff<LibTorch, C> as AutodiffBackend>::from_inner);
    (result, mean, variance)
}

/// What `block` makes of `x` in training, with `way` added before the activation `then`, or nothing where it is not `LibTorch`
/// that trains it, or where the operation does not know its kind.
pub(super) fn trained(
    block: &ConvNorm,
    x: &Tensor<4>,
    way: Option<&Tensor<4>>,
    then: Activation,
) -> Option<Tensor<4>> {
    let (conv, norm) = (&block.conv, &block.norm);
    let device = x.device();
    let ours =
        device.is_autodiff() && [Device::libtorch(), Device::libtorch_cuda(0)].contains(&device.inner());
    let known = then != Activation::Swish && conv.bias.is_none();
    let PaddingConfig2d::Explicit(top, left, bottom, right) = conv.padding else {
        return None;
    };
    if !(ours && known && norm.training.is_enabled() && top == bottom && left == right) {
        return None;
    }
    let how = How {
        stride: conv.stride.map(|v| v as i64),
        padding: [top as i64, left as i64],
        dilation: conv.dilation.map(|v| v as i64),
        groups: conv.groups as i64,
        epsilon: norm.epsilon,
        then,
    };
    let x = x.clone().into_dispatch();
    let weight = conv.weight.val().into_dispatch();
    let [gamma, beta] = [&norm.gamma, &norm.beta].map(|param| param.val().into_dispatch());
    let (result, mean, variance) = match way {
        None => Dispatch::conv_norm(x, weight, gamma, beta, how),
        Some(way) => Dispatch::conv_norm_add(x, weight, gamma, beta, way.clone().into_dispatch(), how),
    };
    note(norm, Tensor::from_dispatch(mean), Tensor::from_dispatch(variance));
    Some(Tensor::from_dispatch(result))
}

/// Takes the statistics of a batch, `[channels]` each, into the running ones, as burn's norm does.
fn note(norm: &BatchNorm, mean: Tensor<1>, variance: Tensor<1>) {
    for (running, found) in [(&norm.running_mean, mean), (&norm.running_var, variance)] {
        let kept = running.value_sync().mul_scalar(1.0 - norm.momentum);
        running.update(kept.add(found.detach().mul_scalar(norm.momentum)).detach());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use crate::blocks::activate;
    use crate::layout::Conv;
    use crate::weights::tensors_of;

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    fn close(name: &str, found: &[f32], wanted: &[f32]) {
        let most = wanted.iter().fold(1e-3_f32, |most, v| most.max(v.abs()));
        assert_eq!(found.len(), wanted.len(), "{name}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-4 * most, "{name}: {found} {wanted}");
        }
    }

    /// Result, gradients by input, weight, gamma, beta and way, and the running statistics, of two steps: of the operation here
    /// or of burn's.
    fn found(plan: &Conv, joined: bool, native: bool) -> Vec<(&'static str, Vec<f32>)> {
        let device = Backend::Torch.processor().unwrap().device().autodiff();
        let numbers =
            |count: usize, by: f32| -> Vec<f32> { (0..count).map(|i| (i as f32 * by).sin()).collect() };
        let [inputs, out] = plan.channels;
        let shape = |values: Vec<f32>, shape: [usize; 4]| {
            Tensor::<4>::from_data(burn::tensor::TensorData::new(values, shape), &device)
        };
        let groups = if plan.depthwise { inputs } else { 1 };
        let weight = [out, inputs / groups, plan.kernel, plan.kernel];
        let mut block = ConvNorm::new(plan, &device);
        block.conv.weight =
            burn::module::Param::from_tensor(shape(numbers(weight.iter().product(), 1.7), weight));
        let x = shape(numbers(3 * inputs * 64, 0.37), [3, inputs, 8, 8]).require_grad();
        let side = 8 / plan.stride;
        let way = shape(numbers(3 * out * side * side, 0.91), [3, out, side, side]).require_grad();
        let added = joined.then_some(&way);
        let mut last = Vec::new();
        for _ in 0..2 {
            let result = if native {
                trained(&block, &x, added, plan.then).unwrap()
            } else {
                let sum = block.norm.forward(block.conv.forward(x.clone()));
                activate(plan.then, added.map_or(sum.clone(), |way| sum + way.clone()))
            };
            let by = shape(numbers(result.shape().num_elements(), 0.53), result.dims());
            let gradients = (result.clone() * by).sum().backward();
            last = vec![
                ("result", values(result)),
                ("input", values(x.grad(&gradients).unwrap())),
                (
                    "weight",
                    values(block.conv.weight.val().grad(&gradients).unwrap()),
                ),
                ("gamma", values(block.norm.gamma.val().grad(&gradients).unwrap())),
                ("beta", values(block.norm.beta.val().grad(&gradients).unwrap())),
            ];
            if joined {
                last.push(("way", values(way.grad(&gradients).unwrap())));
            }
        }
        let running = tensors_of(&block).unwrap();
        for (name, key) in [("mean", "norm.running_mean"), ("variance", "norm.running_var")] {
            last.push((name, running[key].data.clone()));
        }
        last
    }

    #[test]
    fn results_and_gradients_are_those_of_burns_operations() {
        let plan = |channels, stride, depthwise, then| Conv {
            channels,
            kernel: 3,
            stride,
            padding: 1,
            depthwise,
            then,
        };
        for plan in [
            plan([4, 6], 1, false, Activation::Relu),
            plan([4, 6], 2, false, Activation::None),
            plan([4, 4], 1, true, Activation::Relu),
            plan([4, 4], 2, true, Activation::Relu6),
        ] {
            for joined in [false, true] {
                let (found, wanted) = (found(&plan, joined, true), found(&plan, joined, false));
                assert_eq!(found.len(), wanted.len());
                for ((name, found), (_, wanted)) in found.iter().zip(&wanted) {
                    close(name, found, wanted);
                }
            }
        }
    }
}
