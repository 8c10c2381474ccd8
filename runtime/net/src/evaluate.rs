//! What the networks say of labelled images; what that is worth is the method's to tell.

use meanet_data::Images;
use meanet_method::best;
pub use meanet_method::{EvaluateError, ExitReport, Outputs, Report, by_entropy};

use crate::batch::ImageBatch;
use crate::cloud::CloudNetwork;
use crate::edge::{EdgeNetwork, InferError};

/// Images that go through the networks together.
const BATCH: usize = 100;

/// Runs all blocks on all images. The extension is to be asked for `hard_classes`.
pub fn outputs(
    edge: &EdgeNetwork,
    hard_classes: &[u32],
    cloud: Option<&CloudNetwork>,
    images: &Images,
) -> Result<Outputs, InferError> {
    outputs_with(edge, hard_classes, cloud, images, |_| {})
}

/// Runs all blocks on all images and says after each batch how many are done.
pub fn outputs_with(
    edge: &EdgeNetwork,
    hard_classes: &[u32],
    cloud: Option<&CloudNetwork>,
    images: &Images,
    mut done: impl FnMut(usize),
) -> Result<Outputs, InferError> {
    let mut outputs = Outputs {
        labels: images.labels.clone(),
        main: Vec::new(),
        extension: Vec::new(),
        cloud: Vec::new(),
        extension_classes: edge.outputs().to_vec(),
        hard_classes: hard_classes.to_vec(),
    };
    for pixels in images.pixels.chunks((images.stride() * BATCH).max(1)) {
        let batch = ImageBatch::from_bytes(images.height, images.width, pixels.to_vec())
            .map_err(|source| InferError::Image { source })?;
        let pass = edge.main(&batch)?;
        let all: Vec<usize> = (0..batch.len()).collect();
        outputs.extension.extend(edge.extension(&pass, &batch, &all)?);
        outputs.main.extend(pass.logits);
        if let Some(cloud) = cloud {
            outputs.cloud.extend(cloud.logits(&batch)?);
        }
        done(outputs.main.len());
    }
    Ok(outputs)
}

/// Index of the largest value, the first of equal ones.
pub(crate) fn top(values: &[f32]) -> usize {
    best(values).0
}
