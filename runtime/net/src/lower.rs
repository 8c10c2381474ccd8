//! From burn modules to the engine's graph, the one description that plans, exports and counts are made from.
//!
//! Each module has a `lower` beside its `forward`: it appends the same function, node by node, to a [`Draft`]. Batch norms stay
//! nodes of their own, so that a graph still says what is trained; the engine folds them.

mod check;
mod graphs;
mod runner;
mod whole;

use burn::nn::conv::Conv2d;
use burn::nn::pool::MaxPool2d;
use burn::nn::{BatchNorm, Linear, PaddingConfig2d};
use burn::tensor::Tensor;
use meanet_engine::{self as engine, EngineError, Graph, Input, Op, SegmentId, Source};
use snafu::{Snafu, ensure};

use crate::input::InputSpec;
use crate::layout::Activation;

pub(crate) use check::{Expectation, Probes, difference};
pub use check::{TOLERANCE, TOLERANCE_DEVICE, TOLERANCE_INT8};
pub use graphs::{CloudGraph, EdgeGraph, FEATURES, LOGITS};
pub use runner::Compute;
pub(crate) use runner::Runner;
pub(crate) use whole::Whole;

/// Why a module cannot be said as a graph.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum LowerError {
    /// The tensor library did not give a tensor's values.
    #[snafu(display("failed to read the {tensor}: {reason}"))]
    Values {
        /// Which tensor.
        tensor: &'static str,
        /// What the library says.
        reason: String,
    },
    /// The graph has no such operation.
    #[snafu(display("failed to describe a convolution: {reason}"))]
    Convolution {
        /// What it has that a graph has not.
        reason: String,
    },
}

/// Why a network cannot be served by the engine.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum PlanError {
    /// The network cannot be said as a graph.
    #[snafu(transparent)]
    Lower {
        /// Why.
        source: LowerError,
    },
    /// The engine does not take the graph.
    #[snafu(display("failed to plan the network: {source}"))]
    Compile {
        /// Why.
        source: EngineError,
    },
    /// Some weights make the network's numbers overflow.
    #[snafu(display("failed the warm-up inference: the {block} gave numbers that are not finite"))]
    NotFinite {
        /// The block.
        block: &'static str,
    },
    /// A block does not say what an 8-bit plan rounds by.
    #[snafu(display(
        "failed to plan the network in precision Int8: the {block} carries no ranges for its layers, or those of another network; package it again with `meanet train calibrate`, or choose precision Float32"
    ))]
    NoRanges {
        /// The block.
        block: &'static str,
    },
    /// The 8-bit plan is too far from the network.
    #[snafu(display(
        "failed to plan the network in precision Int8: the {block} is off by {:.0} % of its answers, and {:.0} % is borne; calibrate it on more images, or choose precision Float32", difference * 100.0, tolerance * 100.0
    ))]
    Coarse {
        /// The block.
        block: &'static str,
        /// Root mean square of the differences, by that of the answers.
        difference: f32,
        /// What is borne.
        tolerance: f32,
    },
    /// Plan and network do not compute the same.
    #[snafu(display(
        "failed to plan the network: the plan of the {block} is off by {difference:.1e} of its largest answer, and {tolerance:.0e} is borne; train it again, with more weight decay"
    ))]
    Differs {
        /// The block.
        block: &'static str,
        /// Largest difference, by the largest answer.
        difference: f32,
        /// What is borne.
        tolerance: f32,
    },
    /// A device computes something else than the CPU.
    #[snafu(display(
        "failed to use the backend's device: there the {block} is off by {difference:.1e} of its largest answer, and {tolerance:.0e} is borne; use --backend engine"
    ))]
    DeviceDiffers {
        /// The network.
        block: &'static str,
        /// Largest difference, by the largest answer.
        difference: f32,
        /// What is borne.
        tolerance: f32,
    },
}

/// A graph that is being made.
pub(crate) struct Draft {
    graph: Graph,
    weighted: Vec<Weighted>,
}

/// A node with weights, and one of the module's parameters that they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weighted {
    pub(crate) node: usize,
    /// Number of the weights, or of a norm's factors.
    pub(crate) parameter: u64,
}

impl Draft {
    /// For images as `input` says, normalised as it says.
    pub(crate) fn new(input: &InputSpec) -> Self {
        let shape = [3, input.height, input.width];
        Self {
            graph: Graph::new(Input::normalised(shape, &input.mean, &input.std)),
            weighted: Vec::new(),
        }
    }

    /// An operation of the engine.
    pub(crate) fn op(&mut self, op: Op, inputs: impl Into<Vec<Source>>) -> Source {
        self.graph.add(op, inputs)
    }

    /// An operation with the weights that `parameter` is the number of.
    fn weighted(&mut self, op: Op, parameter: u64, from: Source) -> Source {
        let node = self.graph.nodes.len();
        self.weighted.push(Weighted { node, parameter });
        self.op(op, [from])
    }

