//! From the graph to the steps that run: batch norms folded, activations and residuals part of the step before them.

use crate::graph::{BatchNorm, Conv2d, Graph, Linear, Op, Shortcut, Source};
use crate::kernel::{Curve, Fold, Grid, Pool};
use crate::shape::Shape;

/// What a kernel is told; `weight` is `[out, in/groups, rows, columns]`, `bias` is `[out]`.
pub(crate) type Weights = Conv2d;

/// Bounds of a step's results.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Clamp {
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Clamp {
    pub(crate) const NONE: Self = Self {
        low: f32::NEG_INFINITY,
        high: f32::INFINITY,
    };
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// The image of the batch, normalised.
    Image,
    Dense(Weights),
    /// Dense, on words.
    Words(Weights),
    Depthwise(Weights),
    /// Floats to words.
    Quantise(Grid),
    GlobalAvgPool,
    Pool(Pool),
    Concat,
    Shortcut(Shortcut),
    Curve(Curve),
    Scale,
}

/// `clamp(kind(inputs) + residual)`; numbers are values.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) kind: Kind,
    pub(crate) inputs: Vec<usize>,
    pub(crate) residual: Option<usize>,
    pub(crate) output: usize,
    pub(crate) clamp: Clamp,
}

/// The steps of a segment.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) steps: Vec<Step>,
    pub(crate) outputs: Vec<usize>,
    /// Earlier segments whose outputs it reads.
    pub(crate) needs: Vec<usize>,
}

/// Value `i` is that of node `i`; value `nodes + s` is the image in segment `s`.
#[derive(Clone, Debug)]
pub(crate) struct Lowered {
    pub(crate) shapes: Vec<Shape>,
    /// Of values that are stored as words.
    pub(crate) grids: Vec<Option<Grid>>,
    pub(crate) runs: Vec<Run>,
}

/// `shapes` are those of the nodes.
pub(crate) fn lower(graph: &Graph, mut shapes: Vec<Shape>) -> Lowered {
    let nodes = graph.nodes.len();
    let mut uses = vec![0_usize; nodes];
    let read = graph
        .nodes
        .iter()
        .flat_map(|n| &n.inputs)
        .filter_map(|s| match s {
            Source::Node(node) => Some(node),
            Source::Image => None,
        });
    for &node in read.chain(graph.segments.iter().flat_map(|s| &s.outputs)) {
        uses[node] += 1;
    }
    let mut start = 0;
    let mut runs = Vec::with_capacity(graph.segments.len());
    for (index, segment) in graph.segments.iter().enumerate() {
        let image = nodes + index;
        let mut fuser = Fuser {
            start,
            steps: Vec::new(),
            uses: &uses,
        };
        for node in start..segment.end {
            let inputs = graph.nodes[node].inputs.iter().map(|source| match *source {
                Source::Image => image,
                Source::Node(from) => from,
            });
            let inputs: Vec<usize> = inputs.collect();
            let shape = inputs
                .first()
                .and_then(|&i| shapes.get(i).copied())
                .unwrap_or(Shape::Map(graph.input.shape));
            let step = fuser.step(&graph.nodes[node].op, &inputs, node, shape.as_map());
            fuser.steps.push(Some(step));
        }
        let mut steps: Vec<Step> = fuser.steps.into_iter().flatten().collect();
        let sources = || {
            steps
                .iter()
                .flat_map(|s| s.inputs.iter().chain(&s.residual))
                .copied()
        };
        let mut needs: Vec<usize> = sources()
            .filter(|&value| value < start)
            .filter_map(|value| graph.segments.iter().position(|s| value < s.end))
            .collect();
        needs.sort_unstable();
        needs.dedup();
        if sources().any(|value| value == image) {
            steps.insert(
                0,
                Step {
                    kind: Kind::Image,
                    inputs: Vec::new(),
                    residual: None,
                    output: image,
                    clamp: Clamp::NONE,
                },
            );
        }
        runs.push(Run {
            steps,
            outputs: segment.outputs.clone(),
            needs,
        });
        start = segment.end;
    }
    shapes.extend(graph.segments.iter().map(|_| Shape::Map(graph.input.shape)));
    Lowered {
        grids: vec![None; shapes.len()],
        shapes,
        runs,
    }
}

/// Steps so far of one segment, by node; `None` where a later step has taken it in.
struct Fuser<'a> {
    start: usize,
    steps: Vec<Option<Step>>,
    uses: &'a [usize],
}

