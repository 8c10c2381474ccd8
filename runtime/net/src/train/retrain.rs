//! What a retraining job does: a candidate, and how it compares with what is in service.

use meanet_data::{Images, Training, split};
use meanet_method::Routing;
use snafu::ResultExt;
use tracing::info;

use burn::tensor::Device;

use crate::edge::{EdgeBlobs, EdgeNetwork};
use crate::evaluate::{Report, outputs};
use crate::train::extension::{ExtensionRecipe, TrainedExtension, train_extension};
use crate::train::run::{TrainError, WeightsSnafu};

/// A candidate and what speaks for it. Both reports are on the same images, which the candidate was not trained on.
#[derive(Clone, Debug)]
pub struct Retrained {
    /// The candidate.
    pub candidate: TrainedExtension,
    /// The candidate's edge by itself.
    pub report: Report,
    /// The edge in service by itself.
    pub baseline: Report,
    /// The main exit alone.
    pub main_accuracy: f64,
}

/// Trains a candidate for the blocks in service on four fifths of `images`, beginning with the blocks in service where the
/// hard classes are the same, and measures both on the last fifth under `routing` with nothing sent to the cloud.
pub fn retrain(
    recipe: &ExtensionRecipe,
    service: EdgeBlobs<'_>,
    images: &Training,
    routing: &Routing,
    device: &Device,
) -> Result<Retrained, TrainError> {
    let count = images.0.len();
    if count < 10 {
        return Err(TrainError::Data {
            reason: format!("{count} samples are too few to train and to judge; collect more"),
        });
    }
    let mut parts = split(images, &[count / 5], recipe.seed);
    let (training, holdout) = (
        parts.pop().unwrap_or_else(|| images.clone()),
        parts.pop().unwrap_or_else(|| images.clone()),
    );
    let network = EdgeNetwork::load(service).context(WeightsSnafu)?;
    let start =
        (network.hard_classes() == recipe.hard_classes).then_some((service.adaptive, service.extension));
    let candidate = train_extension(recipe, service.main, start, &training, device)?;
    let trained = EdgeBlobs {
        main: service.main,
        adaptive: &candidate.adaptive,
        extension: &candidate.extension,
    };
    let (baseline, main_accuracy) = judge(&network, &holdout.0, routing)?;
    let (report, _) = judge(
        &EdgeNetwork::load(trained).context(WeightsSnafu)?,
        &holdout.0,
        routing,
    )?;
    info!(
        candidate = report.accuracy,
        in_service = baseline.accuracy,
        main = main_accuracy,
        "judged"
    );
    Ok(Retrained {
        candidate,
        report,
        baseline,
        main_accuracy,
    })
}

fn judge(network: &EdgeNetwork, images: &Images, routing: &Routing) -> Result<(Report, f64), TrainError> {
    let outputs = outputs(network, None, images).map_err(|e| TrainError::Data {
        reason: e.to_string(),
    })?;
    let report = outputs.report(routing).map_err(|e| TrainError::Data {
        reason: e.to_string(),
    })?;
    Ok((report, outputs.main_accuracy()))
}
