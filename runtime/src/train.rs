//! `meanet train`: trains a main block, a cloud network or an extension, and puts them together as a model.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use meanet_data::{Augmentation, Source, Training, split};
use meanet_net::train::{Classifier, Distillation, Teacher};
use meanet_net::{Backend, Block, InputSpec, Processor};
use tracing::{info, warn};

mod calibrate;
mod classifier;
mod curves;
mod extension;
mod import_pytorch;
pub(crate) mod measure;
mod package;

/// Trains the blocks of a model, one after the other.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train the main block of an edge.
    Main(classifier::Args),
    /// Train the network of the cloud.
    Cloud(classifier::Args),
    /// Bring in a network that `PyTorch` trained, as a run that can be extended, packaged or begun with.
    ImportPytorch(import_pytorch::Args),
    /// Train adaptive and extension block over a trained main block.
    Extension(extension::Args),
    /// Put trained blocks into one folder, with a manifest.
    Package(package::Args),
    /// Make a model that can be run in 8 bits of one that cannot: blobs that say which numbers their layers read.
    Calibrate(calibrate::Args),
    /// Measure memory and speed of training adaptive and extension block against the whole network.
    Measure(measure::Args),
}

#[derive(Debug, Args)]
struct DataArgs {
    /// Data set: cifar-100-binary.tar.gz, a .bin file of its records, or a folder of images. Without one the project draws its own.
    #[arg(long, env = "MEANET_DATA")]
    data: Option<PathBuf>,
    /// What computes: engine or flex, or torch or cuda where they were built in.
    #[arg(long, default_value = "engine")]
    backend: Backend,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Another network to learn from.
#[derive(Debug, Args)]
struct TeacherArgs {
    /// Network to learn from besides the labels, such as the cloud's: a run, a blob of this project, or safetensors with `PyTorch`
    /// names.
    #[arg(long)]
    teacher: Option<PathBuf>,
    /// Weight of the teacher against the labels.
    #[arg(long, default_value_t = 0.9, requires = "teacher")]
    teacher_share: f32,
    /// Logits of both are divided by this before they are compared.
    #[arg(long, default_value_t = 4.0, requires = "teacher")]
    temperature: f32,
}

impl TeacherArgs {
    /// The teacher, if there is one, of so many classes.
    fn load(&self, classes: usize, processor: &Processor) -> Result<Option<Teacher>, Box<dyn Error>> {
        match &self.teacher {
            Some(path) => Ok(Some(Teacher::load(&network(path)?, classes, processor)?)),
            None => Ok(None),
        }
    }

    /// How it is learned from, with so many versions of each image.
    fn distillation(&self, teacher: Option<&Teacher>, views: Option<usize>) -> Option<Distillation> {
        teacher.map(|teacher| Distillation {
            teacher: teacher.digest().to_owned(),
            temperature: self.temperature,
            share: self.teacher_share,
            views,
        })
    }
}

/// What is changed at random in the images, besides crop and flip.
#[derive(Debug, Args)]
struct AugmentationArgs {
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

impl AugmentationArgs {
    fn augmentation(&self) -> Augmentation {
        Augmentation {
            cutout: self.cutout,
            colour: self.colour,
            noise: self.noise,
            ..Augmentation::default()
        }
    }
}

/// Runs the sub-command.
pub fn run(command: &Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Main(args) | Command::Cloud(args) => classifier::run(args),
        Command::ImportPytorch(args) => import_pytorch::run(args),
        Command::Extension(args) => extension::run(args),
        Command::Package(args) => package::run(args),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Measure(args) => measure::run(args),
    }
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
