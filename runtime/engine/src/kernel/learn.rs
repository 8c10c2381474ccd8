//! Training: the way back through a network, and steps down the gradient.

mod check;
pub(super) mod gradient;
mod lesson;
mod moves;
mod norm;
mod program;
pub(super) mod rows;
pub(super) mod table;
pub(super) mod update;

pub(crate) use super::winograd::FREQUENCIES;
pub(crate) use gradient::{Dense, Depthwise as DepthwiseGradient};
pub(crate) use lesson::{Finish, Layout, Lesson, Operation, Phase, Work};
pub(crate) use moves::Window;
pub(crate) use norm::Norm;
pub(crate) use program::Program;
pub(crate) use update::{Derived, Packed};
pub use update::{Descend, Numbers};
