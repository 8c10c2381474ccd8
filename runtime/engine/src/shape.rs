//! Checks a graph and finds the shapes of all values. What has passed here is not checked again.

use crate::error::{EngineError, GraphSnafu, NodeSnafu};
use crate::graph::{BatchNorm, Conv2d, Graph, Linear, Op, Source};

/// Most channels, rows or columns of a value, and the widest kernel, stride or padding.
const MAX_SIDE: usize = 1 << 14;
/// Most numbers of a value.
const MAX_VALUES: usize = 1 << 26;

/// Shape of a value of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Channels, height, width.
    Map([usize; 3]),
    /// Length.
    Vector(usize),
}

impl Shape {
    /// Channels, height, width; a vector is a map of 1×1.
    #[must_use]
    pub fn as_map(self) -> [usize; 3] {
        match self {
            Self::Map(shape) => shape,
            Self::Vector(length) => [length, 1, 1],
        }
    }

    /// Numbers of a value.
    #[must_use]
    pub fn values(self) -> usize {
        self.as_map().iter().product()
    }

    pub(crate) fn is_vector(self) -> bool {
        matches!(self, Self::Vector(_))
    }
}

/// The shape of every node's value.
pub(crate) fn infer(graph: &Graph) -> Result<Vec<Shape>, EngineError> {
    let input = &graph.input;
    let [channels, ..] = input.shape;
    if !bounded(&input.shape) || input.scale.len() != channels || input.shift.len() != channels {
        return GraphSnafu {
            reason: format!(
                "the input is {:?} with {} scales and {} shifts; give sides of 1 to {MAX_SIDE}, and one scale and shift a channel",
                input.shape,
                input.scale.len(),
                input.shift.len()
            ),
        }
        .fail();
    }
    if !input.scale.iter().chain(&input.shift).all(|v| v.is_finite()) {
        return GraphSnafu {
            reason: "a scale or shift of the input is not finite; a standard deviation must not be 0"
                .to_owned(),
        }
        .fail();
    }
    let owners = owners(graph)?;
    let mut shapes = Vec::with_capacity(graph.nodes.len());
    for (index, node) in graph.nodes.iter().enumerate() {
        let fail = |reason: String| {
            NodeSnafu {
                node: index,
                op: name(&node.op),
                reason,
            }
            .fail()
        };
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for source in &node.inputs {
            inputs.push(match *source {
                Source::Image => Shape::Map(input.shape),
                Source::Node(from) if from >= index => {
                    return fail(format!("it reads node {from}, which does not come before it"));
                }
                Source::Node(from)
                    if owners[from] != owners[index]
                        && !graph.segments[owners[from]].outputs.contains(&from) =>
                {
                    return fail(format!(
                        "it reads node {from} of segment {}; make that an output there",
                        graph.segments[owners[from]].name
                    ));
                }
                Source::Node(from) => shapes[from],
            });
        }
        match shape(&node.op, &inputs) {
            Ok(shape) if bounded(&shape.as_map()) => shapes.push(shape),
            Ok(shape) => {
                return fail(format!(
                    "its value is {shape:?}; sides go to {MAX_SIDE}, values to {MAX_VALUES} numbers"
                ));
            }
            Err(reason) => return fail(reason),
        }
    }
    Ok(shapes)
}

/// The segment of each node.
fn owners(graph: &Graph) -> Result<Vec<usize>, EngineError> {
    let mut owners = Vec::with_capacity(graph.nodes.len());
    for (index, segment) in graph.segments.iter().enumerate() {
        let start = owners.len();
        if segment.end < start || segment.end > graph.nodes.len() {
            return GraphSnafu {
                reason: format!(
                    "segment {} ends at {}; give an end of {start} to {}",
                    segment.name,
                    segment.end,
                    graph.nodes.len()
                ),
            }
            .fail();
        }
        owners.resize(segment.end, index);
        if let Some(output) = segment
            .outputs
            .iter()
            .find(|o| !(start..segment.end).contains(*o))
        {
            return GraphSnafu {
                reason: format!(
                    "segment {} has output {output}; its nodes are {start}..{}",
                    segment.name, segment.end
                ),
            }
            .fail();
        }
    }
    if owners.len() != graph.nodes.len() || graph.segments.is_empty() {
        return GraphSnafu {
            reason: "it has nodes behind its last segment, or no segment; end each segment".to_owned(),
        }
        .fail();
    }
    Ok(owners)
}

fn bounded(shape: &[usize; 3]) -> bool {
    shape.iter().all(|side| (1..=MAX_SIDE).contains(side)) && shape.iter().product::<usize>() <= MAX_VALUES
}

/// Name of an operation in messages.
pub(crate) fn name(op: &Op) -> &'static str {
    match op {
        Op::Conv2d(_) => "conv2d",
        Op::BatchNorm(_) => "batch norm",
        Op::Relu => "relu",
        Op::Relu6 => "relu6",
        Op::Swish => "swish",
        Op::Sigmoid => "sigmoid",
        Op::Scale => "scale",
        Op::Add => "add",
        Op::GlobalAvgPool => "global average pool",
        Op::AvgPool { .. } => "average pool",
        Op::MaxPool { .. } => "max pool",
        Op::Linear(_) => "linear",
        Op::Concat => "concat",
        Op::Shortcut(_) => "shortcut",
    }
}

