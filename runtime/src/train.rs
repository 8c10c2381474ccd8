//! `meanet train`: trains a main block, a cloud network or an extension, and puts them together as a model.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use meanet_data::{Source, Training, split};
use meanet_method::ExtensionRule;
use meanet_net::evaluate::{by_entropy, outputs};
use meanet_net::train::{
    Backend, Classifier, ExtensionRecipe, Recipe, Run, Stage, select_by_gain, select_hard_classes,
    train_classifier, train_extension,
};
use meanet_net::{
    Backbone, Block, CloudNetwork, EdgeBlobs, EdgeNetwork, InputSpec, Manifest, ManifestEvaluation,
    ModelBlobs, Variant, read_card,
};
use serde::{Deserialize, Serialize};
use tracing::info;

/// Trains the blocks of a model, one after the other.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train the main block of an edge.
    Main(ClassifierArgs),
    /// Train the network of the cloud.
    Cloud(ClassifierArgs),
    /// Train adaptive and extension block over a trained main block.
    Extension(ExtensionArgs),
    /// Put trained blocks into one folder, with a manifest.
    Package(PackageArgs),
}

#[derive(Debug, Args)]
struct DataArgs {
    /// Data set: cifar-100-binary.tar.gz, a .bin file of its records, or a folder of images. Without one the project draws its own.
    #[arg(long, env = "MEANET_DATA")]
    data: Option<PathBuf>,
    /// What computes: flex, or torch where it was built in.
    #[arg(long, default_value = "flex")]
    backend: Backend,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// See the help of each argument.
#[derive(Debug, Args)]
pub struct ClassifierArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Network, like `ResNet20` or `ResNet20x2`.
    #[arg(long, default_value = "ResNet20")]
    backbone: Backbone,
    /// Folder of the run; a run that was stopped goes on.
    #[arg(long)]
    out: PathBuf,
    /// Run of a narrower network of the same depth to begin with.
    #[arg(long)]
    start: Option<PathBuf>,
    /// Epochs at each image size, as side:epochs; smaller images are cheaper.
    #[arg(long, default_value = "16:4,24:2,32:2", value_delimiter = ',', value_parser = stage)]
    stages: Vec<Stage>,
    /// Images of an epoch; without it all.
    #[arg(long)]
    epoch_images: Option<usize>,
    #[arg(long, default_value_t = 128)]
    batch_size: usize,
    /// Peak learning rate.
    #[arg(long, default_value_t = 0.2)]
    learning_rate: f64,
    /// Share of the run during which the rate climbs.
    #[arg(long, default_value_t = 0.2)]
    warm_up: f64,
    #[arg(long, default_value_t = 5e-4)]
    weight_decay: f32,
    #[arg(long, default_value_t = 0.1)]
    label_smoothing: f32,
}

/// See the help of each argument.
#[derive(Debug, Args)]
pub struct ExtensionArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Run of the main block.
    #[arg(long)]
    main: PathBuf,
    /// Folder for the two blobs.
    #[arg(long)]
    out: PathBuf,
    /// The paper's way: the classes that the main block predicts least precisely are hard, and the extension answers these,
    /// from scratch. Without it the extension corrects the main block, and hard are the classes where that pays.
    #[arg(long)]
    paper: bool,
    /// Share of the classes that are hard in the paper's way.
    #[arg(long, default_value_t = 0.5)]
    hard_share: f64,
    #[arg(long, default_value_t = 5)]
    epochs: usize,
    #[arg(long, default_value_t = 128)]
    batch_size: usize,
    #[arg(long, default_value_t = 0.1)]
    learning_rate: f64,
    /// Versions of each image to keep main features of.
    #[arg(long, default_value_t = 2)]
    views: usize,
}

/// See the help of each argument.
#[derive(Debug, Args)]
pub struct PackageArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Run of the main block.
    #[arg(long)]
    main: PathBuf,
    /// Folder of the extension.
    #[arg(long)]
    extension: PathBuf,
    /// Run of the cloud's network.
    #[arg(long)]
    cloud: Option<PathBuf>,
    /// Folder of the model.
    #[arg(long)]
    out: PathBuf,
}

/// How an extension was made, beside its blobs.
#[derive(Serialize, Deserialize)]
struct ExtensionReport {
    recipe: ExtensionRecipe,
    hard_classes: Vec<u32>,
    trained_on: usize,
    seconds: f64,
}

const ADAPTIVE: &str = "adaptive.safetensors";
const EXTENSION: &str = "extension.safetensors";
const REPORT: &str = "report.json";

/// Runs the sub-command.
pub fn run(command: &Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Main(args) | Command::Cloud(args) => classifier(args),
        Command::Extension(args) => extension(args),
        Command::Package(args) => package(args),
    }
}

fn stage(text: &str) -> Result<Stage, String> {
    let (side, epochs) = text
        .split_once(':')
        .ok_or_else(|| format!("{text} is not like 32:10"))?;
    let number = |v: &str| v.parse::<usize>().map_err(|_| format!("{v} is no number"));
    let stage = Stage {
        side: number(side)?,
        epochs: number(epochs)?,
    };
    if stage.side < 4 || !stage.side.is_multiple_of(4) {
        return Err(format!(
            "{side} is no side of an image here: give a multiple of 4"
        ));
    }
    Ok(stage)
}

