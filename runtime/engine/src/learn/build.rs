//! From layers to a program: where values, gradients and weights lie, and which operations make them.

use crate::graph::{Conv2d, Graph, Op};
use crate::kernel::learn::{
    self, Dense, DepthwiseGradient, Derived, Finish, Layout, Lesson, Norm, Operation, Packed, Phase, Window,
    Work,
};
use crate::kernel::{
    Cuts, Depthwise, Direct, Fold, Format, Group, Home, Kernels, Normalise, Place, Pool, Tiling, Walk,
    Winograd, best_group, floats, step,
};
use crate::layout::kept_place;
use crate::pack::groups;
use crate::plan::merged_rows;
use crate::shape::Shape;

use super::layers::{Layer, Value};
use super::parameters::{Parameter, Parameters};

/// What a program is made from.
pub(super) struct Plan<'a> {
    pub(super) graph: &'a Graph,
    pub(super) shapes: &'a [Shape],
    pub(super) kernels: &'static Kernels,
    pub(super) batch: usize,
    pub(super) winograd: bool,
    pub(super) layers: &'a [Layer],
}

/// A program, and where its ends lie.
pub(super) struct Built {
    pub(super) lesson: Lesson,
    pub(super) parameters: Parameters,
    pub(super) output: usize,
    /// Place of the gradient of the output.
    pub(super) gradient: usize,
}

/// A convolution: kernel, stride, padding, and whether channels are by themselves.
#[derive(Clone, Copy)]
struct Shape2 {
    kernel: [usize; 2],
    stride: usize,
    padding: usize,
    depthwise: bool,
    biased: bool,
}

struct Builder<'a> {
    plan: &'a Plan<'a>,
    parameters: Parameters,
    places: Vec<Place>,
    /// Place of each value, and of its gradient once it has one.
    values: Vec<Option<usize>>,
    gradients: Vec<Option<usize>>,
    norms: Vec<Norm>,
    /// Norm of each value that one makes.
    norm_of: Vec<Option<usize>>,
    derived: [Vec<Derived>; 2],
    layout: Layout,
    zeros: usize,
    forward: Vec<Phase>,
    backward: Vec<Phase>,
    /// Gradients that lie in the arena: when they are needed first and last, in phases of the way back.
    lives: Vec<(usize, [usize; 2])>,
}

/// The program of `plan`, whose layers end with the one that makes `output`.
pub(super) fn build(plan: &Plan<'_>, output: Value) -> Built {
    let values = plan.graph.nodes.len() + 1;
    let lanes = plan.kernels.lanes;
    let parameters = Parameters::new(plan.graph, plan.shapes, plan.layers, lanes);
    let mut builder = Builder {
        layout: Layout {
            batch: plan.batch,
            trained: parameters.trained,
            running: parameters.running,
            weights: parameters.trained + parameters.running,
            ..Layout::default()
        },
        plan,
        parameters,
        places: Vec::new(),
        values: vec![None; values],
        gradients: vec![None; values],
        norms: Vec::new(),
        norm_of: vec![None; values],
        derived: [Vec::new(), Vec::new()],
        zeros: 0,
        forward: vec![Phase::default()],
        backward: vec![Phase::default()],
        lives: Vec::new(),
    };
    let widest = plan.layers.iter().map(|layer| builder.shape(layer.makes())[0]);
    let widest = widest.max().unwrap_or(1);
    builder.zeros = builder.room(widest.next_multiple_of(lanes));
    builder.lay_values();
    for layer in plan.layers {
        builder.forward(layer);
    }
    let gradient = builder.gradient_place(output);
    builder.gradients[output] = Some(gradient);
    for layer in plan.layers.iter().rev() {
        builder.backward(layer);
    }
    builder.lay_gradients();
    let output = builder.values[output].unwrap_or(0);
    Built {
        lesson: Lesson {
            places: builder.places,
            forward: builder.forward,
            backward: builder.backward,
            norms: builder.norms,
            derived: builder.derived,
            layout: builder.layout,
        },
        parameters: builder.parameters,
        output,
        gradient,
    }
}