fn shape(op: &Op, inputs: &[Shape]) -> Result<Shape, String> {
    let arity = match op {
        Op::Add | Op::Scale => 2,
        Op::Concat => inputs.len().max(1),
        _ => 1,
    };
    if inputs.len() != arity {
        return Err(format!("it has {} inputs; give {arity}", inputs.len()));
    }
    let first = inputs[0];
    let map = || match first {
        Shape::Map(shape) => Ok(shape),
        Shape::Vector(length) => Err(format!("its input is a vector of {length}; give a map")),
    };
    match op {
        Op::Conv2d(conv) => conv_shape(conv, map()?),
        Op::BatchNorm(norm) => norm_shape(norm, first),
        Op::Relu | Op::Relu6 | Op::Swish | Op::Sigmoid => Ok(first),
        Op::Scale => match (map()?, inputs[1]) {
            ([channels, ..], Shape::Vector(length)) if length == channels => Ok(first),
            (_, other) => Err(format!(
                "it scales {first:?} by {other:?}; give a vector with a number a channel"
            )),
        },
        Op::Add if inputs[1] == first => Ok(first),
        Op::Add => Err(format!(
            "its inputs are {first:?} and {:?}; give equal shapes",
            inputs[1]
        )),
        Op::GlobalAvgPool => Ok(Shape::Vector(map()?[0])),
        Op::AvgPool { kernel, stride } => {
            let [channels, height, width] = map()?;
            let side = |length| window(length, *kernel, *stride, 0);
            Ok(Shape::Map([channels, side(height)?, side(width)?]))
        }
        Op::MaxPool {
            kernel,
            stride,
            padding,
        } => {
            let [channels, height, width] = map()?;
            let side = |length| window(length, *kernel, *stride, *padding);
            Ok(Shape::Map([channels, side(height)?, side(width)?]))
        }
        Op::Linear(linear) => linear_shape(linear, first),
        Op::Concat => {
            let [_, height, width] = map()?;
            let mut channels = 0;
            for input in inputs {
                match input {
                    Shape::Map([c, h, w]) if (*h, *w) == (height, width) => channels += c,
                    other => return Err(format!("it joins {other:?} to a map of {height}×{width}")),
                }
            }
            Ok(Shape::Map([channels, height, width]))
        }
        Op::Shortcut(shortcut) => {
            let [channels, height, width] = map()?;
            let side = |length| window(length, 1, shortcut.stride, 0);
            let added = shortcut.before.saturating_add(shortcut.after);
            Ok(Shape::Map([
                channels.saturating_add(added),
                side(height)?,
                side(width)?,
            ]))
        }
    }
}

/// Positions of a window of `kernel` over `length` values with `padding` zeros on both sides.
fn window(length: usize, kernel: usize, stride: usize, padding: usize) -> Result<usize, String> {
    let sides = 1..=MAX_SIDE;
    if !sides.contains(&kernel) || !sides.contains(&stride) || padding >= kernel {
        return Err(format!(
            "kernel {kernel}, stride {stride}, padding {padding}: give 1 to {MAX_SIDE}, and less padding than kernel"
        ));
    }
    match (length + 2 * padding).checked_sub(kernel) {
        Some(rest) => Ok(rest / stride + 1),
        None => Err(format!(
            "a kernel of {kernel} does not fit into {length} with padding {padding}"
        )),
    }
}

fn conv_shape(conv: &Conv2d, [channels, height, width]: [usize; 3]) -> Result<Shape, String> {
    let dense = conv.groups == 1;
    if !dense && (conv.groups != channels || conv.out != channels) {
        return Err(format!(
            "{} groups from {channels} to {} channels; give 1 group, or as many as channels in and out",
            conv.groups, conv.out
        ));
    }
    if conv.padding > 16 || !(1..=2).contains(&conv.stride) {
        let Conv2d { padding, stride, .. } = conv;
        return Err(format!(
            "padding {padding}, stride {stride}; give at most 16, and 1 or 2"
        ));
    }
    let [rows, columns] = conv.kernel;
    let height = window(height, rows, conv.stride, conv.padding)?;
    let width = window(width, columns, conv.stride, conv.padding)?;
    let fan_in = if dense { channels } else { 1 } * rows * columns;
    weights(&conv.weight, &conv.bias, conv.out, fan_in)?;
    Ok(Shape::Map([conv.out, height, width]))
}

fn linear_shape(linear: &Linear, input: Shape) -> Result<Shape, String> {
    weights(
        &linear.weight,
        &linear.bias,
        linear.out,
        input.as_map().iter().product(),
    )?;
    Ok(Shape::Vector(linear.out))
}

fn weights(weight: &[f32], bias: &[f32], out: usize, fan_in: usize) -> Result<(), String> {
    let expected = out.checked_mul(fan_in);
    if expected != Some(weight.len()) || !(bias.is_empty() || bias.len() == out) || out == 0 {
        return Err(format!(
            "{} weights and {} biases; give {out}×{fan_in} weights and {out} biases or none",
            weight.len(),
            bias.len()
        ));
    }
    finite(weight)?;
    finite(bias)
}

fn norm_shape(norm: &BatchNorm, input: Shape) -> Result<Shape, String> {
    let [channels, ..] = input.as_map();
    let lists = [&norm.gamma, &norm.beta, &norm.mean, &norm.variance];
    for list in lists {
        if list.len() != channels {
            return Err(format!("a list of {} values for {channels} channels", list.len()));
        }
        finite(list)?;
    }
    if norm.variance.iter().any(|v| *v + norm.epsilon <= 0.0) || !norm.epsilon.is_finite() {
        return Err("a variance plus epsilon is not positive".to_owned());
    }
    Ok(input)
}

fn finite(values: &[f32]) -> Result<(), String> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(format!("weight {index} is {}; give finite ones", values[index])),
        None => Ok(()),
    }
}
