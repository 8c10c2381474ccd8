//! `meanet train job`: retrains adaptive and extension blocks on what the store has collected, and reports.

use std::error::Error;
use std::path::PathBuf;

use meanet_crds::report::JobReport;
use meanet_crds::revision::{Evaluation, MEANetRevisionSpec, Weights};
use meanet_data::{Images, Shuffle, Source, Training};
use meanet_net::train::{ExtensionRecipe, InService, Material, Optimisation, retrain};
use meanet_net::{Backend, EdgeBlobs, read_card};
use meanet_store::{Blobs, Sample, datasets, read_samples};
use tracing::info;

use crate::edge::{precision, routing};
use crate::report::{self, TERMINATION_LOG};

/// Largest blob in bytes.
const MAX_BLOB: u64 = 1 << 30;

/// What is trained, on what, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Name of the `MEANetDeployment` whose samples are used.
    #[arg(long, env = "MEANET_DEPLOYMENT")]
    pub deployment: String,
    /// Root of the store.
    #[arg(long, env = "MEANET_STORE")]
    pub store: PathBuf,
    /// The revision in service, `MEANetRevisionSpec` as JSON.
    #[arg(long, env = "MEANET_REVISION")]
    pub revision: String,
    /// Data set below `datasets/` of the store, trained on besides the samples.
    #[arg(long, env = "MEANET_DATASET")]
    pub dataset: Option<String>,
    /// Passes over the images.
    #[arg(long, env = "MEANET_EPOCHS", default_value_t = 5)]
    pub epochs: usize,
    /// Images a step.
    #[arg(long, env = "MEANET_BATCH_SIZE", default_value_t = 64)]
    pub batch_size: usize,
    /// Peak learning rate. Without it 0.0007 where the blocks in service are trained on, 0.05 where training begins anew, as their extension
    /// does not have all classes.
    #[arg(long, env = "MEANET_LEARNING_RATE")]
    pub learning_rate: Option<f64>,
    /// Images used at most: those that people labelled first, then those that the cloud did.
    #[arg(long, env = "MEANET_MAX_SAMPLES", default_value_t = 10_000)]
    pub max_samples: usize,
    /// Seed of everything random.
    #[arg(long, env = "MEANET_SEED", default_value_t = 0)]
    pub seed: u64,
    /// What computes: engine or flex, or torch or cuda where they were built in.
    #[arg(long, env = "MEANET_BACKEND", default_value = "engine")]
    pub backend: Backend,
    /// File for the report.
    #[arg(long, env = "MEANET_REPORT", default_value = TERMINATION_LOG)]
    pub report: PathBuf,
}

/// Retrains and reports; what went wrong is in the report as well.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let result = train(args);
    let said = match &result {
        Ok(report) => report.clone(),
        Err(error) => JobReport::Failed {
            message: report::words(error.as_ref()),
        },
    };
    report::write(&args.report, &said)
        .map_err(|e| format!("failed to write {}: {e}", args.report.display()))?;
    result.map(|_| ())
}

