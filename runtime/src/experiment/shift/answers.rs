//! Which answers of a model are right.

use std::error::Error;

use meanet_data::Images;
use meanet_method::{ExtensionRule, Outputs, best};
use meanet_net::{CloudNetwork, EdgeBlobs, EdgeNetwork, ImageBatch};
use serde::{Deserialize, Serialize};

use crate::eval::subject::Subject;
use crate::experiment::ablation::{edge, local};

/// Images that go through a network together.
const BATCH: usize = 100;

/// Which answers are right, image by image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Answers {
    pub(super) main: Vec<bool>,
    /// The edge by itself.
    pub(super) edge: Vec<bool>,
    pub(super) cloud: Option<Vec<bool>>,
}

/// Of all parts of a model.
pub(super) fn answers(subject: &Subject, images: &Images) -> Result<Answers, Box<dyn Error>> {
    let outputs = subject.outputs("images", images)?;
    Ok(Answers {
        main: right(&outputs.main, &outputs.labels),
        edge: at_edge(&outputs)?,
        cloud: outputs
            .has_cloud()
            .then(|| right(&outputs.cloud, &outputs.labels)),
    })
}

/// Of an edge by itself.
pub(super) fn of_edge(
    blobs: EdgeBlobs<'_>,
    hard: &[u32],
    images: &Images,
) -> Result<Vec<bool>, Box<dyn Error>> {
    let network = EdgeNetwork::load(blobs)?;
    at_edge(&meanet_net::evaluate::outputs(&network, hard, None, images)?)
}

/// Of a whole classifier, a blob.
pub(super) fn of_classifier(blob: &[u8], images: &Images) -> Result<Vec<bool>, Box<dyn Error>> {
    Ok(right(
        &logits(&CloudNetwork::load(blob)?, images)?,
        &images.labels,
    ))
}

/// Logits of a classifier, `[n][classes]`.
pub(in crate::experiment) fn logits(
    network: &CloudNetwork,
    images: &Images,
) -> Result<Vec<Vec<f32>>, Box<dyn Error>> {
    let mut logits = Vec::with_capacity(images.len());
    for pixels in images.pixels.chunks((images.stride() * BATCH).max(1)) {
        let batch = ImageBatch::from_bytes(images.height, images.width, pixels.to_vec())?;
        logits.extend(network.logits(&batch)?);
    }
    Ok(logits)
}

fn right(logits: &[Vec<f32>], labels: &[u32]) -> Vec<bool> {
    let pairs = logits.iter().zip(labels);
    pairs.map(|(row, label)| best(row).0 == *label as usize).collect()
}

fn at_edge(outputs: &Outputs) -> Result<Vec<bool>, Box<dyn Error>> {
    Ok(local(&edge(outputs, ExtensionRule::Extension)?).answers())
}
