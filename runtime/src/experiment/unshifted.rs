//! Input as it was in training: what every part is worth, and what the split is worth against a plain cascade.

use std::error::Error;

use meanet_data::Images;
use meanet_method::Outputs;
use meanet_net::ImageBatch;

use super::setup::Setup;
use super::steps::Steps;
use crate::eval::stored::Stored;

/// Images that go through the networks together.
const BATCH: usize = 100;

/// All that the model says of images as they were in training.
pub(super) struct Unshifted {
    /// Thresholds and routers are fitted to held-out images, figures are of test images.
    pub(super) stored: Stored,
    /// Logits of the extension for the test images where the adaptive block is shown grey instead of the image.
    pub(super) blinded: Vec<Vec<f32>>,
}

impl Unshifted {
    /// Runs the model, or reads what it said.
    pub(super) fn open(setup: &Setup, steps: &mut Steps) -> Result<Option<Self>, Box<dyn Error>> {
        let folder = steps.place("outputs", &setup.identity)?;
        let stored = if let Ok(stored) = Stored::open(&folder) {
            stored
        } else {
            let words = "held-out training images";
            let data = format!("test images of {}", setup.identity.data);
            let stored = setup
                .subject
                .evaluate(&setup.measure.0, &setup.test.0, data, words.to_owned())?;
            stored.write(&folder)?;
            stored
        };
        let blinded = steps.step("blinded", "adaptive block blinded", 1.0, &setup.identity, || {
            blinded(setup, &setup.test.0)
        })?;
        Ok(blinded.map(|blinded| Self { stored, blinded }))
    }

    /// What is said of the test images, with another extension.
    pub(super) fn with_extension(&self, extension: Vec<Vec<f32>>) -> Outputs {
        Outputs {
            extension,
            ..self.stored.report.clone()
        }
    }

    /// What is said of `split`, with other classes routed to the extension.
    pub(super) fn with_hard(split: &Outputs, hard_classes: Vec<u32>) -> Outputs {
        Outputs {
            hard_classes,
            ..split.clone()
        }
    }
}

/// Logits of the extension where features of the main block are of the image, and those of the adaptive block of grey.
fn blinded(setup: &Setup, images: &Images) -> Result<Vec<Vec<f32>>, Box<dyn Error>> {
    let edge = &setup.subject.edge;
    let fill = edge.input().fill().map(|value| value.round() as u8);
    let plane = images.height * images.width;
    let grey: Vec<u8> = fill.iter().flat_map(|&value| vec![value; plane]).collect();
    let mut logits = Vec::with_capacity(images.len());
    for pixels in images.pixels.chunks((images.stride() * BATCH).max(1)) {
        let batch = ImageBatch::from_bytes(images.height, images.width, pixels.to_vec())?;
        let pass = edge.main(&batch)?;
        let blind = ImageBatch::from_bytes(images.height, images.width, grey.repeat(batch.len()))?;
        let all: Vec<usize> = (0..batch.len()).collect();
        logits.extend(edge.extension(&pass, &blind, &all)?);
    }
    Ok(logits)
}
