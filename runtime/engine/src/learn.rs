//! Training on the CPU: the same graphs, gone through forward and back.
//!
//! Values lie in blocks of channels as in a plan, and layers are computed by the same kernels, Winograd's among them. An image goes
//! through all layers that need no other image before the next one does, while its values are in the cache; only the statistics
//! of a norm make images wait for each other. All memory is laid out once. What a step does to the weights is the same whatever the
//! number of threads.

mod build;
mod layers;
mod parameters;

use snafu::{OptionExt, ensure};

use crate::error::{BatchSnafu, CountsSnafu, EngineError, IndexSnafu, MissingIsaSnafu, PixelsSnafu};
use crate::graph::{Graph, Op, SegmentId};
use crate::images::Images;
use crate::kernel::learn::Program;
use crate::kernel::{Descend, Kernels, Numbers, Threads};
use crate::options::{Isa, Options};
use crate::plan::{MAX_BATCH, MAX_THREADS, within};
use crate::shape::infer;

use build::{Built, Plan, build};
use layers::{Layer, layers};
use parameters::Parameters;

/// What a [`Learner`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To move weights; with a moving average of them, if wanted.
    Learn {
        /// Whether there is an average.
        averaged: bool,
    },
    /// To take statistics for its norms, which needs no way back and little memory.
    Count,
}

/// A network in training, with its weights and all memory of a step.
pub struct Learner {
    graph: Graph,
    program: Program,
    threads: Threads,
    parameters: Parameters,
    batch: usize,
    /// Values of an image, and of one image of each value that is given.
    pixels: usize,
    given: Vec<usize>,
    output: usize,
    gradient: Option<usize>,
    values: usize,
    logits: Vec<f32>,
}

impl Learner {
    /// Lays out the training of the segments of `graph` from `first` on, down to an output of one of them; what they read of earlier
    /// segments is given with each batch. Batches have `options.max_batch` images.
    pub fn compile(
        graph: &Graph,
        first: SegmentId,
        output: (SegmentId, usize),
        purpose: Purpose,
        options: &Options,
    ) -> Result<Self, EngineError> {
        within("threads", options.threads.get(), MAX_THREADS)?;
        within("max_batch", options.max_batch, MAX_BATCH)?;
        let isa = options.isa.unwrap_or_else(Isa::best);
        let kernels = Kernels::of(isa).context(MissingIsaSnafu { isa })?;
        let shapes = infer(graph)?;
        let segment = |id: SegmentId| {
            graph.segments.get(id.0).context(IndexSnafu {
                what: "segment",
                index: id.0,
                count: graph.segments.len(),
            })
        };
        segment(first)?;
        let begin = match first.0.checked_sub(1) {
            Some(before) => segment(SegmentId(before))?.end,
            None => 0,
        };
        let outputs = &segment(output.0)?.outputs;
        let node = *outputs.get(output.1).context(IndexSnafu {
            what: "output",
            index: output.1,
            count: outputs.len(),
        })?;
        let layers = layers(graph, &shapes, begin, node)?;
        let plan = Plan {
            graph,
            shapes: &shapes,
            kernels,
            batch: options.max_batch,
            winograd: options.winograd,
            layers: &layers,
            learns: purpose != Purpose::Count,
        };
        let averaged = purpose == Purpose::Learn { averaged: true };
        let learns = plan.learns;
        let Built {
            lesson,
            parameters,
            output,
            gradient,
        } = build(&plan, node);
        let values = shapes[node].values();
        let mut learner = Self {
            program: Program::new(kernels, lesson, options.threads.get(), [learns, averaged])?,
            threads: Threads::new(options.threads.get())?,
            parameters,
            batch: options.max_batch,
            pixels: if layers.iter().any(|l| matches!(l, Layer::Image { .. })) {
                graph.input.values()
            } else {
                0
            },
            given: layers
                .iter()
                .filter_map(|layer| match layer {
                    Layer::Given { to } => Some(shapes[*to].values()),
                    _ => None,
                })
                .collect(),
            output,
            gradient,
            values,
            logits: vec![0.0; options.max_batch * values],
            graph: graph.clone(),
        };
        let nodes: Vec<usize> = learner.parameters.nodes().collect();
        for node in nodes {
            let op = learner.graph.nodes[node].op.clone();
            learner.set(node, Numbers::Weights, &op)?;
            if averaged {
                learner.set(node, Numbers::Average, &op)?;
            }
        }
        learner.ready()?;
        Ok(learner)
    }

