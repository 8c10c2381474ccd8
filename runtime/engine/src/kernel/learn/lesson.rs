//! What a training step does: operations on places, in phases.

use crate::kernel::depthwise;
use crate::kernel::direct::Direct;
use crate::kernel::frame::Place;
use crate::kernel::plain::{Normalise, Pool};
use crate::kernel::winograd::Winograd;

use super::gradient::{self, Dense};
use super::moves::Window;
use super::norm::Norm;
use super::update::Derived;

/// What an operation does to one image.
pub(crate) enum Work {
    Normalise(Normalise),
    /// Takes the value of this number that is given with the batch.
    Give(usize),
    Direct(Direct),
    Winograd(Winograd),
    Depthwise(depthwise::Depthwise),
    Concat,
    /// Two values, added.
    Sum,
    Pool(Pool),
    /// Counts what comes out of a layer, for its norm.
    Moments(usize),
    /// A norm, and what is added behind it.
    Apply(usize),
    /// Counts the gradient that comes back to a norm, whose result is the second input where something was added to it.
    Slopes(usize),
    /// A norm on the way back; the output is the gradient of what was added behind it, or none.
    Through(usize),
    Dense(Dense),
    DepthwiseGradient(gradient::Depthwise),
    /// The gradient of a bias at this offset.
    Bias(usize),
    Spread(usize),
    Unpool,
    Split(Window),
}

/// One step of one image; numbers are places. Layers add to what is there if `add`.
pub(crate) struct Operation {
    pub(crate) work: Work,
    pub(crate) inputs: Vec<usize>,
    pub(crate) output: Option<usize>,
    pub(crate) add: bool,
}

/// Operations that each image goes through without the others, and what is counted over all of them at the end.
#[derive(Default)]
pub(crate) struct Phase {
    pub(crate) operations: Vec<Operation>,
    pub(crate) finish: Vec<Finish>,
}

/// What all images of a phase have counted together, made use of; numbers are norms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    Moments(usize),
    Slopes(usize),
}

/// Floats of the memory of a program.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) batch: usize,
    /// Values and gradients of all images.
    pub(crate) arena: usize,
    /// Weights that are trained, which come first.
    pub(crate) trained: usize,
    /// Running statistics, which come behind them.
    pub(crate) running: usize,
    /// All weights, with what follows from them.
    pub(crate) weights: usize,
    /// Sums of norms, of one part of a batch.
    pub(crate) counts: usize,
    /// Of one thread.
    pub(crate) scratch: usize,
    pub(crate) workspace: usize,
}

/// What a program does.
pub(crate) struct Lesson {
    pub(crate) places: Vec<Place>,
    pub(crate) forward: Vec<Phase>,
    pub(crate) backward: Vec<Phase>,
    pub(crate) norms: Vec<Norm>,
    /// What follows from weights; the second from the first.
    pub(crate) derived: [Vec<Derived>; 2],
    pub(crate) layout: Layout,
}
