//! `meanet train main` and `meanet train cloud`: trains a whole classifier.

use std::error::Error;
use std::path::PathBuf;

use meanet_data::Training;
use meanet_net::train::{Decay, Lessons, Optimisation, Recipe, Run, Stage, train_classifier};
use meanet_net::{Backbone, InputSpec, Variant};

use super::{AugmentationArgs, DataArgs, TeacherArgs, draw_curves, network, read};

/// See the help of each argument.
#[derive(Debug, clap::Args)]
pub struct Args {
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
    #[command(flatten)]
    teacher: TeacherArgs,
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
    #[command(flatten)]
    augmentation: AugmentationArgs,
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

fn classes(training: &Training) -> usize {
    training
        .0
        .labels
        .iter()
        .max()
        .map_or(0, |&label| label as usize + 1)
}

/// Trains it into its folder.
pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let input = InputSpec::cifar100();
    let processor = args.data.backend.processor()?;
    let parts = read(&args.data, &input)?;
    let classes = classes(&parts.training);
    let start = args.start.as_deref().map(network).transpose()?;
    let teacher = args.teacher.load(classes, &processor)?;
    let recipe = Recipe {
        stages: args.stages.clone(),
        epoch_images: args.epoch_images,
        optimisation: Optimisation {
            batch_size: args.batch_size,
            learning_rate: args.learning_rate,
            warm_up: args.warm_up,
            decay: args.decay,
            weight_decay: args.weight_decay,
            label_smoothing: args.label_smoothing,
            average: (args.average > 0.0).then_some(args.average),
        },
        augmentation: args.augmentation.augmentation(),
        distillation: args.teacher.distillation(teacher.as_ref(), args.teacher_views),
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
    train_classifier(&recipe, &lessons, &run, &processor)?;
    Ok(())
}
