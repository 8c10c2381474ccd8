//! Memory that training takes: adaptive and extension block over a frozen main block, against the whole network at the same batch
//! size, measured as `meanet train measure` does.

use std::error::Error;

use serde::{Deserialize, Serialize};

use super::Args;
use super::setup::Setup;
use super::steps::Steps;
use crate::train::measure::{self, Part};

/// Images of a step in both.
const BATCH: usize = 128;
/// Steps of each: a few are enough for the peak.
const STEPS: usize = 4;

/// Peak memory of both, beyond what the process held before, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Memory {
    pub(super) batch: usize,
    pub(super) images: usize,
    pub(super) extension: u64,
    pub(super) whole: u64,
}

/// Measures both in processes of their own.
pub(super) fn memory(
    setup: &Setup,
    args: &Args,
    steps: &mut Steps,
) -> Result<Option<Memory>, Box<dyn Error>> {
    let inputs = (&setup.identity.model, BATCH, STEPS, setup.backend.to_string());
    steps.step("memory", "memory of training", 2.0, &inputs, || {
        let how = measure::Args::of_model(&args.model, setup.backend, BATCH, STEPS);
        Ok(Memory {
            batch: BATCH,
            images: STEPS * BATCH,
            extension: measure::apart(&how, Part::Extension)?.training_bytes,
            whole: measure::apart(&how, Part::Whole)?.training_bytes,
        })
    })
}
