//! What the cloud takes shifted images for, as a retraining job hears it.

use std::error::Error;

use meanet_data::{Images, Shift, Training};
use meanet_method::Proportion;
use meanet_net::train::Material;
use serde::{Deserialize, Serialize};

use super::answers::logits;
use super::ways::RETRAINING;
use crate::eval::subject::Cloud;
use crate::experiment::Args;
use crate::experiment::setup::Setup;
use crate::machine::cpu_seconds;

/// Labels of the cloud, the network by then following the domain of the images where it does better there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Said {
    labels: Vec<u32>,
    confidences: Vec<f32>,
    /// How many are right.
    pub(super) right: Proportion,
    /// Processor time to follow the domain and to label anew.
    pub(super) cpu_seconds: f64,
}

impl Said {
    /// `images`, the same as before, with these labels.
    pub(super) fn on(&self, images: Images) -> Material {
        let none = Images::empty(images.height, images.width);
        Material {
            labelled: Training(none),
            collected: Training(Images {
                labels: self.labels.clone(),
                ..images
            }),
            confidences: self.confidences.clone(),
        }
    }
}

/// All that these depend on.
pub(super) fn plan(setup: &Setup, args: &Args, shift: Shift) -> impl Serialize {
    (
        setup.identity.cloud.clone(),
        setup.identity.held_out.clone(),
        shift.to_string(),
        args.labelled,
        setup.seed,
        RETRAINING,
    )
}

/// Labels `images`, whose true labels are only counted with.
pub(super) fn by_cloud(cloud: &Cloud, setup: &Setup, images: Images) -> Result<Said, Box<dyn Error>> {
    let truth = images.labels.clone();
    let said = logits(&cloud.network, &images)?;
    let began = cpu_seconds()?;
    let mut material = Material::of_cloud(images, &said)?;
    material.relabel(&cloud.blob, setup.seed, &setup.backend.processor()?)?;
    let Material {
        collected: Training(Images { labels, .. }),
        confidences,
        ..
    } = material;
    let right: Vec<bool> = labels
        .iter()
        .zip(&truth)
        .map(|(said, label)| said == label)
        .collect();
    Ok(Said {
        right: Proportion::of(&right),
        labels,
        confidences,
        cpu_seconds: cpu_seconds()? - began,
    })
}
