//! `meanet train package`: puts trained blocks into one folder, with a manifest.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use meanet_data::Images;
use meanet_method::ExtensionRule;
use meanet_method::calibration::fit_temperature;
use meanet_net::evaluate::{by_entropy, outputs};
use meanet_net::train::Classifier;
use meanet_net::{
    Block, CloudNetwork, EdgeNetwork, Manifest, ManifestEvaluation, ModelBlobs, Temperatures, read_card,
};
use tracing::info;

use super::calibrate::calibrated;
use super::extension::{ADAPTIVE, EXTENSION, REPORT, Report};
use super::{DataArgs, network, read};

/// See the help of each argument.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Run of the main block.
    #[arg(long)]
    main: PathBuf,
    /// Folder of the extension.
    #[arg(long)]
    extension: PathBuf,
    /// The cloud's network: a run, or the blob of one.
    #[arg(long)]
    cloud: Option<PathBuf>,
    /// Folder of the model.
    #[arg(long)]
    out: PathBuf,
}

/// Writes the model and prints its digest.
pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let main = Classifier::from_run(&args.main)?;
    let blobs = ModelBlobs {
        main: main.blob(Block::Main)?,
        adaptive: blob(&args.extension, ADAPTIVE)?,
        extension: blob(&args.extension, EXTENSION)?,
        cloud: args.cloud.as_deref().map(network).transpose()?,
    };
    let parts = read(&args.data, &read_card(&blobs.main)?.input)?;
    let report: Report = serde_json::from_slice(&blob(&args.extension, REPORT)?)?;
    let mut temperatures = temperatures(&blobs, &report.hard_classes, &parts.selection.0)?;
    if args.cloud.as_ref().is_some_and(|path| path.is_file()) {
        // A blob was divided when it was packaged; as it is, models can share it.
        temperatures.cloud = 1.0;
    }
    info!(?temperatures, "logits divided");
    let blobs = calibrated(blobs.at(temperatures)?, &parts.training.0)?;
    let edge = EdgeNetwork::load(blobs.edge())?;
    let cloud = blobs.cloud.as_deref().map(CloudNetwork::load).transpose()?;
    let outputs = outputs(&edge, &report.hard_classes, cloud.as_ref(), &parts.measure.0)?;
    let alone = outputs.report(&by_entropy(None, ExtensionRule::Extension))?;
    let manifest = Manifest {
        backbone: edge.card().backbone,
        variant: edge.card().variant,
        classes: edge.classes(),
        input: edge.input().clone(),
        weights: blobs.digests(),
        cloud_backbone: blobs
            .cloud
            .as_deref()
            .map(read_card)
            .transpose()?
            .map(|card| card.backbone),
        hard_classes: report.hard_classes,
        evaluation: Some(ManifestEvaluation {
            samples: alone.samples,
            accuracy: alone.accuracy,
            main_accuracy: outputs.main_accuracy(),
            cloud_accuracy: outputs.cloud_accuracy(),
        }),
    };
    println!("{}", manifest.write(&args.out, &blobs)?);
    Ok(())
}

/// What the blobs' logits have to be divided by to be as sure as they are right, on held-out images.
fn temperatures(
    blobs: &ModelBlobs,
    hard_classes: &[u32],
    held_out: &Images,
) -> Result<Temperatures, Box<dyn Error>> {
    let edge = EdgeNetwork::load(blobs.edge())?;
    let cloud = blobs.cloud.as_deref().map(CloudNetwork::load).transpose()?;
    let said = outputs(&edge, hard_classes, cloud.as_ref(), held_out)?;
    let fit = |logits: &[Vec<f32>], index: &dyn Fn(u32) -> Option<usize>| {
        let rows = logits.iter().zip(&said.labels);
        let rows: Vec<_> = rows.map(|(row, &label)| (&row[..], index(label))).collect();
        fit_temperature(&rows)
    };
    let class = |label: u32| Some(label as usize);
    Ok(Temperatures {
        main: fit(&said.main, &class),
        extension: fit(&said.extension, &|label| {
            edge.outputs().binary_search(&label).ok()
        }),
        cloud: fit(&said.cloud, &class),
    })
}

fn blob(folder: &Path, name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let path = folder.join(name);
    fs::read(&path).map_err(|e| {
        format!(
            "failed to read {}: {e}; train the extension first",
            path.display()
        )
        .into()
    })
}
