//! `meanet infer`: classifies a file or a folder of files with a model on this machine, edge and cloud in one process.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use meanet_method::{
    AfterMain, Answer, Exit, ExtensionRule, HardClasses, Routing, Score, WhenUnavailable, after_main,
    cloud_answer, local_answer,
};
use meanet_net::{CloudNetwork, EdgeNetwork, ImageBatch, Manifest};
use serde::Serialize;

/// What is classified, with which model.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// A PNG or JPEG file, or a folder of them.
    pub path: PathBuf,
    /// Folder with manifest.json and blobs.
    #[arg(long, env = "MEANET_MODEL")]
    pub model: PathBuf,
    /// Entropy of the main exit, in nats, above which an image goes to the cloud's network.
    #[arg(long, default_value_t = 0.9)]
    pub offload_above: f32,
    /// Print one JSON object a line.
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Line {
    file: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<Exit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

struct Model {
    edge: EdgeNetwork,
    cloud: Option<CloudNetwork>,
    hard: HardClasses,
    routing: Routing,
}

/// Classifies and prints; an error at the end if a file could not be classified.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let (manifest, _, blobs) = Manifest::open(&args.model)?;
    let edge = EdgeNetwork::load(blobs.edge())?;
    let hard = HardClasses::new(&manifest.hard_classes, edge.outputs(), edge.classes())?;
    let cloud = blobs.cloud.as_deref().map(CloudNetwork::load).transpose()?;
    let routing = Routing {
        score: Score::Entropy.into(),
        offload_above: args.offload_above,
        extend_above: None,
        extension_offload_above: None,
        rule: ExtensionRule::Extension,
        when_unavailable: WhenUnavailable::AnswerLocally,
    };
    let model = Model {
        edge,
        cloud,
        hard,
        routing,
    };
    let mut failed = 0;
    let files = files(&args.path)?;
    for file in &files {
        let line = classify(&model, file).unwrap_or_else(|error| {
            failed += 1;
            let error = Some(crate::report::words(error.as_ref()));
            Line {
                file: file.clone(),
                label: None,
                confidence: None,
                exit: None,
                score: None,
                error,
            }
        });
        if args.json {
            println!("{}", serde_json::to_string(&line)?);
        } else if let (Some(label), Some(confidence), Some(exit), Some(score)) =
            (line.label, line.confidence, line.exit, line.score)
        {
            println!(
                "{label:>6}  {confidence:.3}  {:<9}  {score:.3}  {}",
                exit.as_str(),
                file.display()
            );
        } else {
            println!("     -  {}: {}", file.display(), line.error.unwrap_or_default());
        }
    }
    if failed > 0 {
        return Err(format!("failed to classify {failed} of {} files", files.len()).into());
    }
    Ok(())
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let image = |path: &PathBuf| {
        let extension = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default()
            .to_ascii_lowercase();
        matches!(extension.as_str(), "png" | "jpg" | "jpeg")
    };
    let mut files: Vec<PathBuf> = fs::read_dir(path)?
        .filter_map(Result::ok)
        .map(|e| e.path())
        .filter(image)
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(format!("failed to find a PNG or JPEG file in {}", path.display()).into());
    }
    Ok(files)
}

fn classify(model: &Model, file: &Path) -> Result<Line, Box<dyn Error>> {
    let input = model.edge.input();
    let pixels = meanet_data::decode(&fs::read(file)?, input.height, input.width)?;
    let images = ImageBatch::from_bytes(input.height, input.width, pixels)?;
    let pass = model.edge.main(&images)?;
    let main = after_main(
        pass.logits.first().ok_or("the network gave no answer")?,
        &model.routing,
        &model.hard,
    )?;
    let cloud = model.cloud.as_ref().filter(|_| main.next == AfterMain::Offload);
    let Answer {
        label,
        confidence,
        exit,
    } = if let Some(cloud) = cloud {
        let logits = cloud.logits(&images)?;
        cloud_answer(logits.first().ok_or("the network gave no answer")?)?
    } else if main.extends {
        let logits = model.edge.extension(&pass, &images, &[0])?;
        let logits = logits.first().ok_or("the network gave no answer")?;
        local_answer(&main.main, logits, &model.routing, &model.hard)?.0
    } else {
        main.main
    };
    Ok(Line {
        file: file.to_owned(),
        label: Some(label),
        confidence: Some(confidence),
        exit: Some(exit),
        score: Some(main.score),
        error: None,
    })
}
