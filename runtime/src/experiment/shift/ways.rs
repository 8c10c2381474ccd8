//! Ways to follow a shift: adaptive and extension block, as the retraining job does it, and what it has to be better than.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use meanet_data::{Images, Shift, Training, split};
use meanet_method::{ExtensionRule, by_entropy};
use meanet_net::train::{
    ExtensionRecipe, HeadRecipe, InService, Lessons, Material, Optimisation, Recipe, Run, Stage,
    classifier_of, reestimate_norms, retrain, retrain_head, train_classifier,
};
use meanet_net::{Block, Domain, EdgeBlobs, Manifest, Precision, read_card};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::answers::{of_classifier, of_edge};
use crate::experiment::Args;
use crate::experiment::setup::{Identity, Setup};
use crate::machine::cpu_seconds;

/// Raised when a retraining by the same recipe, or what the cloud labels, gives something else.
pub(super) const RETRAINING: u32 = 3;
/// Bytes of mean and standard deviation of three colours.
const COLOURS: u64 = 24;

/// What is adapted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::experiment) enum Way {
    /// The colours that images are normalised by.
    Colours,
    /// Statistics of the main block's batch norms.
    Norms,
    /// The last layer of the main block.
    Head,
    /// Adaptive and extension block and the table of hard classes.
    Extension,
    /// The whole main block, which is then asked alone.
    Everything,
}

/// Where labels come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::experiment) enum Labels {
    /// None are needed.
    None,
    /// From people: they are right.
    True,
    /// From the cloud's predictions.
    Cloud,
}

impl Way {
    pub(in crate::experiment) const fn as_str(self) -> &'static str {
        match self {
            Self::Colours => "colours re-estimated",
            Self::Norms => "batch norms re-estimated",
            Self::Head => "classifier retrained",
            Self::Extension => "adaptive + extension retrained",
            Self::Everything => "everything retrained",
        }
    }

    /// For a legend.
    pub(in crate::experiment) const fn short(self) -> &'static str {
        match self {
            Self::Colours => "colours",
            Self::Norms => "norms",
            Self::Head => "classifier",
            Self::Extension => "extension",
            Self::Everything => "everything",
        }
    }

    /// Work of one try, where running the model over the test images is 1.
    pub(super) const fn work(self) -> f64 {
        match self {
            Self::Colours => 1.0,
            Self::Norms | Self::Head => 3.0,
            Self::Extension => 5.0,
            Self::Everything => 15.0,
        }
    }
}

impl Labels {
    pub(in crate::experiment) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "no labels",
            Self::True => "true labels",
            Self::Cloud => "the cloud's labels",
        }
    }

    /// For a legend.
    pub(in crate::experiment) const fn short(self) -> &'static str {
        match self {
            Self::None => "no labels",
            Self::True => "true",
            Self::Cloud => "cloud's",
        }
    }
}

/// All that an adaptation depends on.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Plan {
    identity: Identity,
    shift: String,
    way: Way,
    labels: Labels,
    labelled: usize,
    /// Test images that are counted.
    counted: usize,
    epochs: usize,
    /// Of an extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    recipe: Option<ExtensionRecipe>,
    /// Of an extension, or of labels of the cloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    /// Backends round differently.
    backend: String,
    seed: u64,
}

impl Plan {
    pub(super) fn new(
        setup: &Setup,
        args: &Args,
        counted: usize,
        (shift, way, labels): (Shift, Way, Labels),
    ) -> Result<Self, Box<dyn Error>> {
        // As the retraining job's defaults are.
        let defaults = ExtensionRecipe::retraining(&read_card(&setup.subject.blobs.extension)?);
        let recipe = ExtensionRecipe {
            epochs: args.epochs,
            seed: setup.seed,
            ..defaults
        };
        Ok(Self {
            identity: setup.identity.clone(),
            shift: shift.to_string(),
            way,
            labels,
            labelled: args.labelled,
            counted,
            epochs: args.epochs,
            recipe: (way == Way::Extension).then_some(recipe),
            version: (way == Way::Extension || labels == Labels::Cloud).then_some(RETRAINING),
            backend: args.backend.to_string(),
            seed: setup.seed,
        })
    }
}

/// What an adaptation gave: which answers are right afterwards.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Adapted {
    pub(super) shifted: Vec<bool>,
    pub(super) unshifted: Vec<bool>,
    pub(super) shipped_bytes: u64,
    pub(super) cpu_seconds: f64,
    /// Whether the gate of a deployment, as it is by default, lets it pass; absent where it is no candidate of a retraining.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) accepted: Option<bool>,
}

