//! `meanet train`: trains a main block, a cloud network or an extension, and puts them together as a model.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use meanet_data::{Augmentation, Source, Training, split};
use meanet_method::ExtensionRule;
use meanet_net::evaluate::{by_entropy, outputs};
use meanet_net::train::{
    Backend, Classifier, Decay, Distillation, Examples, ExtensionRecipe, Lessons, Recipe, Run, Stage,
    Teacher, select_by_gain, select_hard_classes, train_classifier, train_extension,
};
use meanet_net::{
    Backbone, Block, Calibrated, CalibratedBlobs, CloudNetwork, Compute, EdgeBlobs, EdgeNetwork, Fusion,
    InputSpec, Manifest, ManifestEvaluation, ModelBlobs, Precision, StateDict, Variant, calibrate, read_card,
};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

mod curves;
mod measure;

/// Trains the blocks of a model, one after the other.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train the main block of an edge.
    Main(ClassifierArgs),
    /// Train the network of the cloud.
    Cloud(ClassifierArgs),
    /// Bring in a network that `PyTorch` trained, as a run that can be extended, packaged or begun with.
    ImportPytorch(PytorchArgs),
    /// Train adaptive and extension block over a trained main block.
    Extension(ExtensionArgs),
    /// Put trained blocks into one folder, with a manifest.
    Package(PackageArgs),
    /// Make a model that can be run in 8 bits of one that cannot: blobs that say which numbers their layers read.
    Calibrate(CalibrateArgs),
    /// Measure memory and speed of training adaptive and extension block against the whole network.
    Measure(measure::Args),
}

#[derive(Debug, Args)]
struct DataArgs {
    /// Data set: cifar-100-binary.tar.gz, a .bin file of its records, or a folder of images. Without one the project draws its own.
    #[arg(long, env = "MEANET_DATA")]
    data: Option<PathBuf>,
    /// What computes: flex, or torch or cuda where they were built in.
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
    /// Extend trains the whole network; Split, for a main block, the part before the extension's.
    #[arg(long, default_value = "Extend")]
    variant: Variant,
    /// Folder of the run; a run that was stopped goes on.
    #[arg(long)]
    out: PathBuf,
    /// Run or blob of a network of the same depth to begin with; a narrower one is widened.
    #[arg(long)]
    start: Option<PathBuf>,
    /// Network to learn from besides the labels: a run, a blob of this project, or safetensors with `PyTorch` names.
    #[arg(long)]
    teacher: Option<PathBuf>,
    /// Weight of the teacher against the labels.
    #[arg(long, default_value_t = 0.9, requires = "teacher")]
    teacher_share: f32,
    /// Logits of both are divided by this before they are compared.
    #[arg(long, default_value_t = 4.0, requires = "teacher")]
    temperature: f32,
    /// Versions of each image that the teacher is asked about, in turns; without it each epoch has a version of its own.
    #[arg(long, requires = "teacher")]
    teacher_views: Option<usize>,
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
    /// How the rate falls then: cosine, or steps as in the paper.
    #[arg(long, default_value = "cosine")]
    decay: Decay,
    #[arg(long, default_value_t = 5e-4)]
    weight_decay: f32,
    #[arg(long, default_value_t = 0.1)]
    label_smoothing: f32,
    /// Decay a step of the moving average of the weights; 0 gives the last weights.
    #[arg(long, default_value_t = 0.998)]
    average: f64,
    /// Side of the square that is blanked in each image; 0 for none.
    #[arg(long, default_value_t = 0)]
    cutout: usize,
    /// Brightness, contrast and saturation change by up to this share.
    #[arg(long, default_value_t = 0.0)]
    colour: f32,
    /// Largest standard deviation of noise added, in 0..255.
    #[arg(long, default_value_t = 0.0)]
    noise: f32,
}

