//! What experiments start from: a model, images, and what distinguishes this run from others.

use std::error::Error;

use meanet_data::{Images, Source, Test, Training};
use meanet_net::{Backend, Precision, digest};
use serde::Serialize;

use super::Args;
use crate::eval::subject::Subject;
use crate::train::Parts;

/// Everything that all experiments share.
pub(super) struct Setup {
    pub(super) subject: Subject,
    /// What the main block was trained on.
    pub(super) training: Training,
    /// Images that no block has learned from: thresholds are chosen on these.
    pub(super) measure: Training,
    /// Those and the ones that hard classes were chosen by: what a shift is learned from.
    pub(super) held_out: Training,
    pub(super) test: Test,
    pub(super) identity: Identity,
    pub(super) backend: Backend,
    pub(super) seed: u64,
}

/// What the results of an experiment depend on, whatever it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    /// Digest of the model.
    pub(super) model: String,
    /// Digest of the cloud's network.
    pub(super) cloud: Option<String>,
    /// Data set, in words.
    pub(super) data: String,
    /// Digest of the test images.
    pub(super) test: String,
    /// Digest of the held-out images.
    pub(super) held_out: String,
}

impl Setup {
    pub(super) fn open(args: &Args) -> Result<Self, Box<dyn Error>> {
        let subject = Subject::open(&args.model, args.cloud.as_ref(), Precision::Float32)?;
        let source = Source::find(args.data.as_deref())?;
        let [height, width] = subject.size();
        let Parts {
            training,
            selection,
            measure,
        } = Parts::of(&source.training(height, width)?)?;
        let Test(test) = source.test(height, width)?;
        let count = args.test_images.unwrap_or(test.len()).min(test.len());
        let test = test.select(&(0..count).collect::<Vec<_>>());
        let held_out = measure.0.clone().concat(&selection.0);
        let identity = Identity {
            model: subject.digest.clone(),
            cloud: subject.cloud.as_ref().map(|cloud| cloud.digest.clone()),
            data: match source {
                // Not its path, which says nothing elsewhere.
                Source::Cifar100(_) => "CIFAR-100".to_owned(),
                other => other.describe(),
            },
            test: identity_of(&test),
            held_out: identity_of(&held_out),
        };
        Ok(Self {
            subject,
            training,
            measure,
            held_out: Training(held_out),
            test: Test(test),
            identity,
            backend: args.backend,
            seed: args.seed,
        })
    }
}

fn identity_of(images: &Images) -> String {
    let labels = images.labels.iter().flat_map(|label| label.to_le_bytes());
    let bytes: Vec<u8> = images.pixels.iter().copied().chain(labels).collect();
    digest(&bytes)
}
