//! From a graph to layers that can be gone back through: a norm takes what is added behind it and the activation with it.

use crate::error::{EngineError, NodeSnafu};
use crate::graph::{Conv2d, Graph, Op, Source};
use crate::lower::Clamp;
use crate::shape::{Shape, name};

/// Number of a value: the node that makes it, or behind all nodes, the image.
pub(super) type Value = usize;

/// One layer, with the node that has its weights.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Layer {
    Image {
        to: Value,
    },
    /// A value that is given with each batch.
    Given {
        to: Value,
    },
    /// A convolution, or a matrix times a vector.
    Conv {
        node: usize,
        from: Value,
        to: Value,
    },
    /// `clamp(norm(from) + residual)`
    Norm {
        node: usize,
        from: Value,
        residual: Option<Value>,
        clamp: Clamp,
        to: Value,
    },
    /// Channels one behind the other.
    Join {
        from: Vec<Value>,
        to: Value,
    },
    /// Two values added where no norm does it.
    Sum {
        from: Vec<Value>,
        to: Value,
    },
    /// The mean over all positions.
    Pool {
        from: Value,
        to: Value,
    },
}

impl Layer {
    pub(super) fn reads(&self) -> Vec<Value> {
        match self {
            Self::Image { .. } | Self::Given { .. } => Vec::new(),
            Self::Conv { from, .. } | Self::Pool { from, .. } => vec![*from],
            Self::Norm { from, residual, .. } => [*from].into_iter().chain(*residual).collect(),
            Self::Join { from, .. } | Self::Sum { from, .. } => from.clone(),
        }
    }

    pub(super) fn makes(&self) -> Value {
        match self {
            Self::Image { to }
            | Self::Given { to }
            | Self::Conv { to, .. }
            | Self::Norm { to, .. }
            | Self::Join { to, .. }
            | Self::Sum { to, .. }
            | Self::Pool { to, .. } => *to,
        }
    }
}

/// The layers of the nodes from `first` on that `output` needs; earlier nodes are given.
pub(super) fn layers(
    graph: &Graph,
    shapes: &[Shape],
    first: usize,
    output: usize,
) -> Result<Vec<Layer>, EngineError> {
    let finder = Finder::new(graph, first, output);
    let mut layers = Vec::new();
    let mut given = Vec::new();
    let mut pending = Vec::new();
    for node in (first..=output).filter(|node| finder.needed[*node]) {
        let Some(layer) = finder.layer(node, shapes, &mut pending)? else {
            continue;
        };
        for value in layer.reads() {
            if (value < first || value == graph.nodes.len()) && !given.contains(&value) {
                given.push(value);
            }
        }
        layers.push(layer);
    }
    given.sort_unstable();
    let given = given.into_iter().map(|to| {
        if to == graph.nodes.len() {
            Layer::Image { to }
        } else {
            Layer::Given { to }
        }
    });
    Ok(given.chain(layers).collect())
}

/// A norm whose activation, and what is added before it, come later.
struct Pending {
    node: usize,
    from: Value,
    residual: Option<Value>,
    to: Value,
}

impl Pending {
    fn layer(self, clamp: Clamp) -> Layer {
        Layer::Norm {
            node: self.node,
            from: self.from,
            residual: self.residual,
            clamp,
            to: self.to,
        }
    }
}

/// The norm that makes `value`, if one is pending.
fn take(pending: &mut Vec<Pending>, value: Value) -> Option<Pending> {
    let found = pending.iter().position(|norm| norm.to == value)?;
    Some(pending.swap_remove(found))
}

struct Finder<'a> {
    graph: &'a Graph,
    first: usize,
    output: usize,
    /// By value: the nodes that read it and that the output follows from.
    readers: Vec<Vec<usize>>,
    /// By node: whether the output follows from it.
    needed: Vec<bool>,
}

impl<'a> Finder<'a> {
    fn new(graph: &'a Graph, first: usize, output: usize) -> Self {
        let count = graph.nodes.len();
        let mut finder = Self {
            graph,
            first,
            output,
            readers: vec![Vec::new(); count + 1],
            needed: vec![false; count],
        };
        finder.needed[output] = true;
        // Nodes only read nodes before them.
        for node in (first..=output).rev() {
            if !finder.needed[node] {
                continue;
            }
            for source in &graph.nodes[node].inputs {
                let value = finder.value(*source);
                finder.readers[value].push(node);
                if let Some(needed) = finder.needed.get_mut(value) {
                    *needed = true;
                }
            }
        }
        finder
    }

    fn value(&self, source: Source) -> Value {
        match source {
            Source::Image => self.graph.nodes.len(),
            Source::Node(node) => node,
        }
    }