fn train(args: &Args) -> Result<JobReport, Box<dyn Error>> {
    let spec: MEANetRevisionSpec =
        serde_json::from_str(&args.revision).map_err(|e| format!("failed to read --revision: {e}"))?;
    let store = Blobs::open(&args.store)?;
    let get = |name: &str| -> Result<Vec<u8>, Box<dyn Error>> { Ok(store.get(&name.parse()?, MAX_BLOB)?) };
    let (main, adaptive, extension) = (
        get(&spec.weights.main)?,
        get(&spec.weights.adaptive)?,
        get(&spec.weights.extension)?,
    );
    let card = read_card(&extension)?;
    let mut material = material(args, card.input.height, card.input.width, card.classes)?;
    let defaults = ExtensionRecipe::retraining(&card);
    let recipe = ExtensionRecipe {
        epochs: args.epochs,
        optimisation: Optimisation {
            batch_size: args.batch_size,
            learning_rate: args.learning_rate.unwrap_or(defaults.optimisation.learning_rate),
            ..defaults.optimisation
        },
        seed: args.seed,
        ..defaults
    };
    let blobs = EdgeBlobs {
        main: &main,
        adaptive: &adaptive,
        extension: &extension,
    };
    let table = spec
        .hard_classes
        .iter()
        .map(|&class| u32::try_from(class))
        .collect::<Result<Vec<_>, _>>()?;
    let processor = args.backend.processor()?;
    let mut cloud = spec.weights.cloud.clone();
    if let Some(digest) = &mut cloud {
        let blob = get(digest)?;
        if let Some(domain) = material.relabel(&blob, args.seed, &processor)? {
            *digest = store.put_bytes(&domain.onto(&blob)?)?.to_string();
        }
    }
    let service = InService {
        blobs,
        hard_classes: &table,
        routing: &routing(&spec.routing)?,
        precision: precision(spec.model.precision),
    };
    let trained = retrain(&recipe, &service, &material, &processor)?;
    let weights = Weights {
        main: spec.weights.main.clone(),
        adaptive: store.put_bytes(&trained.candidate.adaptive)?.to_string(),
        extension: store.put_bytes(&trained.candidate.extension)?.to_string(),
        cloud,
    };
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    Ok(JobReport::Succeeded {
        weights,
        hard_classes: trained
            .hard_classes
            .iter()
            .map(|&class| i32::try_from(class))
            .collect::<Result<_, _>>()?,
        evaluation: Some(Evaluation {
            samples: count(trained.report.samples),
            accuracy: trained.report.accuracy,
            baseline_accuracy: Some(trained.baseline.accuracy),
            margin_of_error: Some(trained.change.reach),
            main_accuracy: Some(trained.main_accuracy),
            trained_on: Some(count(trained.candidate.trained_on)),
            seconds: Some(trained.candidate.seconds),
        }),
    })
}

/// What people labelled first, samples as well as the data set, then what the cloud labelled, the newest first; at most
/// `max_samples` together.
fn material(args: &Args, height: usize, width: usize, classes: usize) -> Result<Material, Box<dyn Error>> {
    let samples = read_samples(&args.store, &args.deployment, args.max_samples)?;
    let usable = |sample: &&Sample, label: Option<u32>| {
        (sample.height as usize, sample.width as usize) == (height, width)
            && label.is_some_and(|label| (label as usize) < classes)
    };
    let mut labelled = Images::empty(height, width);
    for sample in samples.iter().filter(|sample| usable(sample, sample.feedback)) {
        labelled.push(&sample.pixels, sample.feedback.unwrap_or_default());
    }
    if let Some(name) = &args.dataset {
        let path = datasets::resolve(&args.store, name)?;
        let Training(set) = Source::find(Some(&path))?.training(height, width)?;
        if let Some(label) = set.labels.iter().find(|&&label| label as usize >= classes) {
            return Err(format!("the data set {name} has a class {label}; the model knows {classes}").into());
        }
        let mut chosen = Shuffle::new(args.seed).epoch(set.len());
        chosen.truncate(args.max_samples.saturating_sub(labelled.len()));
        labelled = labelled.concat(&set.select(&chosen));
    }
    let mut collected = Images::empty(height, width);
    let mut confidences = Vec::new();
    let unlabelled = samples
        .iter()
        .rev()
        .filter(|sample| sample.feedback.is_none() && usable(sample, sample.cloud_label));
    for sample in unlabelled.take(args.max_samples.saturating_sub(labelled.len())) {
        collected.push(&sample.pixels, sample.cloud_label.unwrap_or_default());
        confidences.push(sample.cloud_confidence.clamp(0.0, 1.0));
    }
    info!(
        labelled = labelled.len(),
        collected = collected.len(),
        "images to retrain on"
    );
    Ok(Material {
        labelled: Training(labelled),
        collected: Training(collected),
        confidences,
    })
}
