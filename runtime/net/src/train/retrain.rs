//! What a retraining job does: a candidate, and how it compares with what is in service.

use meanet_data::{Images, Training, shares};
use meanet_method::{Difference, Routing};
use snafu::{ResultExt, ensure};
use tracing::info;

use crate::backend::Processor;
use crate::domain::Domain;
use crate::edge::{EdgeBlobs, EdgeNetwork};
use crate::evaluate::Report;
use crate::lower::Compute;
use crate::precision::Precision;
use crate::train::domain::follow;
use crate::train::extension::{Examples, ExtensionRecipe, TrainedExtension, train_extension};
use crate::train::run::{DataSnafu, TrainError, WeightsSnafu};
use crate::train::settle::{Settled, Settling, answers, report, run, settle};
use crate::weights::read_card;

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
    /// How sure the cloud was of each of these, in 0..=1. An image that it was unsure of teaches less about its class.
    pub confidences: Vec<f32>,
}

impl Material {
    /// Images with labels that people gave.
    #[must_use]
    pub fn of_people(images: Images) -> Self {
        Self {
            collected: Training(Images::empty(images.height, images.width)),
            labelled: Training(images),
            confidences: Vec::new(),
        }
    }

    /// All images, whoever labelled them; first those that people did.
    #[must_use]
    pub fn all(&self) -> Training {
        Training(self.labelled.0.clone().concat(&self.collected.0))
    }
}

/// What a candidate is to replace.
#[derive(Clone, Copy, Debug)]
pub struct InService<'a> {
    /// Its blobs.
    pub blobs: EdgeBlobs<'a>,
    /// Its table of hard classes.
    pub hard_classes: &'a [u32],
    /// How inputs leave; nothing is sent to the cloud when it is judged.
    pub routing: &'a Routing,
    /// What edges compute in: so it is judged, and so is the candidate.
    pub precision: Precision,
}

/// What a candidate is trained on, chosen by and judged by.
struct Shares {
    training: Training,
    /// How likely the label of each image to train on is.
    confidences: Vec<f32>,
    /// Images whose labels are as sure as those of the judgement, which the domain is chosen on.
    sure: Training,
    selection: Training,
    judgement: Training,
}

/// A candidate and what speaks for it. Both reports are on the same images, which neither the candidate's training nor the
/// choice of its hard classes has seen.
#[derive(Clone, Debug)]
pub struct Retrained {
    /// The candidate.
    pub candidate: TrainedExtension,
    /// Whether its domain is another than that in service.
    pub moved: bool,
    /// The classes for which it pays to ask it.
    pub hard_classes: Vec<u32>,
    /// The candidate's edge by itself.
    pub report: Report,
    /// The edge in service by itself.
    pub baseline: Report,
    /// From the one to the other.
    pub change: Difference,
    /// The main exit alone.
    pub main_accuracy: f64,
}

/// A third of what is judged by chooses the hard classes, a third judges; the rest, and what the cloud labelled, is
/// learnt from. Few true labels judge together with the cloud's.
fn share_out(material: &Material, seed: u64) -> Result<Shares, TrainError> {
    let Material {
        labelled: Training(labelled),
        collected: Training(collected),
        confidences,
    } = material;
    ensure!(
        confidences.len() == collected.len(),
        DataSnafu {
            reason: format!(
                "{} images of the cloud's have {} confidences",
                collected.len(),
                confidences.len()
            )
        }
    );
    let Training(all) = material.all();
    let sure = |image: usize| match image.checked_sub(labelled.len()) {
        Some(of_cloud) => confidences[of_cloud],
        None => 1.0,
    };
    let count = if labelled.len() >= ENOUGH {
        labelled.len()
    } else {
        all.len()
    };
    ensure!(
        count >= FEWEST,
        DataSnafu {
            reason: format!("{count} images are too few to train and to judge; collect {FEWEST} at least")
        }
    );
    let mut parts = shares(count, &[count / 6, count / 6], seed).into_iter();
    let mut part = || parts.next().unwrap_or_default();
    let [selection, judgement, rest] = [part(), part(), part()];
    let [sure_ones, selection, judgement] =
        [[&rest[..], &selection].concat(), selection, judgement].map(|part| Training(all.select(&part)));
    let training: Vec<usize> = rest.into_iter().chain(count..all.len()).collect();
    Ok(Shares {
        training: Training(all.select(&training)),
        confidences: training.into_iter().map(sure).collect(),
        sure: sure_ones,
        selection,
        judgement,
    })
}

/// Trains a candidate for the blocks in service, beginning with these where they have the recipe's outputs; chooses the
/// classes to route to it; and measures both with nothing sent to the cloud.
pub fn retrain(
    recipe: &ExtensionRecipe,
    service: &InService<'_>,
    material: &Material,
    processor: &Processor,
) -> Result<Retrained, TrainError> {
    let InService {
        blobs: service,
        hard_classes,
        routing,
        precision,
    } = *service;
    let Shares {
        training,
        confidences,
        sure,
        selection,
        judgement,
    } = share_out(material, recipe.seed)?;
    let network = EdgeNetwork::load_as(service, precision, Compute::default()).context(WeightsSnafu)?;
    let current = Domain::of(service.adaptive).context(WeightsSnafu)?;
    let domain = follow(
        service.main,
        current.clone(),
        &training.0,
        &sure.0,
        recipe.seed,
        processor,
    )?;
    let moved = domain != current;
    let examples = Examples {
        confidences: &confidences,
        domain: Some(&domain),
        start: (network.outputs() == recipe.outputs).then_some((service.adaptive, service.extension)),
        ..Examples::of(&training)
    };
    let mut candidate = train_extension(recipe, service.main, &examples, None, processor)?;
    // A model that can be run in 8 bits stays one.
    let ranged = !read_card(service.main).context(WeightsSnafu)?.ranges.is_empty();
    let settled = settle(
        &Settling {
            main: service.main,
            from: examples.start,
            precision,
            ranges_of: ranged.then_some(&training.0),
            routing,
            hard_classes: examples.start.map(|_| hard_classes),
            moved: moved && examples.start.is_some(),
            selection: &selection.0,
        },
        &candidate,
    )?;
    let Settled {
        network: trained,
        hard_classes: table,
        taken,
        ..
    } = settled;
    (candidate.adaptive, candidate.extension) = (settled.adaptive, settled.extension);
    let in_service = run(&network, hard_classes, &judgement.0)?;
    let (baseline, main_accuracy) = (report(&in_service, routing)?, in_service.main_accuracy());
    let after = run(&trained, &table, &judgement.0)?;
    let report = report(&after, routing)?;
    let change = Difference::between(&answers(&in_service, routing)?, &answers(&after, routing)?);
    info!(
        candidate = report.accuracy,
        in_service = baseline.accuracy,
        margin_of_error = change.reach,
        main = main_accuracy,
        hard = table.len(),
        ?taken,
        colours = domain.input != current.input,
        norms = domain.norms != current.norms,
        images = judgement.0.len(),
        "judged"
    );
    Ok(Retrained {
        candidate,
        moved,
        hard_classes: table,
        report,
        baseline,
        change,
        main_accuracy,
    })
}
