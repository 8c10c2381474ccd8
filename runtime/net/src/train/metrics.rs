//! What a run tells of itself.

use serde::{Deserialize, Serialize};

/// Lines of [`EpochLine`], one an epoch.
pub const METRICS: &str = "metrics.jsonl";

/// What a run says of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochLine {
    /// From 1.
    pub epoch: usize,
    /// Side of the images in pixels.
    pub side: usize,
    /// Mean training loss, over some of the steps.
    pub loss: f64,
    /// Learning rate at its end.
    pub learning_rate: f64,
    /// Share of the images set aside that the network (the averaged one, if any) gets right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout_accuracy: Option<f64>,
    /// Time it took.
    pub seconds: f64,
    /// Images trained on, a second.
    pub images_per_second: f64,
}
