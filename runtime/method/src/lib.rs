//! The method without tensors (Long et al., ICDCS 2021): scores, exits, routing. Pure functions, no IO.

mod hard;
mod route;
mod score;

pub use hard::{HardClasses, HardClassesError};
pub use route::{
    AfterMain, Answer, Exit, ExtensionRule, LocalAnswer, Routing, WhenUnavailable, after_main, local_answer,
};
pub use score::{Score, ScoreError, softmax};