    /// The only reader of a value that is no output.
    fn only_reader(&self, value: Value) -> Option<usize> {
        match self.readers[value][..] {
            [reader] if value != self.output => Some(reader),
            _ => None,
        }
    }

    fn op(&self, node: usize) -> &Op {
        &self.graph.nodes[node].op
    }

    fn inputs(&self, node: usize) -> Vec<Value> {
        let inputs = self.graph.nodes[node].inputs.iter();
        inputs.map(|source| self.value(*source)).collect()
    }

    fn refuse<T>(&self, node: usize, known: &str) -> Result<T, EngineError> {
        NodeSnafu {
            node,
            op: name(self.op(node)),
            reason: format!("training by the engine knows {known}; train with another backend"),
        }
        .fail()
    }

    /// The layer that ends with this node; none where a later node takes it in.
    fn layer(
        &self,
        node: usize,
        shapes: &[Shape],
        pending: &mut Vec<Pending>,
    ) -> Result<Option<Layer>, EngineError> {
        let inputs = self.inputs(node);
        let (from, to) = (inputs[0], node);
        Ok(Some(match self.op(node) {
            Op::Conv2d(conv) => {
                self.check(node, conv)?;
                Layer::Conv { node, from, to }
            }
            Op::Linear(_) if matches!(shapes.get(from), Some(Shape::Vector(_))) => {
                Layer::Conv { node, from, to }
            }
            Op::GlobalAvgPool => Layer::Pool { from, to },
            Op::Concat => Layer::Join { from: inputs, to },
            Op::BatchNorm(_) => {
                let conv = from >= self.first
                    && matches!(self.graph.nodes.get(from), Some(n) if matches!(n.op, Op::Conv2d(_)));
                if !conv || self.only_reader(from) != Some(node) {
                    return self.refuse(node, "norms of convolutions that nothing else reads");
                }
                let norm = Pending {
                    node,
                    from,
                    residual: None,
                    to,
                };
                return Ok(self.ended(norm, pending));
            }
            Op::Add => {
                let norm = take(pending, inputs[0]).map(|norm| (norm, inputs[1]));
                let norm = norm.or_else(|| Some((take(pending, inputs[1])?, inputs[0])));
                match norm {
                    Some((norm, residual)) => {
                        let norm = Pending {
                            residual: Some(residual),
                            to,
                            ..norm
                        };
                        return Ok(self.ended(norm, pending));
                    }
                    None => Layer::Sum { from: inputs, to },
                }
            }
            Op::Relu | Op::Relu6 => {
                let Some(norm) = take(pending, from) else {
                    return self.refuse(node, "activations behind a batch norm only");
                };
                let high = match self.op(node) {
                    Op::Relu6 => 6.0,
                    _ => f32::INFINITY,
                };
                Pending { to, ..norm }.layer(Clamp { low: 0.0, high })
            }
            _ => {
                return self.refuse(
                    node,
                    "convolutions, batch norms, ReLUs, sums, global means and linear layers",
                );
            }
        }))
    }

    fn check(&self, node: usize, conv: &Conv2d) -> Result<(), EngineError> {
        if conv.groups > 1 && (conv.kernel != [3, 3] || !conv.bias.is_empty()) {
            return self.refuse(node, "depthwise kernels of 3×3 without bias");
        }
        if conv.stride > 2 || conv.padding >= conv.kernel[0].min(conv.kernel[1]) {
            return self.refuse(node, "strides of 1 and 2, and less padding than kernel");
        }
        Ok(())
    }

    /// The layer of a norm, unless what comes behind it becomes part of it.
    fn ended(&self, norm: Pending, pending: &mut Vec<Pending>) -> Option<Layer> {
        let goes_on = match self.only_reader(norm.to).map(|reader| self.op(reader)) {
            Some(Op::Relu | Op::Relu6) => true,
            // Of two norms that are added the first takes the sum; the other is a value of its own.
            Some(Op::Add) => norm.residual.is_none() && self.takes_sum(norm.to),
            _ => false,
        };
        if goes_on {
            pending.push(norm);
            return None;
        }
        Some(norm.layer(Clamp::NONE))
    }

    /// Whether the norm that makes `value` takes the sum that reads it.
    fn takes_sum(&self, value: Value) -> bool {
        let Some(sum) = self.only_reader(value) else {
            return false;
        };
        let inputs = self.inputs(sum);
        let is_norm = |value: Value| {
            value >= self.first
                && self
                    .graph
                    .nodes
                    .get(value)
                    .is_some_and(|n| matches!(n.op, Op::BatchNorm(_)))
                && self.only_reader(value) == Some(sum)
        };
        inputs[0] == value || !is_norm(inputs[0])
    }
}
