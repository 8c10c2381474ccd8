//! `meanet eval`: what a model is worth on test images, exit by exit.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use meanet_data::{Source, Test};
use meanet_method::ExtensionRule;
use meanet_net::evaluate::{Report, by_entropy, outputs};
use meanet_net::{CloudNetwork, Cost, EdgeCost, EdgeNetwork, Manifest};
use serde::Serialize;

/// Measures a model on test images.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder with manifest.json and blobs.
    #[arg(long)]
    model: PathBuf,
    /// Data set: cifar-100-binary.tar.gz or a folder with test images. Without one the project draws its own.
    #[arg(long, env = "MEANET_DATA")]
    data: Option<PathBuf>,
    /// Entropies of the main exit, in nats, above which images go to the cloud.
    #[arg(long, value_delimiter = ',', default_value = "0.5,0.9,1.3,1.7,2.1,2.5")]
    offload_above: Vec<f32>,
    /// Let the extension answer only where it is surer than the main exit.
    #[arg(long)]
    more_confident: bool,
    /// Measure the first N images only.
    #[arg(long)]
    limit: Option<usize>,
    /// Write the figures here, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Evaluation {
    model: String,
    data: String,
    samples: usize,
    main_accuracy: f64,
    cloud_accuracy: Option<f64>,
    edge_cost: EdgeCost,
    cloud_cost: Option<Cost>,
    routings: Vec<RoutingLine>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RoutingLine {
    /// Absent: nothing goes to the cloud.
    offload_above: Option<f32>,
    /// Multiply-accumulates of the edge, per image.
    edge_macs: f64,
    report: Report,
}

/// Runs the sub-command.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let (manifest, digest, blobs) = Manifest::open(&args.model)?;
    let edge = EdgeNetwork::load(blobs.edge())?;
    let cloud = blobs.cloud.as_deref().map(CloudNetwork::load).transpose()?;
    let source = Source::find(args.data.as_deref())?;
    let Test(mut images) = source.test(manifest.input.height, manifest.input.width)?;
    if let Some(limit) = args.limit {
        images = images.select(&(0..limit.min(images.len())).collect::<Vec<_>>());
    }
    let outputs = outputs(&edge, cloud.as_ref(), &images)?;
    let rule = if args.more_confident {
        ExtensionRule::MoreConfident
    } else {
        ExtensionRule::Extension
    };
    let cost = edge.cost();
    let thresholds = std::iter::once(None).chain(
        args.offload_above
            .iter()
            .copied()
            .map(Some)
            .filter(|_| cloud.is_some()),
    );
    let routings = thresholds
        .map(|offload_above| {
            let report = outputs.report(&by_entropy(offload_above, rule))?;
            let extended: f64 = report
                .exits
                .iter()
                .filter(|e| e.exit.as_str() == "extension")
                .map(|e| e.share)
                .sum();
            let edge_macs =
                cost.main.macs as f64 + extended * (cost.adaptive.macs + cost.extension.macs) as f64;
            Ok(RoutingLine {
                offload_above,
                edge_macs,
                report,
            })
        })
        .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let evaluation = Evaluation {
        model: digest,
        data: source.describe(),
        samples: images.len(),
        main_accuracy: outputs.main_accuracy(),
        cloud_accuracy: outputs.cloud_accuracy(),
        edge_cost: cost,
        cloud_cost: cloud.as_ref().map(CloudNetwork::cost),
        routings,
    };
    print(&evaluation);
    if let Some(path) = &args.json {
        fs::write(path, serde_json::to_vec_pretty(&evaluation)?)?;
    }
    Ok(())
}

fn print(evaluation: &Evaluation) {
    println!("model {}", evaluation.model);
    println!("{} images: {}", evaluation.samples, evaluation.data);
    println!("main exit alone {:.2} %", 100.0 * evaluation.main_accuracy);
    if let Some(accuracy) = evaluation.cloud_accuracy {
        println!("cloud alone     {:.2} %", 100.0 * accuracy);
    }
    println!();
    println!(
        "offload above   accuracy   edge MACs   main             extension        cloud       (share, accuracy)"
    );
    for line in &evaluation.routings {
        let threshold = line
            .offload_above
            .map_or_else(|| "never".to_owned(), |t| format!("{t:.2} nats"));
        let exits: Vec<String> = line
            .report
            .exits
            .iter()
            .map(|e| format!("{:5.1} % {:5.1} %", 100.0 * e.share, 100.0 * e.accuracy))
            .collect();
        let macs = line.edge_macs / 1e6;
        println!(
            "{threshold:<15} {:6.2} %   {macs:6.1} M   {}",
            100.0 * line.report.accuracy,
            exits.join("  ")
        );
    }
}
