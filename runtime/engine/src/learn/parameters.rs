//! Where the weights of each node lie among all that are trained, and how they get there and back.

use std::collections::BTreeMap;

use crate::graph::{BatchNorm, Conv2d, Graph, Linear, Op};
use crate::kernel::Group;
use crate::kernel::learn::Packed;
use crate::pack::groups;
use crate::shape::Shape;

use super::layers::Layer;

/// The weights of a node. Numbers are offsets.
#[derive(Clone, Debug)]
pub(super) enum Parameter {
    Dense {
        weights: usize,
        bias: Option<usize>,
        out: usize,
        channels: usize,
        area: usize,
        /// Blocks out of a group at most; known once the layer's kernels are.
        most: usize,
    },
    Depthwise {
        weights: usize,
    },
    Norm {
        /// Factors, summands, running means and variances.
        lists: [usize; 4],
    },
}

/// The weights of all nodes. Lists are whole vectors, with zeros behind the last channel.
pub(super) struct Parameters {
    of: BTreeMap<usize, Parameter>,
    lanes: usize,
    /// Floats that are trained, and behind them, running statistics.
    pub(super) trained: usize,
    pub(super) running: usize,
}

impl Parameters {
    pub(super) fn new(graph: &Graph, shapes: &[Shape], layers: &[Layer], lanes: usize) -> Self {
        let mut all = Self {
            of: BTreeMap::new(),
            lanes,
            trained: 0,
            running: 0,
        };
        let channels_of = |value: usize| match shapes.get(value) {
            Some(shape) => shape.as_map()[0],
            None => graph.input.shape[0],
        };
        for layer in layers {
            let (Layer::Conv { node, from, .. } | Layer::Norm { node, from, .. }) = layer else {
                continue;
            };
            let parameter = match &graph.nodes[*node].op {
                Op::Conv2d(conv) if conv.groups > 1 => Parameter::Depthwise {
                    weights: all.room(conv.out.next_multiple_of(lanes) * 9),
                },
                Op::Conv2d(Conv2d {
                    out, kernel, bias, ..
                }) => all.matrix(*out, channels_of(*from), kernel[0] * kernel[1], !bias.is_empty()),
                Op::Linear(Linear { out, bias, .. }) => {
                    all.matrix(*out, channels_of(*from), 1, !bias.is_empty())
                }
                Op::BatchNorm(norm) => {
                    let floats = norm.gamma.len().next_multiple_of(lanes);
                    let mut lists = [0; 4];
                    for (index, list) in lists.iter_mut().enumerate() {
                        *list = if index < 2 {
                            all.room(floats)
                        } else {
                            all.running += floats;
                            all.running - floats
                        };
                    }
                    Parameter::Norm { lists }
                }
                _ => continue,
            };
            all.of.insert(*node, parameter);
        }
        let trained = all.trained;
        for parameter in all.of.values_mut() {
            if let Parameter::Norm { lists, .. } = parameter {
                lists[2] += trained;
                lists[3] += trained;
            }
        }
        all
    }

    fn room(&mut self, floats: usize) -> usize {
        let start = self.trained;
        self.trained += floats.next_multiple_of(16);
        start
    }

    fn matrix(&mut self, out: usize, channels: usize, area: usize, biased: bool) -> Parameter {
        let floats = out.next_multiple_of(self.lanes);
        Parameter::Dense {
            weights: self.room(floats * channels * area),
            bias: biased.then(|| self.room(floats)),
            out,
            channels,
            area,
            most: 1,
        }
    }

    pub(super) fn of(&self, node: usize) -> Option<&Parameter> {
        self.of.get(&node)
    }

    pub(super) fn norm(&self, node: usize) -> Option<[usize; 4]> {
        match self.of.get(&node)? {
            Parameter::Norm { lists, .. } => Some(*lists),
            _ => None,
        }
    }