/// Nine tenths to train on, a twentieth to choose by, a twentieth to measure on; always the same for the same data.
pub(crate) struct Parts {
    pub(crate) training: Training,
    pub(crate) selection: Training,
    pub(crate) measure: Training,
}

impl Parts {
    /// Of all training images of a data set.
    pub(crate) fn of(all: &Training) -> Result<Self, Box<dyn Error>> {
        let part = all.0.len() / 20;
        let mut parts = split(all, &[part, part], 0).into_iter();
        match (parts.next(), parts.next(), parts.next()) {
            (Some(selection), Some(measure), Some(training)) => Ok(Self {
                training,
                selection,
                measure,
            }),
            _ => Err("failed to split the data set".into()),
        }
    }
}

fn read(args: &DataArgs, input: &InputSpec) -> Result<Parts, Box<dyn Error>> {
    let source = Source::find(args.data.as_deref())?;
    info!("reading {}", source.describe());
    Parts::of(&source.training(input.height, input.width)?)
}

fn classes(training: &Training) -> usize {
    training
        .0
        .labels
        .iter()
        .max()
        .map_or(0, |&label| label as usize + 1)
}

fn classifier(args: &ClassifierArgs) -> Result<(), Box<dyn Error>> {
    let input = InputSpec::cifar100();
    let parts = read(&args.data, &input)?;
    let recipe = Recipe {
        backbone: args.backbone,
        classes: classes(&parts.training),
        input,
        stages: args.stages.clone(),
        epoch_images: args.epoch_images,
        batch_size: args.batch_size,
        learning_rate: args.learning_rate,
        warm_up: args.warm_up,
        weight_decay: args.weight_decay,
        label_smoothing: args.label_smoothing,
        seed: args.data.seed,
    };
    let start = args.start.as_deref().map(|run| {
        Classifier::from_run(run)?
            .blob(Block::Cloud)
            .map_err(Box::<dyn Error>::from)
    });
    let start = start.transpose()?;
    let run = Run::open(&args.out, &recipe)?;
    let device = args.data.backend.device()?;
    train_classifier(
        &recipe,
        start.as_deref(),
        &parts.training,
        &parts.selection,
        &run,
        &device,
    )?;
    Ok(())
}

fn extension(args: &ExtensionArgs) -> Result<(), Box<dyn Error>> {
    let main = Classifier::from_run(&args.main)?;
    let classes = main.recipe().classes;
    let parts = read(&args.data, &main.recipe().input)?;
    let least_precise = || -> Result<Vec<u32>, Box<dyn Error>> {
        let logits = main.logits(&parts.selection.0)?;
        let labels = &parts.selection.0.labels;
        Ok(select_hard_classes(&logits, labels, classes, args.hard_share))
    };
    let recipe = ExtensionRecipe {
        outputs: if args.paper {
            least_precise()?
        } else {
            (0..).take(classes).collect()
        },
        epochs: args.epochs,
        batch_size: args.batch_size,
        learning_rate: args.learning_rate,
        warm_up: 0.2,
        weight_decay: 5e-4,
        label_smoothing: 0.1,
        views: args.views,
        adds_to_main: !args.paper,
        seed: args.data.seed,
    };
    let device = args.data.backend.device()?;
    let main = main.blob(Block::Main)?;
    let trained = train_extension(&recipe, &main, None, &parts.training, &device)?;
    let hard_classes = if args.paper {
        recipe.outputs.clone()
    } else {
        let edge = EdgeNetwork::load(EdgeBlobs {
            main: &main,
            adaptive: &trained.adaptive,
            extension: &trained.extension,
        })?;
        select_by_gain(&outputs(&edge, edge.outputs(), None, &parts.selection.0)?)?
    };
    info!(?hard_classes, "hard classes chosen");
    fs::create_dir_all(&args.out)?;
    fs::write(args.out.join(ADAPTIVE), &trained.adaptive)?;
    fs::write(args.out.join(EXTENSION), &trained.extension)?;
    let report = ExtensionReport {
        recipe,
        hard_classes,
        trained_on: trained.trained_on,
        seconds: trained.seconds,
    };
    fs::write(args.out.join(REPORT), serde_json::to_vec_pretty(&report)?)?;
    Ok(())
}

fn package(args: &PackageArgs) -> Result<(), Box<dyn Error>> {
    let main = Classifier::from_run(&args.main)?;
    let cloud = args.cloud.as_deref().map(Classifier::from_run).transpose()?;
    let blobs = ModelBlobs {
        main: main.blob(Block::Main)?,
        adaptive: blob(&args.extension, ADAPTIVE)?,
        extension: blob(&args.extension, EXTENSION)?,
        cloud: cloud.as_ref().map(|c| c.blob(Block::Cloud)).transpose()?,
    };
    let edge = EdgeNetwork::load(blobs.edge())?;
    let network = blobs.cloud.as_deref().map(CloudNetwork::load).transpose()?;
    let parts = read(&args.data, edge.input())?;
    let report: ExtensionReport = serde_json::from_slice(&blob(&args.extension, REPORT)?)?;
    let outputs = outputs(&edge, &report.hard_classes, network.as_ref(), &parts.measure.0)?;
    let alone = outputs.report(&by_entropy(None, ExtensionRule::Extension))?;
    let manifest = Manifest {
        backbone: edge.card().backbone,
        variant: Variant::Extend,
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
