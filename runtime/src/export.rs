//! `meanet export`: a model's exits as ONNX files, for other runtimes.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use meanet_net::{Card, CloudGraph, EdgeGraph, FEATURES, LOGITS, Manifest, read_card};
use meanet_onnx::{Export, Named, Sum};
use tracing::info;

/// What is written, and where.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the model.
    #[arg(long)]
    model: PathBuf,
    /// Folder for `main.onnx`, `extension.onnx`, `whole.onnx` and, where the model has one, `cloud.onnx`.
    #[arg(long)]
    onnx: PathBuf,
}

/// Writes the files.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let (_, _, blobs) = Manifest::open(&args.model)?;
    let edge = EdgeGraph::of_blobs(blobs.edge())?;
    let mut files = edge_files(&edge, &read_card(&blobs.extension)?)?;
    if let Some(blob) = &blobs.cloud {
        files.push(("cloud.onnx", cloud_file(&CloudGraph::of_blob(blob)?)?));
    }
    fs::create_dir_all(&args.onnx).map_err(|e| format!("failed to make {}: {e}", args.onnx.display()))?;
    for (name, bytes) in files {
        write(&args.onnx.join(name), &bytes)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    fs::write(path, bytes).map_err(|e| format!("failed to write {}: {e}", path.display()))?;
    info!(bytes = bytes.len(), "wrote {}", path.display());
    Ok(())
}

/// The main exit; the extension from main features on; and both at once. `card` is the extension's.
pub fn edge_files(edge: &EdgeGraph, card: &Card) -> Result<Vec<(&'static str, Vec<u8>)>, Box<dyn Error>> {
    let output = |segment: meanet_engine::SegmentId, index: usize| -> Result<usize, Box<dyn Error>> {
        let outputs = edge.graph.segments.get(segment.0).map(|s| &s.outputs);
        Ok(*outputs
            .and_then(|o| o.get(index))
            .ok_or("the graph lacks an output")?)
    };
    let features = output(edge.main, FEATURES)?;
    let logits = output(edge.main, LOGITS)?;
    let extension = output(edge.extension, 0)?;
    let columns = card.outputs.clone().filter(|_| card.adds_to_main);
    let sums: Vec<Sum> = columns
        .into_iter()
        .map(|columns| Sum {
            output: "extension_logits".to_owned(),
            from: logits,
            columns,
            weight: card.main_weight,
        })
        .collect();
    let mut entering = vec![Named::new("features", features)];
    if !sums.is_empty() {
        entering.push(Named::new("logits", logits));
    }
    let network = card.blueprint().to_string();
    let main = Export {
        name: "main",
        description: &format!("main block of {network}: logits of all classes"),
        graph: &edge.graph,
        segments: &[edge.main],
        inputs: Vec::new(),
        outputs: vec![Named::new("logits", logits), Named::new("features", features)],
        sums: Vec::new(),
    };
    let outputs = vec![Named::new("extension_logits", extension)];
    let second = Export {
        name: "extension",
        description: &format!("adaptive and extension block of {network}: logits of the extension's classes"),
        segments: &[edge.adaptive, edge.extension],
        inputs: entering,
        outputs: outputs.clone(),
        sums: sums.clone(),
        ..main.clone()
    };
    let whole = Export {
        name: "whole",
        description: &format!("{network}: logits of all classes, and of the extension's"),
        segments: &[edge.main, edge.adaptive, edge.extension],
        outputs: [vec![Named::new("logits", logits)], outputs].concat(),
        sums,
        ..main.clone()
    };
    Ok(vec![
        ("main.onnx", main.bytes()?),
        ("extension.onnx", second.bytes()?),
        ("whole.onnx", whole.bytes()?),
    ])
}

/// The cloud's network.
pub fn cloud_file(cloud: &CloudGraph) -> Result<Vec<u8>, Box<dyn Error>> {
    let outputs = cloud.graph.segments.get(cloud.network.0).map(|s| &s.outputs);
    let logits = *outputs
        .and_then(|o| o.get(LOGITS))
        .ok_or("the graph lacks an output")?;
    let export = Export {
        name: "cloud",
        description: "the cloud's network: logits of all classes",
        graph: &cloud.graph,
        segments: &[cloud.network],
        inputs: Vec::new(),
        outputs: vec![Named::new("logits", logits)],
        sums: Vec::new(),
    };
    Ok(export.bytes()?)
}
