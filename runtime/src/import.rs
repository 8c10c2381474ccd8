//! `meanet import`: brings first weights into the store, checks them, and reports them.

use std::error::Error;
use std::path::{Path, PathBuf};

use meanet_crds::report::JobReport;
use meanet_crds::revision::{Evaluation, Weights};
use meanet_method::HardClasses;
use meanet_net::{CloudNetwork, EdgeNetwork, Manifest, ModelBlobs};
use meanet_store::{Blobs, Digest};
use tracing::info;

use crate::report::{self, TERMINATION_LOG};

/// Largest manifest and largest blob in bytes.
const MAX_MANIFEST: u64 = 4 << 20;
const MAX_BLOB: u64 = 1 << 30;

/// What is brought, and what it should be.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Root of the store.
    #[arg(long, env = "MEANET_STORE")]
    pub store: PathBuf,
    /// Folder of models that came with the image: each in a folder of its own, or blobs below `blobs/sha256`.
    #[arg(long, env = "MEANET_SEED")]
    pub seed: PathBuf,
    /// Digest of the model's manifest.
    #[arg(long, env = "MEANET_DIGEST")]
    pub digest: Digest,
    /// Backbone that the deployment declares.
    #[arg(long, env = "MEANET_BACKBONE")]
    pub backbone: String,
    /// Variant that the deployment declares.
    #[arg(long, env = "MEANET_VARIANT", default_value = "Extend")]
    pub variant: String,
    /// Classes that the deployment declares.
    #[arg(long, env = "MEANET_CLASSES")]
    pub classes: usize,
    /// File for the report.
    #[arg(long, env = "MEANET_REPORT", default_value = TERMINATION_LOG)]
    pub report: PathBuf,
}

/// Imports and reports; what went wrong is in the report as well.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let result = import(args);
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

fn import(args: &Args) -> Result<JobReport, Box<dyn Error>> {
    let store = Blobs::open(&args.store)?;
    let seeds = seeds(&args.seed);
    let bytes = bring(
        &store,
        &seeds,
        &args.digest,
        MAX_MANIFEST,
        "the manifest of the model",
    )?;
    let manifest = Manifest::parse(&bytes)?;
    let declared = [
        ("backbone", manifest.backbone.to_string(), args.backbone.clone()),
        ("variant", format!("{:?}", manifest.variant), args.variant.clone()),
        ("classes", manifest.classes.to_string(), args.classes.to_string()),
    ];
    for (field, found, wanted) in declared {
        if found != wanted {
            return Err(format!(
                "spec.model.{field} is {wanted}, but the weights in {} are of {found}: change one of them",
                args.digest
            )
            .into());
        }
    }
    let get = |name: &str, what: &str| -> Result<Vec<u8>, Box<dyn Error>> {
        bring(&store, &seeds, &name.parse()?, MAX_BLOB, what)
    };
    let weights = &manifest.weights;
    let blobs = ModelBlobs {
        main: get(&weights.main, "the main block")?,
        adaptive: get(&weights.adaptive, "the adaptive block")?,
        extension: get(&weights.extension, "the extension block")?,
        cloud: weights
            .cloud
            .as_deref()
            .map(|name| get(name, "the cloud's network"))
            .transpose()?,
    };
    // Loading checks names, shapes and finiteness, and makes one inference.
    let edge = EdgeNetwork::load(blobs.edge())?;
    HardClasses::new(&manifest.hard_classes, edge.outputs(), edge.classes())?;
    if edge.classes() != manifest.classes {
        return Err(format!(
            "the manifest says {} classes, the main block has {}: package the model again",
            manifest.classes,
            edge.classes()
        )
        .into());
    }
    if let Some(cloud) = blobs.cloud.as_deref().map(CloudNetwork::load).transpose()?
        && (cloud.classes() != edge.classes() || !cloud.input().is_sized_as(edge.input()))
    {
        return Err("the cloud's network takes other images or knows other classes than the edge's: package the model again".into());
    }
    info!(model = %args.digest, "checked and in the store");
    Ok(JobReport::Succeeded {
        weights: Weights {
            main: weights.main.clone(),
            adaptive: weights.adaptive.clone(),
            extension: weights.extension.clone(),
            cloud: weights.cloud.clone(),
        },
        hard_classes: manifest
            .hard_classes
            .iter()
            .map(|&class| i32::try_from(class))
            .collect::<Result<_, _>>()?,
        evaluation: manifest.evaluation.map(|e| Evaluation {
            samples: i64::try_from(e.samples).unwrap_or(i64::MAX),
            accuracy: e.accuracy,
            main_accuracy: Some(e.main_accuracy),
            ..Evaluation::default()
        }),
    })
}

/// The seed folder and the folders in it.
fn seeds(seed: &Path) -> Vec<PathBuf> {
    let mut folders = vec![seed.to_owned()];
    let inner = std::fs::read_dir(seed)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|e| e.path());
    folders.extend(inner.filter(|path| path.is_dir()));
    folders.sort();
    folders
}

/// A blob of the store; if it is not there, of one of the seeds.
fn bring(
    store: &Blobs,
    seeds: &[PathBuf],
    digest: &Digest,
    max: u64,
    what: &str,
) -> Result<Vec<u8>, Box<dyn Error>> {
    if store.contains(digest) {
        match store.get(digest, max) {
            // What was damaged on disk is brought again.
            Err(meanet_store::BlobError::Mismatch { .. }) => store.remove(digest)?,
            found => return Ok(found?),
        }
    }
    for seed in seeds {
        let manifest = seed.join("manifest.json");
        let path = if Digest::of(&std::fs::read(&manifest).unwrap_or_default()) == *digest {
            manifest
        } else {
            Blobs::below(seed).path(digest)
        };
        if let Ok(file) = std::fs::File::open(&path) {
            store.put(digest, file, max)?;
            return Ok(store.get(digest, max)?);
        }
    }
    Err(format!(
        "failed to find {what}, {digest}, in the store and among the models of the image: put its blobs into blobs/sha256 of the claim, \
         or name the digest of a model that is there"
    )
    .into())
}