/// Adapts the model and asks it about both sets of test images, shifted and not. `place` is a folder for checkpoints.
pub(super) fn adapt(
    setup: &Setup,
    plan: &Plan,
    learned_from: &Material,
    place: &Path,
    [shifted, unshifted]: [&Images; 2],
) -> Result<Adapted, Box<dyn Error>> {
    let blobs = &setup.subject.blobs;
    let processor = setup.backend.processor()?;
    let images = learned_from.all();
    let began = cpu_seconds()?;
    let whole = |main: &[u8], cpu_seconds: f64| -> Result<Adapted, Box<dyn Error>> {
        let classifier = classifier_of(main)?;
        Ok(Adapted {
            shifted: of_classifier(&classifier, shifted)?,
            unshifted: of_classifier(&classifier, unshifted)?,
            shipped_bytes: changed_bytes(&blobs.main, main)?,
            cpu_seconds,
            accepted: None,
        })
    };
    match plan.way {
        Way::Colours => {
            let trained = Domain::trained(&blobs.main)?;
            let domain = Domain {
                input: trained.input.of(&images.0),
                ..trained
            };
            let main = domain.onto(&blobs.main)?;
            let adapted = whole(&main, cpu_seconds()? - began)?;
            Ok(Adapted {
                shipped_bytes: COLOURS,
                ..adapted
            })
        }
        Way::Norms => {
            let trained = Domain::trained(&blobs.main)?;
            let norms = reestimate_norms(&blobs.main, &trained.input, &images.0, plan.seed, &processor)?;
            let domain = Domain { norms, ..trained };
            whole(&domain.onto(&blobs.main)?, cpu_seconds()? - began)
        }
        Way::Head => {
            let recipe = HeadRecipe {
                // Its features are computed once, so that it can be trained until it stands still.
                epochs: 30,
                batch_size: 64,
                learning_rate: 0.05,
                weight_decay: 5e-4,
                seed: plan.seed,
            };
            let main = retrain_head(&recipe, &blobs.main, &images, &processor)?;
            whole(&main, cpu_seconds()? - began)
        }
        Way::Everything => {
            let main = everything(setup, plan, &images, place)?;
            whole(&main, cpu_seconds()? - began)
        }
        Way::Extension => {
            let recipe = plan
                .recipe
                .clone()
                .ok_or("an extension is retrained by a recipe")?;
            let service = InService {
                blobs: blobs.edge(),
                hard_classes: &setup.subject.manifest.hard_classes,
                routing: &by_entropy(None, ExtensionRule::Extension),
                precision: Precision::Float32,
            };
            let trained = retrain(&recipe, &service, learned_from, &processor)?;
            let cpu_seconds = cpu_seconds()? - began;
            let edge = EdgeBlobs {
                main: &blobs.main,
                adaptive: &trained.candidate.adaptive,
                extension: &trained.candidate.extension,
            };
            Ok(Adapted {
                shifted: of_edge(edge, &trained.hard_classes, shifted)?,
                unshifted: of_edge(edge, &trained.hard_classes, unshifted)?,
                shipped_bytes: (edge.adaptive.len() + edge.extension.len()) as u64,
                cpu_seconds,
                accepted: Some(!trained.change.may_be_loss()),
            })
        }
    }
}

/// The whole main block, trained on from where it is; a tenth of the images is watched, nothing is chosen by it.
fn everything(
    setup: &Setup,
    plan: &Plan,
    learned_from: &Training,
    place: &Path,
) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut recipe = whole_recipe(&setup.subject.manifest, plan.epochs, plan.seed);
    let mut parts = split(learned_from, &[learned_from.0.len() / 10], plan.seed).into_iter();
    let (Some(holdout), Some(training)) = (parts.next(), parts.next()) else {
        return Err("failed to share out the images".into());
    };
    let batch_size = &mut recipe.optimisation.batch_size;
    *batch_size = training.0.len().min(*batch_size);
    let run = Run::open(place, &recipe)?;
    let start = classifier_of(&setup.subject.blobs.main)?;
    let processor = setup.backend.processor()?;
    let lessons = Lessons {
        training: &training,
        holdout: &holdout,
        start: Some(&start),
        teacher: None,
    };
    let trained = train_classifier(&recipe, &lessons, &run, &processor)?;
    Ok(trained.blob(Block::Main)?)
}

/// How the whole main block is trained on.
fn whole_recipe(manifest: &Manifest, epochs: usize, seed: u64) -> Recipe {
    Recipe {
        stages: vec![Stage {
            side: manifest.input.height,
            epochs,
        }],
        optimisation: Optimisation {
            batch_size: 64,
            learning_rate: 0.02,
            ..Optimisation::default()
        },
        seed,
        ..Recipe::new(manifest.backbone, manifest.classes, manifest.input.clone())
    }
}

/// Bytes of those tensors of `new` that are not as in `old`.
fn changed_bytes(old: &[u8], new: &[u8]) -> Result<u64, Box<dyn Error>> {
    let (old, new) = (SafeTensors::deserialize(old)?, SafeTensors::deserialize(new)?);
    let old: BTreeMap<String, _> = old.tensors().into_iter().collect();
    let changed = new
        .tensors()
        .into_iter()
        .filter(|(key, view)| old.get(key).is_none_or(|before| before.data() != view.data()))
        .map(|(_, view)| view.data().len() as u64);
    Ok(changed.sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::{Dtype, TensorView};

    #[test]
    fn only_what_changed_is_shipped() {
        let blob = |second: f32| {
            let values = [1.0_f32.to_le_bytes(), second.to_le_bytes()];
            let views = values.iter().enumerate().map(|(i, bytes)| {
                (
                    i.to_string(),
                    TensorView::new(Dtype::F32, vec![1], bytes).unwrap(),
                )
            });
            safetensors::serialize(views, None).unwrap()
        };
        assert_eq!(changed_bytes(&blob(2.0), &blob(2.0)).unwrap(), 0);
        assert_eq!(changed_bytes(&blob(2.0), &blob(3.0)).unwrap(), 4);
    }
}
