//! The method without tensors (Long et al., ICDCS 2021): scores, exits, routing, and what thresholds are worth. Pure
//! functions, no IO.

mod binomial;
pub mod calibration;
pub mod choose;
mod curve;
mod energy;
mod hard;
mod information;
mod interval;
mod judge;
mod outputs;
pub mod ranking;
mod route;
mod router;
#[cfg(test)]
mod samples;
mod score;
mod tally;

pub use curve::{Point, at, curve};
pub use energy::{Costs, EdgeEnergy, EnergyProfile, ProfileError, Spent, Uplink};
pub use hard::{HardClasses, HardClassesError};
pub use information::information;
pub use interval::{Difference, Proportion, grows};
pub use judge::{Judged, judge};
pub use outputs::{EvaluateError, ExitReport, Outputs, Report, by_entropy};
pub use route::{
    AfterMain, Answer, Exit, ExtensionRule, LocalAnswer, Ranking, Routing, WhenUnavailable, after_main,
    cloud_answer, local_answer,
};
pub use router::{
    FEATURES as ROUTER_FEATURES, FitRouterError, LARGEST as ROUTER_LARGEST, Router, RouterError,
};
pub use score::{Score, ScoreError, best, softmax};
pub use tally::{ExitCount, Tally};
