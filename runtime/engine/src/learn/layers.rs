//! From a graph to layers that can be gone back through: a norm takes what is added behind it and the activation with it.

use crate::error::{EngineError, NodeSnafu};
use crate::graph::{Graph, Op, Source};
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
    let finder = Finder { graph, first, output };
    let mut layers = Vec::new();
    let mut given = Vec::new();
    let mut pending = Vec::new();
    for node in (first..=output).filter(|node| finder.is_needed(*node)) {
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

struct Finder<'a> {
    graph: &'a Graph,
    first: usize,
    output: usize,
}

impl Finder<'_> {
    fn value(&self, source: Source) -> Value {
        match source {
            Source::Image => self.graph.nodes.len(),
            Source::Node(node) => node,
        }
    }

    fn readers(&self, value: Value) -> Vec<usize> {
        let nodes = self.graph.nodes.iter().enumerate().skip(self.first);
        let reads = nodes.filter(|(_, node)| node.inputs.iter().any(|source| self.value(*source) == value));
        reads
            .map(|(index, _)| index)
            .filter(|index| *index <= self.output)
            .collect()
    }

    /// Whether the output follows from the node.
    fn is_needed(&self, node: usize) -> bool {
        node == self.output
            || self
                .readers(node)
                .into_iter()
                .any(|reader| self.is_needed(reader))
    }

    /// The only reader of a value that is no output.
    fn only_reader(&self, value: Value) -> Option<usize> {
        match self.readers(value)[..] {
            [reader] if value != self.output => Some(reader),
            _ => None,
        }
    }

    /// The layer that ends with this node; none where a later node takes it in.
    fn layer(
        &self,
        node: usize,
        shapes: &[Shape],
        pending: &mut Vec<Pending>,
    ) -> Result<Option<Layer>, EngineError> {
        let inputs: Vec<Value> = self.graph.nodes[node]
            .inputs
            .iter()
            .map(|s| self.value(*s))
            .collect();
        let refuse = |reason: &str| {
            NodeSnafu {
                node,
                op: name(&self.graph.nodes[node].op),
                reason,
            }
            .fail()
        };
        let mut take = |value: Value| {
            let found = pending.iter().position(|norm| norm.to == value);
            found.map(|index| pending.swap_remove(index))
        };
        let norm = match &self.graph.nodes[node].op {
            Op::Conv2d(conv) => {
                if conv.groups > 1 && conv.kernel != [3, 3] {
                    return refuse(
                        "training knows depthwise kernels of 3×3 only; train with another backend",
                    );
                }
                if conv.groups > 1 && !conv.bias.is_empty() {
                    return refuse(
                        "training knows depthwise layers without bias only; train with another backend",
                    );
                }
                if conv.stride > 2 || conv.padding >= conv.kernel[0].min(conv.kernel[1]) {
                    return refuse(
                        "training knows strides of 1 and 2, and padding less than the kernel; train with another backend",
                    );
                }
                return Ok(Some(Layer::Conv {
                    node,
                    from: inputs[0],
                    to: node,
                }));
            }
            Op::Linear(_) if matches!(shapes.get(inputs[0]), Some(Shape::Vector(_))) => {
                return Ok(Some(Layer::Conv {
                    node,
                    from: inputs[0],
                    to: node,
                }));
            }
            Op::GlobalAvgPool => {
                return Ok(Some(Layer::Pool {
                    from: inputs[0],
                    to: node,
                }));
            }
            Op::Concat => {
                return Ok(Some(Layer::Join {
                    from: inputs,
                    to: node,
                }));
            }
            Op::BatchNorm(_) => {
                if self.only_reader(inputs[0]) != Some(node) {
                    return refuse(
                        "training knows norms of values that nothing else reads; train with another backend",
                    );
                }
                Pending {
                    node,
                    from: inputs[0],
                    residual: None,
                    to: node,
                }
            }
            Op::Add => match take(inputs[0]).map(|norm| (norm, inputs[1])) {
                Some((norm, residual)) => Pending {
                    residual: Some(residual),
                    to: node,
                    ..norm
                },
                None => match take(inputs[1]) {
                    Some(norm) => Pending {
                        residual: Some(inputs[0]),
                        to: node,
                        ..norm
                    },
                    None => {
                        return Ok(Some(Layer::Sum {
                            from: inputs,
                            to: node,
                        }));
                    }
                },
            },
            Op::Relu | Op::Relu6 => {
                let Some(norm) = take(inputs[0]) else {
                    return refuse(
                        "training knows activations behind a batch norm only; train with another backend",
                    );
                };
                let high = match &self.graph.nodes[node].op {
                    Op::Relu6 => 6.0,
                    _ => f32::INFINITY,
                };
                return Ok(Some(Layer::Norm {
                    node: norm.node,
                    from: norm.from,
                    residual: norm.residual,
                    clamp: Clamp { low: 0.0, high },
                    to: node,
                }));
            }
            _ => return refuse("training by the engine does not know it; train with another backend"),
        };
        let next = self
            .only_reader(norm.to)
            .map(|reader| &self.graph.nodes[reader].op);
        let goes_on = match next {
            Some(Op::Relu | Op::Relu6) => true,
            // Of two norms that are added the first takes the sum; the other is a value of its own.
            Some(Op::Add) => norm.residual.is_none() && self.takes_sum(norm.to),
            _ => false,
        };
        if goes_on {
            pending.push(norm);
            return Ok(None);
        }
        Ok(Some(Layer::Norm {
            node: norm.node,
            from: norm.from,
            residual: norm.residual,
            clamp: Clamp::NONE,
            to: norm.to,
        }))
    }

    /// Whether the norm that makes `value` takes the sum that reads it.
    fn takes_sum(&self, value: Value) -> bool {
        let Some(sum) = self.only_reader(value) else {
            return false;
        };
        let inputs: Vec<Value> = self.graph.nodes[sum]
            .inputs
            .iter()
            .map(|s| self.value(*s))
            .collect();
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
