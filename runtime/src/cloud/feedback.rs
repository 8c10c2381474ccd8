//! `POST /v1/feedback`: labelled images for retraining.

use meanet_net::{ImageBatch, InputSpec};
use meanet_store::Sample;

use super::Cloud;
use crate::protocol::v2::list;
use crate::protocol::{ApiError, InferRequest, images};

/// Classes that feedback may name where no network says how many there are.
const MAX_CLASSES: usize = 10_000;
/// Longest side of an image taken as feedback where no network says which it takes.
const MAX_SIDE: usize = 1024;

/// Keeps the images of an inference request with `parameters.labels`, one class an image; gives how many found room.
pub(super) async fn feedback(cloud: &Cloud, request: InferRequest) -> Result<usize, ApiError> {
    let network = cloud.network.as_ref();
    let classes = network.map_or(MAX_CLASSES, |n| n.classes);
    let input = network.map(|n| n.input.clone());
    let (labels, images, spec) = cloud.intake.aside(move || read(request, classes, input)).await?;
    let kept = labels.into_iter().enumerate().filter(|&(row, label)| {
        images.bytes(row).is_some_and(|pixels| {
            cloud.samples.offer(Sample {
                height: spec.height as u32,
                width: spec.width as u32,
                pixels,
                edge_label: None,
                edge_score: 0.0,
                cloud_label: None,
                cloud_confidence: 0.0,
                feedback: Some(label),
            })
        })
    });
    Ok(kept.count())
}

/// Labels, and images with what they are: those of the network, or of their own shape where there is none.
fn read(
    request: InferRequest,
    classes: usize,
    input: Option<InputSpec>,
) -> Result<(Vec<u32>, ImageBatch, InputSpec), ApiError> {
    let wrong = || {
        ApiError::malformed(format!(
            "parameters.labels: give one class below {classes} for each image"
        ))
    };
    let labels: Vec<u32> = request
        .parameters
        .get("labels")
        .and_then(list)
        .ok_or_else(wrong)?
        .into_iter()
        .map(|label| {
            let known = label.fract() == 0.0 && label >= 0.0 && label < classes as f64;
            known.then_some(label as u32).ok_or_else(wrong)
        })
        .collect::<Result<_, _>>()?;
    let spec = match input {
        Some(input) => input,
        None => shape(&request)?,
    };
    let images = images::batch(request.inputs, &spec)?;
    if images.len() != labels.len() {
        return Err(wrong());
    }
    Ok((labels, images, spec))
}

fn shape(request: &InferRequest) -> Result<InputSpec, ApiError> {
    match request.inputs.first().map(|input| input.shape.as_slice()) {
        Some(&[_, 3, height, width])
            if (1..=MAX_SIDE).contains(&height) && (1..=MAX_SIDE).contains(&width) =>
        {
            Ok(InputSpec {
                height,
                width,
                ..InputSpec::cifar100()
            })
        }
        _ => Err(ApiError::malformed(
            "inputs[0].shape: give pixels as [n, 3, height, width]",
        )),
    }
}
