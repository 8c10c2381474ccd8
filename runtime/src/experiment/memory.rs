//! Memory that training takes: adaptive and extension block over a frozen main block, against the whole network at the same batch
//! size. Each is measured in a process of its own, since an allocator does not give back what it once had.

use std::error::Error;
use std::fs;
use std::process::Command;

use clap::ValueEnum;
use meanet_data::{Training, procedural};
use meanet_net::Precision;
use meanet_net::train::{Examples, Lessons, Run, classifier_of, train_classifier, train_extension};
use serde::{Deserialize, Serialize};

use super::Args;
use super::machine::{memory_held, peak_memory};
use super::setup::Setup;
use super::shift::{extension_recipe, whole_recipe};
use super::steps::Steps;
use crate::eval::subject::Subject;

/// Images of a step in both.
const BATCH: usize = 128;
/// Images trained on: a few steps are enough for the peak.
const IMAGES: usize = 4 * BATCH;

/// What a process trains to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "camelCase")]
pub(super) enum Probe {
    /// Adaptive and extension block.
    Extension,
    /// The whole network.
    Whole,
}

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
    let inputs = (
        &setup.identity.model,
        BATCH,
        IMAGES,
        format!("{:?}", setup.backend),
    );
    steps.step("memory", "memory of training", 2.0, &inputs, || {
        let peak = |probe: &str| -> Result<u64, Box<dyn Error>> {
            let output = Command::new(std::env::current_exe()?)
                .args(["reproduce", "--probe", probe, "--model"])
                .arg(&args.model)
                .args(["--backend", &args.backend_name()])
                .output()?;
            if !output.status.success() {
                return Err(format!(
                    "failed to measure memory: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                )
                .into());
            }
            Ok(String::from_utf8(output.stdout)?.trim().parse()?)
        };
        Ok(Memory {
            batch: BATCH,
            images: IMAGES,
            extension: peak("extension")?,
            whole: peak("whole")?,
        })
    })
}

/// Trains a few steps on images that the project draws, and prints by how much memory rose at most.
pub(super) fn probe(probe: Probe, args: &Args) -> Result<(), Box<dyn Error>> {
    let subject = Subject::open(&args.model, None, Precision::Float32)?;
    let training = Training(procedural(subject.manifest.classes, IMAGES, args.seed));
    let main = subject.blobs.main.clone();
    let manifest = subject.manifest.clone();
    drop(subject);
    let device = args.backend.device()?;
    // Sets the peak to what is held now.
    fs::write("/proc/self/clear_refs", "5")?;
    let before = memory_held()?;
    match probe {
        Probe::Extension => {
            let mut recipe = extension_recipe(manifest.classes, 1, args.seed);
            recipe.batch_size = BATCH;
            train_extension(&recipe, &main, &Examples::of(&training), None, &device)?;
        }
        Probe::Whole => {
            let mut recipe = whole_recipe(&manifest, 1, args.seed);
            recipe.batch_size = BATCH;
            let folder = std::env::temp_dir().join(format!("meanet-probe-{}", std::process::id()));
            let run = Run::open(&folder, &recipe)?;
            let watched = Training(training.0.select(&(0..BATCH).collect::<Vec<_>>()));
            let start = classifier_of(&main)?;
            let lessons = Lessons {
                training: &training,
                holdout: &watched,
                start: Some(&start),
                teacher: None,
            };
            let trained = train_classifier(&recipe, &lessons, &run, &device);
            fs::remove_dir_all(&folder)?;
            trained?;
        }
    }
    println!("{}", peak_memory()?.saturating_sub(before));
    Ok(())
}
