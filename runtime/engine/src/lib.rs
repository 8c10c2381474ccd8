//! Inference of small convolutional networks on a CPU.
//!
//! A [`Graph`] says what is computed, in segments of which a caller runs those that it needs. [`Plan::compile`] folds batch norms,
//! fuses activations and residuals into convolutions, packs weights for the instruction set of the machine and lays out all
//! memory. A [`Session`] owns that memory and the threads, and answers without allocating.
//!
//! ```
//! use meanet_engine::{Conv2d, Graph, Images, Input, Op, Options, Plan, Source};
//!
//! let mut graph = Graph::new(Input::new([1, 4, 4]));
//! let conv = graph.add(Op::Conv2d(Conv2d { out: 2, kernel: [3, 3], padding: 1, weight: vec![0.1; 18], ..Conv2d::default() }), [Source::Image]);
//! let pooled = graph.add(Op::GlobalAvgPool, [conv]);
//! let main = graph.end_segment("main", [pooled]);
//!
//! let plan = Plan::compile(&graph, &Options::default())?;
//! let mut session = plan.session()?;
//! session.run(main, Images::Floats(&[1.0; 16]), 1)?;
//! assert_eq!(session.vector(main, 0, 0)?.len(), 2);
//! # Ok::<(), meanet_engine::EngineError>(())
//! ```

mod choice;
mod cost;
mod error;
mod graph;
mod images;
mod kernel;
mod layout;
mod learn;
mod lower;
mod options;
mod pack;
mod plan;
mod quantise;
mod ranges;
mod round;
mod session;
mod shape;

pub use cost::Cost;
pub use error::EngineError;
pub use graph::{BatchNorm, Conv2d, Graph, Input, Linear, Node, Op, Segment, SegmentId, Shortcut, Source};
pub use images::Images;
pub use kernel::{Descend, Numbers};
pub use learn::{Learner, Purpose};
pub use options::{Isa, Options};
pub use plan::Plan;
pub use ranges::{Observer, Ranges};
pub use session::Session;
pub use shape::Shape;
