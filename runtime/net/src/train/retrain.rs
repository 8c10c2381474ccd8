//! What a retraining job does: a candidate, and how it compares with what is in service.

use burn::tensor::Device;
use meanet_data::{Images, Training, split};
use meanet_method::{Outputs, Routing};
use snafu::ResultExt;
use tracing::info;

use crate::edge::{EdgeBlobs, EdgeNetwork};
use crate::evaluate::{Report, outputs};
use crate::train::extension::{ExtensionRecipe, TrainedExtension, train_extension};
use crate::train::run::{TrainError, WeightsSnafu};
use crate::train::select::select_by_gain;

/// Fewer images than this cannot be shared out between training, selection and judgement.
const FEWEST: usize = 20;
/// From so many images on, those whose labels are true judge alone.
const ENOUGH: usize = 200;

/// What there is to learn from.
#[derive(Clone, Debug)]
pub struct Material {
    /// Images with labels that people gave.
    pub labelled: Training,
    /// Images that the cloud labelled.
    pub collected: Training,
}

/// A candidate and what speaks for it. Both reports are on the same images, which neither the candidate's training nor the
/// choice of its hard classes has seen.
#[derive(Clone, Debug)]
pub struct Retrained {
    /// The candidate.
    pub candidate: TrainedExtension,
    /// The classes for which it pays to ask it.
    pub hard_classes: Vec<u32>,
    /// The candidate's edge by itself.
    pub report: Report,
    /// The edge in service by itself.
    pub baseline: Report,
    /// The main exit alone.
    pub main_accuracy: f64,
}

/// A third of what is judged by chooses the hard classes, a third judges; the rest, and what the cloud labelled, is
/// learnt from. Few true labels judge together with the cloud's.
fn share_out(material: &Material, seed: u64) -> Result<(Training, Training, Training), TrainError> {
    let Material { labelled, collected } = material;
    let (judged, rest) = if labelled.0.len() >= ENOUGH {
        (labelled.clone(), Some(collected))
    } else {
        (Training(labelled.0.clone().concat(&collected.0)), None)
    };
    let count = judged.0.len();
    if count < FEWEST {
        return Err(TrainError::Data {
            reason: format!("{count} images are too few to train and to judge; collect {FEWEST} at least"),
        });
    }
    let mut parts = split(&judged, &[count / 6, count / 6], seed).into_iter();
    let (Some(selection), Some(judgement), Some(Training(training))) =
        (parts.next(), parts.next(), parts.next())
    else {
        return Err(TrainError::Data {
            reason: "the images cannot be shared out".to_owned(),
        });
    };
    let training = match rest {
        Some(rest) => training.concat(&rest.0),
        None => training,
    };
    Ok((Training(training), selection, judgement))
}

/// Trains a candidate for the blocks in service, beginning with these where they have the recipe's outputs; chooses the
/// classes to route to it; and measures both under `routing` with nothing sent to the cloud. `hard_classes` is the table
/// in service.
pub fn retrain(
    recipe: &ExtensionRecipe,
    service: EdgeBlobs<'_>,
    hard_classes: &[u32],
    material: &Material,
    routing: &Routing,
    device: &Device,
) -> Result<Retrained, TrainError> {
    let (training, selection, judgement) = share_out(material, recipe.seed)?;
    let network = EdgeNetwork::load(service).context(WeightsSnafu)?;
    let start = (network.outputs() == recipe.outputs).then_some((service.adaptive, service.extension));
    let candidate = train_extension(recipe, service.main, start, &training, device)?;
    let trained = EdgeNetwork::load(EdgeBlobs {
        main: service.main,
        adaptive: &candidate.adaptive,
        extension: &candidate.extension,
    })
    .context(WeightsSnafu)?;
    let table = run(&trained, trained.outputs(), &selection.0)?;
    let table = select_by_gain(&table).map_err(|e| TrainError::Data {
        reason: e.to_string(),
    })?;
    let in_service = run(&network, hard_classes, &judgement.0)?;
    let (baseline, main_accuracy) = (report(&in_service, routing)?, in_service.main_accuracy());
    let report = report(&run(&trained, &table, &judgement.0)?, routing)?;
    info!(
        candidate = report.accuracy,
        in_service = baseline.accuracy,
        main = main_accuracy,
        hard = table.len(),
        images = judgement.0.len(),
        "judged"
    );
    Ok(Retrained {
        candidate,
        hard_classes: table,
        report,
        baseline,
        main_accuracy,
    })
}

fn run(network: &EdgeNetwork, hard_classes: &[u32], images: &Images) -> Result<Outputs, TrainError> {
    outputs(network, hard_classes, None, images).map_err(|e| TrainError::Data {
        reason: e.to_string(),
    })
}

fn report(outputs: &Outputs, routing: &Routing) -> Result<Report, TrainError> {
    outputs.report(routing).map_err(|e| TrainError::Data {
        reason: e.to_string(),
    })
}