    /// A convolution with the same stride in both directions and the same padding on all sides.
    pub(crate) fn conv(&mut self, conv: &Conv2d, from: Source) -> Result<Source, LowerError> {
        let padding = even(&conv.padding, conv.stride, conv.dilation)?;
        let [out, ..] = conv.weight.dims();
        let op = engine::Conv2d {
            out,
            kernel: conv.kernel_size,
            stride: conv.stride[0],
            padding,
            groups: conv.groups,
            weight: values("weights of a convolution", conv.weight.val())?,
            bias: match &conv.bias {
                Some(bias) => values("bias of a convolution", bias.val())?,
                None => Vec::new(),
            },
        };
        Ok(self.weighted(Op::Conv2d(op), conv.weight.id.val(), from))
    }

    /// A batch norm by its running statistics.
    pub(crate) fn norm(&mut self, norm: &BatchNorm, from: Source) -> Result<Source, LowerError> {
        let op = engine::BatchNorm {
            gamma: values("factors of a batch norm", norm.gamma.val())?,
            beta: values("summands of a batch norm", norm.beta.val())?,
            mean: values("means of a batch norm", norm.running_mean.value_sync())?,
            variance: values("variances of a batch norm", norm.running_var.value_sync())?,
            epsilon: norm.epsilon as f32,
        };
        Ok(self.weighted(Op::BatchNorm(op), norm.gamma.id.val(), from))
    }

    /// A linear layer; burn's matrices are `[in, out]`, the engine's `[out, in]`.
    pub(crate) fn linear(&mut self, linear: &Linear, from: Source) -> Result<Source, LowerError> {
        let [_, out] = linear.weight.dims();
        let op = engine::Linear {
            out,
            weight: values("weights of a linear layer", linear.weight.val().transpose())?,
            bias: match &linear.bias {
                Some(bias) => values("bias of a linear layer", bias.val())?,
                None => Vec::new(),
            },
        };
        Ok(self.weighted(Op::Linear(op), linear.weight.id.val(), from))
    }

    /// A 1×1 convolution of a vector, which is a linear layer.
    pub(crate) fn pointwise(&mut self, conv: &Conv2d, from: Source) -> Result<Source, LowerError> {
        let [out, ..] = conv.weight.dims();
        let op = engine::Linear {
            out,
            weight: values("weights of a convolution", conv.weight.val())?,
            bias: match &conv.bias {
                Some(bias) => values("bias of a convolution", bias.val())?,
                None => Vec::new(),
            },
        };
        Ok(self.op(Op::Linear(op), [from]))
    }

    /// The largest of squares.
    pub(crate) fn max_pool(&mut self, pool: &MaxPool2d, from: Source) -> Result<Source, LowerError> {
        let op = Op::MaxPool {
            kernel: pool.kernel_size[0],
            stride: pool.stride[0],
            padding: even(&pool.padding, pool.stride, pool.dilation)?,
        };
        Ok(self.op(op, [from]))
    }

    /// A function of single numbers.
    pub(crate) fn activation(&mut self, activation: Activation, from: Source) -> Source {
        match activation {
            Activation::None => from,
            Activation::Relu => self.op(Op::Relu, [from]),
            Activation::Relu6 => self.op(Op::Relu6, [from]),
            Activation::Swish => self.op(Op::Swish, [from]),
        }
    }

    /// A classifier's end: the mean over the positions, and a linear layer.
    pub(crate) fn head(&mut self, head: &Linear, from: Source) -> Result<Source, LowerError> {
        let pooled = self.op(Op::GlobalAvgPool, [from]);
        self.linear(head, pooled)
    }

    /// Ends a segment: what was added since the last can be run by itself, and `outputs` are kept.
    pub(crate) fn segment(&mut self, name: &str, outputs: impl Into<Vec<Source>>) -> SegmentId {
        self.graph.end_segment(name, outputs)
    }

    pub(crate) fn finish(self) -> Graph {
        self.graph
    }

    /// With the nodes that have weights.
    pub(crate) fn finish_weighted(self) -> (Graph, Vec<Weighted>) {
        (self.graph, self.weighted)
    }
}

/// The padding of a window that is alike on all sides, as the graph's are.
fn even(padding: &PaddingConfig2d, stride: [usize; 2], dilation: [usize; 2]) -> Result<usize, LowerError> {
    let sides = match *padding {
        PaddingConfig2d::Valid => [0; 4],
        PaddingConfig2d::Explicit(top, left, bottom, right) => [top, left, bottom, right],
        PaddingConfig2d::Same => {
            let reason = "its padding depends on the size of the input; give it as numbers".to_owned();
            return ConvolutionSnafu { reason }.fail();
        }
    };
    ensure!(
        sides == [sides[0]; 4] && stride[0] == stride[1] && dilation == [1, 1],
        ConvolutionSnafu {
            reason: format!(
                "padding {sides:?}, stride {stride:?} and dilation {dilation:?}; give all sides one padding, one stride and no dilation"
            )
        }
    );
    Ok(sides[0])
}

/// Row-major.
pub(crate) fn values<const D: usize>(tensor: &'static str, of: Tensor<D>) -> Result<Vec<f32>, LowerError> {
    of.into_data().try_to_vec::<f32>().or_else(|e| {
        ValuesSnafu {
            tensor,
            reason: format!("{e:?}"),
        }
        .fail()
    })
}