    /// Nodes that are trained, in the graph's order.
    pub fn nodes(&self) -> impl Iterator<Item = usize> {
        self.parameters.nodes()
    }

    /// Bytes of all memory of a step, weights included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.program.bytes()
    }

    /// The node's operation with its numbers as they are now.
    pub fn get(&self, node: usize, which: Numbers) -> Result<Op, EngineError> {
        let mut op = self.op(node)?.clone();
        self.parameters.unpack(node, self.program.numbers(which), &mut op);
        Ok(op)
    }

    /// Takes the numbers of `op`, an operation like the node's. Call [`Learner::ready`] when all are set.
    pub fn set(&mut self, node: usize, which: Numbers, op: &Op) -> Result<(), EngineError> {
        self.op(node)?;
        self.parameters.pack(node, op, self.program.numbers_mut(which));
        Ok(())
    }

    /// Makes what follows from weights that were set.
    pub fn ready(&mut self) -> Result<(), EngineError> {
        self.program.derive(&mut self.threads)
    }

    fn op(&self, node: usize) -> Result<&Op, EngineError> {
        let known = self.parameters.of(node).is_some();
        let count = self.graph.nodes.len();
        self.graph
            .nodes
            .get(node)
            .filter(|_| known)
            .map(|node| &node.op)
            .context(IndexSnafu {
                what: "a trained node",
                index: node,
                count,
            })
    }

    /// The output of a batch, `[n, values]`, by the statistics of the batch, of which the running ones take note. `given` has the values
    /// of earlier segments, `[n, channels, height, width]` each, in the graph's order.
    pub fn forward(&mut self, images: Images<'_>, given: &[&[f32]]) -> Result<&[f32], EngineError> {
        let lengths = [(images.len(), self.pixels)]
            .into_iter()
            .chain(given.iter().map(|v| v.len()).zip(self.given.iter().copied()));
        for (values, each) in lengths {
            let expected = self.batch * each;
            ensure!(
                values == expected || each == 0,
                PixelsSnafu {
                    count: self.batch,
                    values,
                    expected
                }
            );
        }
        ensure!(
            given.len() == self.given.len(),
            IndexSnafu {
                what: "given value",
                index: given.len(),
                count: self.given.len()
            }
        );
        self.program.forward(&mut self.threads, images, given)?;
        self.program.read(self.output, &mut self.logits);
        Ok(&self.logits)
    }

    /// One step against the gradient of the loss by the output of the last batch, `[n, values]`.
    pub fn step(&mut self, gradient: &[f32], how: Descend) -> Result<(), EngineError> {
        self.gather(gradient)?;
        self.descend(how)
    }

    /// Adds what the gradient of the loss by the output of the last batch, `[n, values]`, makes of the gradients of all weights to
    /// those of the next [`Learner::descend`].
    pub fn gather(&mut self, gradient: &[f32]) -> Result<(), EngineError> {
        let expected = self.batch * self.values;
        ensure!(
            gradient.len() == expected,
            BatchSnafu {
                count: gradient.len() / self.values.max(1),
                max_batch: self.batch
            }
        );
        let place = self.gradient.context(CountsSnafu)?;
        self.program.write(place, gradient);
        self.program.backward(&mut self.threads)
    }

    /// One step against all gradients that were gathered since the last one.
    pub fn descend(&mut self, how: Descend) -> Result<(), EngineError> {
        self.gradient.context(CountsSnafu)?;
        self.program.descend(&mut self.threads, how)
    }
}
