//! `meanet train extension`: trains adaptive and extension block over a trained main block.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use meanet_method::{ExtensionRule, by_entropy};
use meanet_net::train::{
    Classifier, Examples, ExtensionRecipe, Optimisation, Run, Settling, select_hard_classes, settle,
    train_extension,
};
use meanet_net::{Block, Fusion, Precision};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::{AugmentationArgs, DataArgs, TeacherArgs, draw_curves, read};

/// See the help of each argument.
#[derive(Debug, clap::Args)]
pub struct Args {
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
    /// Images of a step that go through the blocks together, which bounds the memory of a step; 0, or a number that does not divide
    /// the batch size: all of them.
    #[arg(long, default_value_t = 16)]
    ghost_batch: usize,
    #[arg(long, default_value_t = 0.1)]
    learning_rate: f64,
    /// Share of the run during which the rate climbs.
    #[arg(long, default_value_t = 0.2)]
    warm_up: f64,
    #[arg(long, default_value_t = 0.1)]
    label_smoothing: f32,
    /// Versions of each image to keep main features of.
    #[arg(long, default_value_t = 2)]
    views: usize,
    /// Learn the classes from the raw input, cut anew in each epoch, without anything of the main block, whose logits are added
    /// afterwards. For a main block that knows its training images by heart.
    #[arg(long, conflicts_with_all = ["paper", "views"])]
    second_opinion: bool,
    #[command(flatten)]
    augmentation: AugmentationArgs,
    #[command(flatten)]
    teacher: TeacherArgs,
    /// Decay a step of the moving average of the weights; 0 gives the last weights.
    #[arg(long, default_value_t = 0.998)]
    average: f64,
}

/// How an extension was made, beside its blobs.
#[derive(Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) recipe: ExtensionRecipe,
    pub(super) hard_classes: Vec<u32>,
    pub(super) trained_on: usize,
    pub(super) seconds: f64,
}

pub(super) const ADAPTIVE: &str = "adaptive.safetensors";
pub(super) const EXTENSION: &str = "extension.safetensors";
pub(super) const REPORT: &str = "report.json";

/// Trains both blocks into the folder.
pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let main = Classifier::from_run(&args.main)?;
    let classes = main.recipe().classes;
    let parts = read(&args.data, &main.recipe().input)?;
    let least_precise = || -> Result<Vec<u32>, Box<dyn Error>> {
        let logits = main.logits(&parts.selection.0)?;
        let labels = &parts.selection.0.labels;
        Ok(select_hard_classes(&logits, labels, classes, args.hard_share))
    };
    let processor = args.data.backend.processor()?;
    let teacher = args.teacher.load(classes, &processor)?;
    let outputs_wanted = if args.paper {
        least_precise()?
    } else {
        (0..).take(classes).collect()
    };
    let recipe = ExtensionRecipe {
        epochs: args.epochs,
        optimisation: Optimisation {
            batch_size: args.batch_size,
            learning_rate: args.learning_rate,
            warm_up: args.warm_up,
            label_smoothing: args.label_smoothing,
            average: (args.average > 0.0).then_some(args.average),
            ..Optimisation::default()
        },
        ghost_batch: (args.ghost_batch > 0).then_some(args.ghost_batch),
        views: args.views,
        augmentation: args.augmentation.augmentation(),
        distillation: args.teacher.distillation(teacher.as_ref(), None),
        adds_to_main: !args.paper,
        second_opinion: args.second_opinion,
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
    let mut trained = train_extension(&recipe, &main, &examples, Some(&run), &processor)?;
    let hard_classes = if args.paper {
        recipe.outputs.clone()
    } else {
        let settling = Settling {
            main: &main,
            from: None,
            hard_classes: None,
            moved: false,
            precision: Precision::Float32,
            ranges_of: None,
            routing: &by_entropy(None, ExtensionRule::Extension),
            selection: &parts.selection.0,
        };
        let settled = settle(&settling, &trained)?;
        info!(taken = ?settled.taken, "corrections settled");
        (trained.adaptive, trained.extension) = (settled.adaptive, settled.extension);
        settled.hard_classes
    };
    info!(?hard_classes, "hard classes chosen");
    fs::write(args.out.join(ADAPTIVE), &trained.adaptive)?;
    fs::write(args.out.join(EXTENSION), &trained.extension)?;
    let report = Report {
        recipe,
        hard_classes,
        trained_on: trained.trained_on,
        seconds: trained.seconds,
    };
    fs::write(args.out.join(REPORT), serde_json::to_vec_pretty(&report)?)?;
    Ok(())
}