/// See the help of each argument.
#[derive(Debug, Args)]
pub struct PytorchArgs {
    /// The network's state dict: safetensors, or what `torch.save` wrote.
    #[arg(long)]
    weights: PathBuf,
    /// Network, like `ResNet56` or `MobileNetV2x0.5Cifar`; without it the one whose keys these are.
    #[arg(long)]
    backbone: Option<Backbone>,
    /// Classes it tells apart.
    #[arg(long, default_value_t = 100)]
    classes: usize,
    /// Side of the images it takes, in pixels.
    #[arg(long, default_value_t = 32)]
    side: usize,
    /// Mean of each channel that images are normalised by, in 0..1.
    #[arg(long, value_delimiter = ',', default_value = "0.5071,0.4867,0.4408")]
    mean: Vec<f32>,
    /// Standard deviation of each channel.
    #[arg(long, value_delimiter = ',', default_value = "0.2675,0.2565,0.2761")]
    std: Vec<f32>,
    /// Folder of the run.
    #[arg(long)]
    out: PathBuf,
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
    /// How main and adaptive features meet: Concat or Sum.
    #[arg(long, default_value = "Concat")]
    fusion: Fusion,
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
    /// Network to learn from besides the labels, such as the cloud's: a run, a blob, or a CIFAR `ResNet` with `PyTorch` names.
    #[arg(long)]
    teacher: Option<PathBuf>,
    /// Weight of the teacher against the labels.
    #[arg(long, default_value_t = 0.9, requires = "teacher")]
    teacher_share: f32,
    /// Logits of both are divided by this before they are compared.
    #[arg(long, default_value_t = 4.0, requires = "teacher")]
    temperature: f32,
    /// Decay a step of the moving average of the weights; 0 gives the last weights.
    #[arg(long, default_value_t = 0.998)]
    average: f64,
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

/// See the help of each argument.
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Folder of the model.
    #[arg(long)]
    model: PathBuf,
    /// Folder of the model made of it, which has another digest.
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
        Command::ImportPytorch(args) => import_pytorch(args),
        Command::Extension(args) => extension(args),
        Command::Package(args) => package(args),
        Command::Calibrate(args) => calibrate_model(args),
        Command::Measure(args) => measure::run(args),
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
    let device = args.data.backend.device()?;
    let parts = read(&args.data, &input)?;
    let classes = classes(&parts.training);
    let start = args.start.as_deref().map(network).transpose()?;
    let teacher = args
        .teacher
        .as_deref()
        .map(|path| -> Result<_, Box<dyn Error>> { Ok(Teacher::load(&network(path)?, classes)?) })
        .transpose()?;
    let recipe = Recipe {
        stages: args.stages.clone(),
        epoch_images: args.epoch_images,
        batch_size: args.batch_size,
        learning_rate: args.learning_rate,
        warm_up: args.warm_up,
        decay: args.decay,
        weight_decay: args.weight_decay,
        label_smoothing: args.label_smoothing,
        augmentation: Augmentation {
            cutout: args.cutout,
            colour: args.colour,
            noise: args.noise,
            ..Augmentation::default()
        },
        average: (args.average > 0.0).then_some(args.average),
        distillation: teacher.as_ref().map(|teacher| Distillation {
            teacher: teacher.digest().to_owned(),
            temperature: args.temperature,
            share: args.teacher_share,
            views: args.teacher_views,
        }),
        variant: args.variant,
        seed: args.data.seed,
        ..Recipe::new(args.backbone, classes, input)
    };
    let lessons = Lessons {
        training: &parts.training,
        holdout: &parts.selection,
        start: start.as_deref(),
        teacher: teacher.as_ref(),
    };
    let run = Run::open(&args.out, &recipe)?.watched(draw_curves);
    train_classifier(&recipe, &lessons, &run, &device)?;
    Ok(())
}