    pub(super) fn weights(&self, node: usize) -> Option<usize> {
        match self.of.get(&node)? {
            Parameter::Dense { weights, .. } | Parameter::Depthwise { weights, .. } => Some(*weights),
            Parameter::Norm { .. } => None,
        }
    }

    pub(super) fn bias(&self, node: usize) -> Option<usize> {
        match self.of.get(&node)? {
            Parameter::Dense { bias, .. } => *bias,
            _ => None,
        }
    }

    /// The weights of a dense node, in groups of `most` blocks from now on.
    pub(super) fn dense(&mut self, node: usize, most: usize, lanes: usize) -> Packed {
        if let Some(Parameter::Dense { most: kept, .. }) = self.of.get_mut(&node) {
            *kept = most;
        }
        self.packed(node, lanes)
    }

    pub(super) fn groups(&self, node: usize) -> Vec<Group> {
        self.packed(node, self.lanes).groups
    }

    fn packed(&self, node: usize, lanes: usize) -> Packed {
        match self.of.get(&node) {
            Some(Parameter::Dense {
                weights,
                out,
                channels,
                area,
                most,
                ..
            }) => Packed {
                groups: groups(out.div_ceil(lanes), *most, *weights, channels * area * lanes),
                channels: *channels,
                area: *area,
            },
            _ => Packed {
                groups: Vec::new(),
                channels: 0,
                area: 0,
            },
        }
    }

    /// Nodes that have weights.
    pub(super) fn nodes(&self) -> impl Iterator<Item = usize> {
        self.of.keys().copied()
    }

    /// Calls `each` with every list of numbers of `op`, the node's own, and where its numbers lie.
    fn visit(&self, node: usize, op: &mut Op, mut each: impl FnMut(&mut f32, usize)) {
        let lanes = self.lanes;
        match (self.of.get(&node), op) {
            (
                Some(Parameter::Dense {
                    bias, channels, area, ..
                }),
                Op::Conv2d(Conv2d {
                    weight, bias: biases, ..
                })
                | Op::Linear(Linear {
                    weight, bias: biases, ..
                }),
            ) => {
                let packed = self.packed(node, lanes);
                for (index, value) in weight.iter_mut().enumerate() {
                    let at = [index / area / channels, index / area % channels, index % area];
                    each(value, packed.at(at, lanes));
                }
                if let Some(bias) = bias {
                    let numbered = biases.iter_mut().enumerate();
                    numbered.for_each(|(index, value)| each(value, bias + index));
                }
            }
            (Some(Parameter::Depthwise { weights, .. }), Op::Conv2d(Conv2d { weight, .. })) => {
                for (index, value) in weight.iter_mut().enumerate() {
                    let (channel, tap) = (index / 9, index % 9);
                    each(
                        value,
                        weights + (channel / lanes * 9 + tap) * lanes + channel % lanes,
                    );
                }
            }
            (
                Some(Parameter::Norm { lists, .. }),
                Op::BatchNorm(BatchNorm {
                    gamma,
                    beta,
                    mean,
                    variance,
                    ..
                }),
            ) => {
                for (list, start) in [gamma, beta, mean, variance].into_iter().zip(lists) {
                    let numbered = list.iter_mut().enumerate();
                    numbered.for_each(|(index, value)| each(value, start + index));
                }
            }
            _ => {}
        }
    }

    /// Writes the numbers of `op` to `to`. Lists that are shorter have none of them.
    pub(super) fn pack(&self, node: usize, op: &Op, to: &mut [f32]) {
        self.visit(node, &mut op.clone(), |value, at| {
            if let Some(to) = to.get_mut(at) {
                *to = *value;
            }
        });
    }

    /// Writes what is in `from` to `op`; where it has nothing, zero.
    pub(super) fn unpack(&self, node: usize, from: &[f32], op: &mut Op) {
        self.visit(node, op, |value, at| {
            *value = from.get(at).copied().unwrap_or(0.0);
        });
    }
}
