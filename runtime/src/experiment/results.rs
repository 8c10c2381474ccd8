//! All results, and the files that they are written to.

use std::error::Error;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Args;
use super::aims::Aim;
use super::cascade::Cascade;
use super::claims::Claim;
use super::line::Line;
use super::memory::Memory;
use super::setup::Setup;
use super::shift::Shifted;
use super::{document, plots};

/// What was measured, and on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct About {
    /// Digest of the model.
    pub(super) model: String,
    pub(super) backbone: String,
    pub(super) cloud: Option<Network>,
    pub(super) data: String,
    pub(super) test_images: usize,
    /// Digest of the test images and their labels.
    pub(super) test: String,
    pub(super) held_out_images: usize,
    pub(super) seed: u64,
    /// Of the test images, those counted under shifts.
    pub(super) shift_images: usize,
    /// Images that a shift was learned from.
    pub(super) labelled: usize,
    pub(super) epochs: usize,
    /// Of trainings.
    pub(super) backend: String,
}

/// The cloud's network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Network {
    pub(super) backbone: String,
    pub(super) digest: String,
    /// Whether others trained it.
    pub(super) foreign: bool,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Results {
    pub(super) about: About,
    pub(super) aims: Vec<Aim>,
    pub(super) ablation: Vec<Line>,
    pub(super) cascade: Option<Cascade>,
    pub(super) shifts: Vec<Shifted>,
    pub(super) memory: Option<Memory>,
    pub(super) claims: Vec<Claim>,
    /// Experiments that there was no time for.
    pub(super) missing: Vec<String>,
}

impl About {
    pub(super) fn new(setup: &Setup, args: &Args) -> Self {
        let subject = &setup.subject;
        Self {
            model: setup.identity.model.clone(),
            backbone: subject.manifest.backbone.to_string(),
            cloud: subject.cloud.as_ref().map(|cloud| Network {
                backbone: cloud.network.card().backbone.to_string(),
                digest: cloud.digest.clone(),
                foreign: subject.foreign_cloud,
            }),
            data: setup.identity.data.clone(),
            test_images: setup.test.0.len(),
            test: setup.identity.test.clone(),
            held_out_images: setup.held_out.0.len(),
            seed: setup.seed,
            shift_images: args.shift_images.unwrap_or(usize::MAX).min(setup.test.0.len()),
            labelled: args.labelled.min(setup.held_out.0.len()),
            epochs: args.epochs,
            backend: args.backend.to_string(),
        }
    }
}

impl Results {
    pub(super) fn new(about: About) -> Self {
        Self {
            about,
            aims: Vec::new(),
            ablation: Vec::new(),
            cascade: None,
            shifts: Vec::new(),
            memory: None,
            claims: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// Writes results.json, results.md and results/*.svg into `folder`. The page is made from what the JSON holds.
    pub(super) fn write(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        let pictures = folder.join("results");
        fs::create_dir_all(&pictures).map_err(|e| failed(&pictures, &e))?;
        let json = serde_json::to_string_pretty(self)? + "\n";
        let read: Self = serde_json::from_str(&json)?;
        let drawn = plots::plots(&read);
        let mut files = vec![
            (folder.join("results.json"), json),
            (folder.join("results.md"), document::document(&read, &drawn)),
        ];
        for (name, plot) in &drawn {
            files.push((pictures.join(format!("{name}.svg")), plot.file()));
        }
        for (path, text) in files {
            fs::write(&path, text).map_err(|e| failed(&path, &e))?;
        }
        Ok(())
    }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("failed to write {}: {error}", path.display())
}
