//! From layers to a program: where values, gradients and weights lie, and which operations make them.

mod kernels;
mod passes;

use crate::choice::Window;
use crate::graph::{Conv2d, Graph, Op};
use crate::kernel::learn::{Derived, Finish, Layout, Lesson, Norm, Operation, Phase, Work};
use crate::kernel::{Format, Home, Kernels, Place};
use crate::layout::kept_place;
use crate::shape::Shape;

use super::layers::{Layer, Value};
use super::parameters::Parameters;

/// What a program is made from.
pub(super) struct Plan<'a> {
    pub(super) graph: &'a Graph,
    pub(super) shapes: &'a [Shape],
    pub(super) kernels: &'static Kernels,
    pub(super) batch: usize,
    pub(super) winograd: bool,
    pub(super) layers: &'a [Layer],
    /// Whether there is a way back. Without one, values lie where others lay that no later phase needs.
    pub(super) learns: bool,
}

/// A program, and where its ends lie.
pub(super) struct Built {
    pub(super) lesson: Lesson,
    pub(super) parameters: Parameters,
    pub(super) output: usize,
    /// Place of the gradient of the output, where there is a way back.
    pub(super) gradient: Option<usize>,
}

/// A convolution: kernel, stride, padding, and whether channels are by themselves.
#[derive(Clone, Copy)]
struct Form {
    kernel: [usize; 2],
    stride: usize,
    padding: usize,
    depthwise: bool,
    biased: bool,
}

impl Form {
    fn window(self) -> Window {
        (self.kernel, self.stride, self.padding)
    }
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
    /// What shares memory, gradients or else values: when it is needed first and last, in phases of its way.
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
    let mut gradient = None;
    if plan.learns {
        gradient = Some(builder.gradient_place(output));
        builder.gradients[output] = gradient;
        for layer in plan.layers.iter().rev() {
            builder.backward(layer);
        }
    }
    let output = builder.values[output].unwrap_or(0);
    for (_, life) in builder.lives.iter_mut().filter(|(place, _)| *place == output) {
        life[1] = usize::MAX;
    }
    builder.lay_shared();
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

    /// The layer that makes `value`.
    fn maker(&self, value: Value) -> Option<&Layer> {
        self.plan.layers.iter().find(|layer| layer.makes() == value)
    }

    fn readers(&self, value: Value) -> impl Iterator<Item = &Layer> {
        self.plan
            .layers
            .iter()
            .filter(move |layer| layer.reads().contains(&value))
    }

    fn conv(&self, node: usize) -> Form {
        match &self.plan.graph.nodes[node].op {
            Op::Conv2d(Conv2d {
                kernel,
                stride,
                padding,
                groups,
                bias,
                ..
            }) => Form {
                kernel: *kernel,
                stride: *stride,
                padding: *padding,
                depthwise: *groups > 1,
                biased: !bias.is_empty(),
            },
            op => Form {
                kernel: [1, 1],
                stride: 1,
                padding: 0,
                depthwise: false,
                biased: matches!(op, Op::Linear(linear) if !linear.bias.is_empty()),
            },
        }
    }

    /// On the way back most values are needed, so that they lie one behind the other. What a norm makes for the next layer alone is made again
    /// there instead, of one image at a time.
    fn lay_values(&mut self) {
        for layer in self.plan.layers {
            let value = layer.makes();
            let shares = !self.plan.learns && !matches!(layer, Layer::Given { .. });
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
            if self.is_passing(value) {
                place.home = Home::Scratch;
                self.layout.scratch = self.layout.scratch.max(place.image);
            } else if shares {
                self.lives.push((self.places.len(), [usize::MAX, 0]));
            } else {
                place.offset = self.layout.arena;
                self.layout.arena += self.plan.batch * place.image;
            }
            self.values[value] = Some(self.push(place));
        }
    }

    /// Whether a value is what a norm makes of a layer's result alone, and read by nothing but the convolution that comes next.
    fn is_passing(&self, value: Value) -> bool {
        let mut layers = self.plan.layers.iter();
        let norm = layers.find(|layer| layer.makes() == value);
        let next = layers.next();
        matches!(norm, Some(Layer::Norm { residual: None, .. }))
            && matches!(next, Some(Layer::Conv { from, .. }) if *from == value)
            && self.readers(value).count() == 1
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
        let conv = match self.maker(value) {
            Some(Layer::Norm { from, .. }) => self.maker(*from),
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
        let learns = !matches!(
            self.maker(value),
            None | Some(Layer::Image { .. } | Layer::Given { .. })
        );
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
        if back == self.plan.learns {
            let now = if back {
                self.backward.len()
            } else {
                self.forward.len()
            } - 1;
            for (_, life) in self
                .lives
                .iter_mut()
                .filter(|(place, _)| inputs.contains(place) || output == Some(*place))
            {
                *life = [life[0].min(now), life[1].max(now)];
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

    /// What shares memory lies where others lay that no later phase needs.
    fn lay_shared(&mut self) {
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
