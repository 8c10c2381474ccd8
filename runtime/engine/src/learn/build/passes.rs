//! The operations of each layer, there and back.

use crate::graph::Op;
use crate::kernel::learn::{Dense, DepthwiseGradient, Finish, Norm, Window, Work};
use crate::kernel::{Fold, Home, Normalise, Pool};
use crate::learn::layers::{Layer, Value};
use crate::learn::parameters::Parameter;

use super::{Builder, Form};

impl Builder<'_> {
    pub(super) fn forward(&mut self, layer: &Layer) {
        let to = self.place(layer.makes());
        match layer {
            Layer::Image { .. } => {
                let input = &self.plan.graph.input;
                let normalise = Normalise {
                    scale: input.scale.clone(),
                    shift: input.shift.clone(),
                };
                self.add(false, Work::Normalise(normalise), Vec::new(), Some(to), false);
            }
            Layer::Given { to: value } => {
                let all = self.plan.layers.iter();
                let before = all
                    .filter(|l| matches!(l, Layer::Given { to } if to < value))
                    .count();
                self.add(false, Work::Give(before), Vec::new(), Some(to), false);
            }
            Layer::Conv {
                node,
                from,
                to: value,
            } => {
                let from = self.place(*from);
                let conv = self.conv(*node);
                let work = self.layer(*node, conv, [from, to]);
                self.add(false, work, vec![from], Some(to), false);
                if let Some(norm) = self.norm_behind(*value) {
                    self.add(false, Work::Moments(norm), vec![to], None, false);
                    self.phase(false).finish.push(Finish::Moments(norm));
                }
            }
            Layer::Norm { from, residual, .. } => {
                let norm = self.norm_of[*from].unwrap_or(0);
                self.wait(false, Finish::Moments(norm));
                let inputs = [*from]
                    .into_iter()
                    .chain(*residual)
                    .map(|v| self.place(v))
                    .collect();
                self.add(false, Work::Apply(norm), inputs, Some(to), false);
            }
            Layer::Join { from, .. } => {
                let inputs = from.iter().map(|v| self.place(*v)).collect();
                self.add(false, Work::Concat, inputs, Some(to), false);
            }
            Layer::Sum { from, .. } => {
                let inputs = from.iter().map(|v| self.place(*v)).collect();
                self.add(false, Work::Sum, inputs, Some(to), false);
            }
            Layer::Pool { from, .. } => {
                let [_, height, width] = self.shape(*from);
                let pool = Pool {
                    fold: Fold::Mean,
                    kernel: [height, width],
                    stride: 1,
                    padding: 0,
                };
                let from = self.place(*from);
                self.add(false, Work::Pool(pool), vec![from], Some(to), false);
            }
        }
    }

    /// The norm that reads `value`, made when the value is.
    fn norm_behind(&mut self, value: Value) -> Option<usize> {
        let (node, clamp, to) = self.readers(value).find_map(|layer| match layer {
            Layer::Norm {
                node,
                from,
                clamp,
                to,
                ..
            } if *from == value => Some((*node, *clamp, *to)),
            _ => None,
        })?;
        let clears = !self.plan.learns || self.places[self.place(to)].home == Home::Scratch;
        let Op::BatchNorm(norm) = &self.plan.graph.nodes[node].op else {
            return None;
        };
        let [channels, height, width] = self.shape(value);
        let floats = channels.next_multiple_of(self.lanes());
        let [gamma, beta, mean, variance] = self.parameters.norm(node)?;
        let derived = self.room(Norm::derived_floats(floats));
        self.norms.push(Norm {
            floats,
            gamma,
            beta,
            mean,
            variance,
            derived,
            counts: self.layout.counts,
            positions: self.plan.batch * height * width,
            epsilon: norm.epsilon,
            momentum: 0.1,
            clamp,
            clears,
        });
        self.layout.counts += 2 * floats;
        self.norm_of[value] = Some(self.norms.len() - 1);
        self.norm_of[value]
    }

    pub(super) fn backward(&mut self, layer: &Layer) {
        let Some(gradient) = self.gradients[layer.makes()] else {
            return;
        };
        match layer {
            Layer::Image { .. } | Layer::Given { .. } => {}
            Layer::Norm {
                from, residual, to, ..
            } => {
                let norm = self.norm_of[*from].unwrap_or(0);
                let mut inputs = vec![gradient, self.place(*from)];
                inputs.extend(residual.map(|_| self.place(*to)));
                self.add(true, Work::Slopes(norm), inputs.clone(), None, false);
                self.phase(true).finish.push(Finish::Slopes(norm));
                self.wait(true, Finish::Slopes(norm));
                let other = residual.and_then(|value| self.gradient_to(value));
                let (other, add) = other.map_or((None, false), |(place, add)| (Some(place), add));
                self.add(true, Work::Through(norm), inputs, other, add);
                // The gradient of what the norm read lies where that of its result did.
                self.gradients[*from] = Some(gradient);
            }
            Layer::Conv { node, from, .. } => self.conv_back(*node, *from, gradient),
            Layer::Join { from, .. } => {
                let mut first = 0;
                for value in from {
                    let [channels, ..] = self.shape(*value);
                    if let Some((place, add)) = self.gradient_to(*value) {
                        let window = Window { first, add };
                        self.add(true, Work::Split(window), vec![gradient], Some(place), add);
                    }
                    first += channels;
                }
            }
            Layer::Sum { from, .. } => {
                for value in from {
                    if let Some((place, add)) = self.gradient_to(*value) {
                        let window = Window { first: 0, add };
                        self.add(true, Work::Split(window), vec![gradient], Some(place), add);
                    }
                }
            }
            Layer::Pool { from, .. } => {
                if let Some((place, add)) = self.gradient_to(*from) {
                    self.add(true, Work::Unpool, vec![gradient], Some(place), add);
                }
            }
        }
    }

    /// Makes a value again that was not kept.
    fn again(&mut self, value: Value, to: usize) {
        if let Some(Layer::Norm { from, .. }) = self.maker(value) {
            let (norm, z) = (self.norm_of[*from].unwrap_or(0), self.place(*from));
            self.add(true, Work::Apply(norm), vec![z], Some(to), false);
        }
    }

    fn conv_back(&mut self, node: usize, from: Value, gradient: usize) {
        let conv = self.conv(node);
        let input = self.place(from);
        if self.places[input].home == Home::Scratch {
            self.again(from, input);
        }
        let work = match self.parameters.of(node) {
            Some(Parameter::Depthwise { weights, .. }) => Work::DepthwiseGradient(DepthwiseGradient {
                stride: conv.stride,
                padding: conv.padding,
                weights: *weights,
            }),
            _ => Work::Dense(Dense {
                kernel: conv.kernel,
                stride: conv.stride,
                padding: conv.padding,
                groups: self.parameters.groups(node),
            }),
        };
        self.add(true, work, vec![input], Some(gradient), false);
        if let (true, Some(bias)) = (conv.biased, self.parameters.bias(node)) {
            self.add(true, Work::Bias(bias), vec![gradient], None, false);
        }
        let Some((to, add)) = self.gradient_to(from) else {
            return;
        };
        let back = Form {
            stride: 1,
            padding: conv.kernel[0] - 1 - conv.padding,
            biased: false,
            ..conv
        };
        let mut gradient = gradient;
        if conv.stride > 1 {
            let wide = self.spread_place(gradient, to, conv, back.padding);
            self.add(true, Work::Spread(conv.stride), vec![gradient], Some(wide), false);
            gradient = wide;
        }
        let (source, target) = (self.places[gradient].clone(), self.places[to].clone());
        let work = self.back(node, back, [&source, &target]);
        self.add(true, work, vec![gradient], Some(to), add);
    }
}