fn import_pytorch(args: &PytorchArgs) -> Result<(), Box<dyn Error>> {
    let three = |name: &str, values: &[f32]| -> Result<[f32; 3], String> {
        let three = <[f32; 3]>::try_from(values).ok();
        three
            .filter(|v| v.iter().all(|v| v.is_finite()) && (name == "mean" || v.iter().all(|v| *v > 0.0)))
            .ok_or_else(|| {
                format!("--{name} wants three numbers, one a channel; a standard deviation is above 0")
            })
    };
    let input = InputSpec {
        height: args.side,
        width: args.side,
        mean: three("mean", &args.mean)?,
        std: three("std", &args.std)?,
    };
    let state = StateDict::read(&args.weights)?;
    let backbone = args.backbone.or_else(|| state.recognise(&input)).ok_or_else(|| {
        format!(
            "failed to recognise the network of {}: give --backbone",
            args.weights.display()
        )
    })?;
    let network = Classifier::import(Recipe::new(backbone, args.classes, input), &state, &args.out)?;
    // Trying it once finds what shapes do not show.
    CloudNetwork::load(&network.blob(Block::Cloud)?)?;
    info!(%backbone, "imported into {}", args.out.display());
    Ok(())
}

/// The bytes of a network: the blob of a run where `path` is a folder, else the file.
fn network(path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    if path.is_dir() {
        return Ok(Classifier::from_run(path)?.blob(Block::Cloud)?);
    }
    fs::read(path).map_err(|e| format!("failed to read {}: {e}", path.display()).into())
}

/// Draws the curves of a run anew. A run goes on without a picture.
fn draw_curves(folder: &Path) {
    if let Err(error) = curves::draw(folder) {
        warn!(%error, "failed to draw the curves");
    }
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
    let device = args.data.backend.device()?;
    let teacher = args
        .teacher
        .as_deref()
        .map(|path| -> Result<_, Box<dyn Error>> { Ok(Teacher::load(&network(path)?, classes)?) })
        .transpose()?;
    let outputs_wanted = if args.paper {
        least_precise()?
    } else {
        (0..).take(classes).collect()
    };
    let recipe = ExtensionRecipe {
        epochs: args.epochs,
        batch_size: args.batch_size,
        learning_rate: args.learning_rate,
        views: args.views,
        average: (args.average > 0.0).then_some(args.average),
        distillation: teacher.as_ref().map(|teacher| Distillation {
            teacher: teacher.digest().to_owned(),
            temperature: args.temperature,
            share: args.teacher_share,
            views: None,
        }),
        adds_to_main: !args.paper,
        fusion: args.fusion,
        seed: args.data.seed,
        ..ExtensionRecipe::new(outputs_wanted)
    };
    let main = main.blob(Block::Main)?;
    let run = Run::open(&args.out, &recipe)?.watched(draw_curves);
    let examples = Examples {
        holdout: Some(&parts.selection),
        teacher: teacher.as_ref(),
        ..Examples::of(&parts.training)
    };
    let trained = train_extension(&recipe, &main, &examples, Some(&run), &device)?;
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
    let input = read_card(&blobs.main)?.input;
    let parts = read(&args.data, &input)?;
    let blobs = calibrated(blobs, &parts.training.0)?;
    let edge = EdgeNetwork::load(blobs.edge())?;
    let network = blobs.cloud.as_deref().map(CloudNetwork::load).transpose()?;
    let report: ExtensionReport = serde_json::from_slice(&blob(&args.extension, REPORT)?)?;
    let outputs = outputs(&edge, &report.hard_classes, network.as_ref(), &parts.measure.0)?;
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

/// The blobs with ranges taken on training images.
fn calibrated(blobs: ModelBlobs, training: &meanet_data::Images) -> Result<ModelBlobs, Box<dyn Error>> {
    let CalibratedBlobs {
        main,
        adaptive,
        extension,
    } = calibrate(blobs.edge(), training, Calibrated::All)?;
    Ok(ModelBlobs {
        main,
        adaptive,
        extension,
        cloud: blobs.cloud,
    })
}

fn calibrate_model(args: &CalibrateArgs) -> Result<(), Box<dyn Error>> {
    let (manifest, _, blobs) = Manifest::open(&args.model)?;
    let parts = read(&args.data, &manifest.input)?;
    let blobs = calibrated(blobs, &parts.training.0)?;
    EdgeNetwork::load_as(blobs.edge(), Precision::Int8, Compute::default())?;
    let manifest = Manifest {
        weights: blobs.digests(),
        ..manifest
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
