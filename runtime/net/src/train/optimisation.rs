//! What all trainings by steps down a loss have in common.

use serde::{Deserialize, Serialize};

use crate::train::schedule::{Decay, Schedule};

/// How weights are moved down a loss: SGD with Nesterov momentum 0.9. Its fields stand among those of the recipe that has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Optimisation {
    /// Images a step.
    pub batch_size: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Share of the run during which the rate climbs.
    pub warm_up: f64,
    /// How the rate falls after that.
    #[serde(default)]
    pub decay: Decay,
    /// L2 penalty.
    pub weight_decay: f32,
    /// Probability mass spread over the wrong classes.
    pub label_smoothing: f32,
    /// Decay a step of the moving average of the weights, which is what the run gives; absent: the last weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average: Option<f64>,
}

impl Default for Optimisation {
    fn default() -> Self {
        Self {
            batch_size: 128,
            learning_rate: 0.1,
            warm_up: 0.2,
            decay: Decay::Cosine,
            weight_decay: 5e-4,
            label_smoothing: 0.1,
            average: None,
        }
    }
}

impl Optimisation {
    /// The learning rate over the run.
    pub(super) fn schedule(&self) -> Schedule {
        Schedule::new(self.learning_rate, self.warm_up, self.decay)
    }

    /// What is wrong with it, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        let unit = 0.0..1.0;
        if self.average.is_some_and(|decay| !unit.contains(&decay)) {
            return Some("the decay of the weights' average is not in 0..1".to_owned());
        }
        if !unit.contains(&f64::from(self.label_smoothing)) {
            return Some("label smoothing is not in 0..1".to_owned());
        }
        None
    }
}