impl Builder<'_> {
    fn lanes(&self) -> usize {
        self.plan.kernels.lanes
    }

    /// Room for `floats` weights that are not trained; their offset.
    fn room(&mut self, floats: usize) -> usize {
        let start = self.layout.weights.next_multiple_of(16);
        self.layout.weights = start + floats;
        start
    }

    fn shape(&self, value: Value) -> [usize; 3] {
        match self.plan.shapes.get(value) {
            Some(shape) => shape.as_map(),
            None => self.plan.graph.input.shape,
        }
    }

    fn readers(&self, value: Value) -> impl Iterator<Item = &Layer> {
        self.plan
            .layers
            .iter()
            .filter(move |layer| layer.reads().contains(&value))
    }

    fn conv(&self, node: usize) -> Shape2 {
        match &self.plan.graph.nodes[node].op {
            Op::Conv2d(Conv2d {
                kernel,
                stride,
                padding,
                groups,
                bias,
                ..
            }) => Shape2 {
                kernel: *kernel,
                stride: *stride,
                padding: *padding,
                depthwise: *groups > 1,
                biased: !bias.is_empty(),
            },
            op => Shape2 {
                kernel: [1, 1],
                stride: 1,
                padding: 0,
                depthwise: false,
                biased: matches!(op, Op::Linear(linear) if !linear.bias.is_empty()),
            },
        }
    }

    /// Values lie one behind the other: all are needed on the way back.
    fn lay_values(&mut self) {
        let made: Vec<Value> = self.plan.layers.iter().map(Layer::makes).collect();
        for value in made {
            let borders = self.readers(value).map(|layer| match layer {
                Layer::Conv { node, .. } => self.conv(*node).padding,
                _ => 0,
            });
            let border = borders.max().unwrap_or(0);
            let mut place = kept_place(
                Shape::Map(self.shape(value)),
                Format::Floats,
                border,
                self.lanes(),
            );
            place.offset = self.layout.arena;
            self.layout.arena += self.plan.batch * place.image;
            self.values[value] = Some(self.push(place));
        }
    }

    fn push(&mut self, place: Place) -> usize {
        self.places.push(place);
        self.places.len() - 1
    }

    fn place(&self, value: Value) -> usize {
        self.values[value].unwrap_or(0)
    }

    /// A place for the gradient of a value, with the border that the way back through its layer reads.
    fn gradient_place(&mut self, value: Value) -> usize {
        let made = self.plan.layers.iter().find(|layer| layer.makes() == value);
        let conv = match made {
            Some(Layer::Norm { from, .. }) => self.plan.layers.iter().find(|layer| layer.makes() == *from),
            other => other,
        };
        let border = match conv {
            Some(Layer::Conv { node, .. }) => {
                let conv = self.conv(*node);
                // A strided one is spread first.
                if conv.stride > 1 {
                    0
                } else {
                    conv.kernel[0] - 1 - conv.padding
                }
            }
            _ => 0,
        };
        let place = kept_place(
            Shape::Map(self.shape(value)),
            Format::Floats,
            border,
            self.lanes(),
        );
        let index = self.push(place);
        let now = self.backward.len() - 1;
        self.lives.push((index, [now, now]));
        index
    }

    /// The gradient of a value, to be written or added to; none where nothing before it learns.
    fn gradient_to(&mut self, value: Value) -> Option<(usize, bool)> {
        let learns = self.plan.layers.iter().any(|layer| {
            layer.makes() == value && !matches!(layer, Layer::Image { .. } | Layer::Given { .. })
        });
        if !learns {
            return None;
        }
        if let Some(place) = self.gradients[value] {
            return Some((place, true));
        }
        let place = self.gradient_place(value);
        self.gradients[value] = Some(place);
        Some((place, false))
    }

    fn phase(&mut self, back: bool) -> &mut Phase {
        let phases = if back {
            &mut self.backward
        } else {
            &mut self.forward
        };
        if phases.is_empty() {
            phases.push(Phase::default());
        }
        let last = phases.len() - 1;
        &mut phases[last]
    }

    fn add(&mut self, back: bool, work: Work, inputs: Vec<usize>, output: Option<usize>, add: bool) {
        if back {
            let now = self.backward.len() - 1;
            for (_, life) in self
                .lives
                .iter_mut()
                .filter(|(place, _)| inputs.contains(place) || output == Some(*place))
            {
                life[1] = now;
            }
        }
        self.phase(back).operations.push(Operation {
            work,
            inputs,
            output,
            add,
        });
    }

    /// Begins a new phase of what needs `finish` to be done.
    fn wait(&mut self, back: bool, finish: Finish) {
        let phases = if back {
            &mut self.backward
        } else {
            &mut self.forward
        };
        if phases.last().is_some_and(|phase| phase.finish.contains(&finish)) {
            phases.push(Phase::default());
        }
    }

    fn forward(&mut self, layer: &Layer) {
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
        let (node, clamp) = self.readers(value).find_map(|layer| match layer {
            Layer::Norm {
                node, from, clamp, ..
            } if *from == value => Some((*node, *clamp)),
            _ => None,
        })?;
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
        });
        self.layout.counts += 2 * floats;
        self.norm_of[value] = Some(self.norms.len() - 1);
        self.norm_of[value]
    }

    fn suits_winograd(&self, conv: Shape2, input: &Place, output: &Place) -> bool {
        let half = self.lanes() / 2;
        self.plan.winograd
            && !conv.depthwise
            && (conv.kernel, conv.stride, conv.padding) == ([3, 3], 1, 1)
            && input.channels >= half
            && output.channels >= half
            && output.height.min(output.width) >= 4
    }

    /// Blocks out of a group at most, for the kernels that will read the weights.
    fn most(&self, conv: Shape2, input: &Place, output: &Place) -> usize {
        let lanes = self.lanes();
        let menu = floats(self.plan.kernels, conv.stride);
        let blocks = output.blocks(lanes);
        let width = if self.suits_winograd(conv, input, output) {
            self.tiles(input, output)
        } else {
            output.width * self.merged(conv, input, output)
        };
        best_group(&menu, width, blocks)
    }

    fn tiles(&self, input: &Place, output: &Place) -> usize {
        let lanes = self.lanes();
        let per_image = output.height.div_ceil(4) * output.width.div_ceil(4);
        Tiling::tiles(input.blocks(lanes) + output.blocks(lanes), lanes).min(per_image)
    }

    /// How many rows are gone through as one.
    fn merged(&self, conv: Shape2, input: &Place, output: &Place) -> usize {
        let pointwise = conv.kernel == [1, 1] && conv.stride == 1 && conv.padding == 0;
        if pointwise && input.border == 0 && output.border == 0 {
            merged_rows(output)
        } else {
            1
        }
    }

    /// What computes a layer forward.
    fn layer(&mut self, node: usize, conv: Shape2, [from, to]: [usize; 2]) -> Work {
        let (input, output) = (self.places[from].clone(), self.places[to].clone());
        if conv.depthwise {
            let weights = self.parameters.weights(node).unwrap_or(0);
            return Work::Depthwise(Depthwise::new(
                self.plan.kernels,
                [conv.kernel, [conv.stride, conv.padding], [weights, self.zeros]],
                output.width,
            ));
        }
        let most = self.most(conv, &input, &output);
        let packed = self.parameters.dense(node, most, self.lanes());
        let bias = if conv.biased {
            self.parameters.bias(node).unwrap_or(self.zeros)
        } else {
            self.zeros
        };
        self.dense(packed, conv, [&input, &output], bias, 1)
    }

    /// A dense layer whose weights are `packed`. Its frequencies, if it has any, are made in the given round.
    fn dense(
        &mut self,
        packed: Packed,
        conv: Shape2,
        [input, output]: [&Place; 2],
        bias: usize,
        round: usize,
    ) -> Work {
        let lanes = self.lanes();
        let menu = floats(self.plan.kernels, conv.stride);
        if !self.suits_winograd(conv, input, output) {
            let width = output.width * self.merged(conv, input, output);
            return Work::Direct(Direct {
                walk: Walk::Rows(self.merged(conv, input, output)),
                kernel: conv.kernel,
                stride: conv.stride,
                padding: conv.padding,
                groups: packed.groups,
                bias,
                cuts: Cuts::new(&menu, width..=width),
            });
        }
        let tiles = self.tiles(input, output);
        let (blocks, out) = (input.blocks(lanes), output.blocks(lanes));
        let size = input.channels * lanes;
        let frequency = out * size;
        let start = self.room(learn::FREQUENCIES * frequency);
        let most = packed.groups.first().map_or(1, |group| group.count);
        let made: Vec<Group> = groups(out, most, start, size);
        self.derived[round].push(Derived::Winograd {
            from: packed,
            to: made.clone(),
            frequency,
        });
        let tiling = Tiling {
            groups: made,
            frequency,
            tiles,
            steps: [step(blocks, tiles, lanes), step(out, tiles, lanes)],
        };
        self.layout.workspace = self.layout.workspace.max(tiling.workspace());
        Work::Winograd(Winograd {
            tiling,
            bias,
            zeros: self.zeros,
            cuts: Cuts::new(&menu, 1..=tiles),
        })
    }

    fn backward(&mut self, layer: &Layer) {
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

    fn conv_back(&mut self, node: usize, from: Value, gradient: usize) {
        let conv = self.conv(node);
        let input = self.place(from);
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
        let back = Shape2 {
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

    /// Where the gradient at `gradient` of a strided convolution is spread, of one image at a time.
    fn spread_place(&mut self, gradient: usize, input: usize, conv: Shape2, border: usize) -> usize {
        let channels = self.places[gradient].channels;
        let length = |side: usize, kernel: usize| side + 2 * conv.padding + 1 - kernel;
        let height = length(self.places[input].height, conv.kernel[0]);
        let width = length(self.places[input].width, conv.kernel[1]);
        let shape = Shape::Map([channels, height, width]);
        let mut place = kept_place(shape, Format::Floats, border, self.lanes());
        place.home = Home::Scratch;
        self.layout.scratch = self.layout.scratch.max(place.image);
        self.push(place)
    }

    /// What takes the gradient of a layer back to what it read.
    fn back(&mut self, node: usize, conv: Shape2, [source, target]: [&Place; 2]) -> Work {
        let lanes = self.lanes();
        if conv.depthwise {
            let floats = 9 * source.blocks(lanes) * lanes;
            let to = self.room(floats);
            let from = self.parameters.weights(node).unwrap_or(0);
            self.derived[0].push(Derived::BackDepthwise { from, to, floats });
            return Work::Depthwise(Depthwise::new(
                self.plan.kernels,
                [conv.kernel, [1, conv.padding], [to, self.zeros]],
                target.width,
            ));
        }
        let area = conv.kernel[0] * conv.kernel[1];
        let blocks = target.blocks(lanes);
        let size = source.channels * area * lanes;
        let start = self.room(blocks * size);
        let most = self.most(conv, source, target);
        let packed = || Packed {
            groups: groups(blocks, most, start, size),
            channels: source.channels,
            area,
        };
        let forward = Packed {
            groups: self.parameters.groups(node),
            channels: target.channels,
            area,
        };
        self.derived[0].push(Derived::Back {
            from: forward,
            to: packed(),
            out: source.channels,
        });
        self.dense(packed(), conv, [source, target], self.zeros, 1)
    }

    /// Gradients lie where others lay that no later phase needs.
    fn lay_gradients(&mut self) {
        let lanes = self.lanes();
        let start = self.layout.arena;
        let mut taken: Vec<([usize; 2], std::ops::Range<usize>)> = Vec::new();
        for (index, life) in std::mem::take(&mut self.lives) {
            let size = self.places[index]
                .end(self.plan.batch, lanes)
                .next_multiple_of(16);
            let mut alive: Vec<_> = taken
                .iter()
                .filter(|(other, _)| other[1] >= life[0] && life[1] >= other[0])
                .map(|(_, span)| span.clone())
                .collect();
            alive.sort_by_key(|span| span.start);
            let mut offset = start;
            for span in alive {
                if span.start >= offset + size {
                    break;
                }
                offset = offset.max(span.end);
            }
            self.places[index].offset = offset;
            self.layout.arena = self.layout.arena.max(offset + size);
            taken.push((life, offset..offset + size));
        }
    }
}