impl Fuser<'_> {
    /// The step of `value` if nobody else reads it, it still may change, and `fits` says so.
    fn take(&mut self, value: usize, fits: impl Fn(&Step) -> bool) -> Option<Step> {
        if self.uses.get(value) != Some(&1) {
            return None;
        }
        let slot = self.steps.get_mut(value.checked_sub(self.start)?)?;
        slot.take_if(|step| step.clamp == Clamp::NONE && fits(step))
    }

    /// `input` is the shape of the first input.
    fn step(&mut self, op: &Op, inputs: &[usize], output: usize, input: [usize; 3]) -> Step {
        let [channels, height, width] = input;
        let first = inputs.first().copied().unwrap_or_default();
        let plain = |kind| Step {
            kind,
            inputs: inputs.to_vec(),
            residual: None,
            output,
            clamp: Clamp::NONE,
        };
        match op {
            Op::Conv2d(conv) => plain(convolution(conv)),
            Op::Linear(linear) => plain(Kind::Dense(matrix(linear, [height, width]))),
            Op::BatchNorm(norm) => {
                let taken = self.take(first, |s| has_weights(s) && s.residual.is_none());
                let mut step = taken.unwrap_or_else(|| plain(identity(channels)));
                step.output = output;
                fold(&mut step.kind, norm);
                step
            }
            Op::Relu => self.clamped(
                plain(identity(channels)),
                Clamp {
                    low: 0.0,
                    high: f32::INFINITY,
                },
            ),
            Op::Relu6 => self.clamped(plain(identity(channels)), Clamp { low: 0.0, high: 6.0 }),
            Op::Add => {
                let second = inputs.get(1).copied().unwrap_or(first);
                for (value, other) in [
                    (first.max(second), first.min(second)),
                    (first.min(second), first.max(second)),
                ] {
                    if let Some(step) = self.take(value, |s| has_weights(s) && s.residual.is_none()) {
                        return Step {
                            residual: Some(other),
                            output,
                            ..step
                        };
                    }
                }
                Step {
                    inputs: vec![first],
                    residual: Some(second),
                    ..plain(identity(channels))
                }
            }
            Op::GlobalAvgPool => plain(Kind::GlobalAvgPool),
            Op::AvgPool { kernel, stride } => plain(Kind::Pool(Pool {
                fold: Fold::Mean,
                kernel: [*kernel; 2],
                stride: *stride,
                padding: 0,
            })),
            Op::MaxPool {
                kernel,
                stride,
                padding,
            } => plain(Kind::Pool(Pool {
                fold: Fold::Max,
                kernel: [*kernel; 2],
                stride: *stride,
                padding: *padding,
            })),
            Op::Swish => plain(Kind::Curve(Curve::Swish)),
            Op::Sigmoid => plain(Kind::Curve(Curve::Sigmoid)),
            Op::Scale => plain(Kind::Scale),
            Op::Concat => plain(Kind::Concat),
            Op::Shortcut(shortcut) => plain(Kind::Shortcut(*shortcut)),
        }
    }

    /// The step before with `clamp`, or `alone` with it.
    fn clamped(&mut self, alone: Step, clamp: Clamp) -> Step {
        let output = alone.output;
        let taken = self.take(alone.inputs.first().copied().unwrap_or_default(), has_weights);
        Step {
            output,
            clamp,
            ..taken.unwrap_or(alone)
        }
    }
}

fn has_weights(step: &Step) -> bool {
    matches!(step.kind, Kind::Dense(_) | Kind::Depthwise(_))
}

fn convolution(conv: &Conv2d) -> Kind {
    let mut weights = conv.clone();
    if weights.bias.is_empty() {
        weights.bias = vec![0.0; weights.out];
    }
    if conv.groups == 1 {
        Kind::Dense(weights)
    } else {
        Kind::Depthwise(weights)
    }
}

/// A matrix over a map is a convolution whose kernel covers it.
fn matrix(linear: &Linear, kernel: [usize; 2]) -> Weights {
    let bias = if linear.bias.is_empty() {
        vec![0.0; linear.out]
    } else {
        linear.bias.clone()
    };
    Weights {
        out: linear.out,
        kernel,
        weight: linear.weight.clone(),
        bias,
        ..Weights::default()
    }
}

/// Copies its input; what is fused into it does the work.
fn identity(channels: usize) -> Kind {
    Kind::Depthwise(Weights {
        out: channels,
        groups: channels,
        weight: vec![1.0; channels],
        bias: vec![0.0; channels],
        ..Weights::default()
    })
}

fn fold(kind: &mut Kind, norm: &BatchNorm) {
    let (Kind::Dense(weights) | Kind::Depthwise(weights)) = kind else {
        return;
    };
    let fan_in = weights.weight.len() / weights.out;
    for (channel, filter) in weights.weight.chunks_exact_mut(fan_in).enumerate() {
        let scale = f64::from(norm.gamma[channel]) / f64::from(norm.variance[channel] + norm.epsilon).sqrt();
        for weight in filter {
            *weight = (f64::from(*weight) * scale) as f32;
        }
        let centred = f64::from(weights.bias[channel]) - f64::from(norm.mean[channel]);
        weights.bias[channel] = (centred * scale + f64::from(norm.beta[channel])) as f32;
    }
}
