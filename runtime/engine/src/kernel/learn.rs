//! Training: the way back through a network, and steps down the gradient.

mod check;
pub(super) mod gradient;
mod moves;
mod program;
pub(super) mod rows;
pub(super) mod table;
pub(super) mod update;

pub(crate) use super::winograd::FREQUENCIES;
pub(crate) use gradient::{Dense, Depthwise as DepthwiseGradient};
pub(crate) use moves::Window;
pub(crate) use program::{Counted, Finish, Layout, Lesson, Norm, Operation, Phase, Program, Work};
pub use update::Descend;
pub(crate) use update::{Derived, Packed};
