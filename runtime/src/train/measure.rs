//! `meanet train measure`: what training adaptive and extension block takes, against training the whole network.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;
use meanet_data::{Training, procedural};
use meanet_net::train::{
    EpochLine, Examples, ExtensionRecipe, Lessons, METRICS, Optimisation, Recipe, Run, Stage, classifier_of,
    train_classifier, train_extension,
};
use meanet_net::{Backbone, Backend, Block, InputSpec, Precision, read_card};
use serde::{Deserialize, Serialize};

use crate::eval::subject::Subject;
use crate::machine::{forget_peak, memory_held, peak_memory};

/// Network where none is named.
const DEFAULT: &str = "ResNet32";
/// Classes of a network that no model gives.
const CLASSES: usize = 100;

/// See the help of each argument.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Network with weights by chance; without it, and without a model, `ResNet32`.
    #[arg(long)]
    backbone: Option<Backbone>,
    /// Model whose main block is taken instead: a folder with manifest.json and blobs.
    #[arg(long, conflicts_with = "backbone")]
    model: Option<PathBuf>,
    /// Images a step, of both.
    #[arg(long, default_value_t = 128)]
    batch_size: usize,
    /// Steps of each measurement.
    #[arg(long, default_value_t = 6)]
    steps: usize,
    /// Measurements of each, taken in turns, each in a process of its own.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// What computes: engine or flex, or torch or cuda where they were built in.
    #[arg(long, default_value = "engine")]
    backend: Backend,
    /// Measure this part in this process and say so as JSON.
    #[arg(long, hide = true)]
    part: Option<Part>,
}

impl Args {
    /// Of the main block of the model in `folder`, once.
    pub(crate) fn of_model(folder: &Path, backend: Backend, batch_size: usize, steps: usize) -> Self {
        Self {
            backbone: None,
            model: Some(folder.to_owned()),
            batch_size,
            steps,
            rounds: 1,
            backend,
            part: None,
        }
    }
}

/// What is trained to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The whole network.
    Whole,
    /// Adaptive and extension block over its frozen main block.
    Extension,
}

/// What one process found.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Found {
    /// Most memory that the process held at once.
    peak_bytes: u64,
    /// What of it came with training: all beyond what was held before, images and main block included.
    pub(crate) training_bytes: u64,
    images_per_second: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    backbone: Backbone,
    batch_size: usize,
    backend: String,
    rounds: usize,
    whole: Found,
    extension: Found,
    /// Training memory of adaptive and extension block for each byte that the whole network takes.
    memory_ratio: f64,
    /// Images a second of adaptive and extension block, main features cached, for each of the whole network.
    speed_ratio: f64,
}

/// Measures both in turns and prints medians and ratios as JSON.
pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if let Some(part) = args.part {
        println!("{}", serde_json::to_string(&measure(args, part)?)?);
        return Ok(());
    }
    let (mut whole, mut extension) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds.max(1) {
        whole.push(apart(args, Part::Whole)?);
        extension.push(apart(args, Part::Extension)?);
    }
    let (whole, extension) = (median(&whole), median(&extension));
    let report = Report {
        backbone: read_card(&main_block(args)?)?.backbone,
        batch_size: args.batch_size,
        backend: args.backend.to_string(),
        rounds: args.rounds.max(1),
        whole,
        extension,
        memory_ratio: extension.training_bytes as f64 / whole.training_bytes.max(1) as f64,
        speed_ratio: extension.images_per_second / whole.images_per_second,
    };
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}

/// A process keeps what it once held, so each measurement has its own.
pub(crate) fn apart(args: &Args, part: Part) -> Result<Found, Box<dyn Error>> {
    let part = part.to_possible_value().map(|value| value.get_name().to_owned());
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["train", "measure"]);
    if let Some(folder) = &args.model {
        command.arg("--model").arg(folder);
    }
    if let Some(backbone) = args.backbone {
        command.args(["--backbone", &backbone.to_string()]);
    }
    let output = command
        .args(["--backend", &args.backend.to_string()])
        .args(["--batch-size", &args.batch_size.to_string()])
        .args(["--steps", &args.steps.to_string()])
        .args(["--part", &part.unwrap_or_default()])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("failed to measure: a measurement ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn median(found: &[Found]) -> Found {
    let middle = |value: fn(&Found) -> f64| {
        let mut values: Vec<f64> = found.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Found {
        peak_bytes: middle(|f| f.peak_bytes as f64) as u64,
        training_bytes: middle(|f| f.training_bytes as f64) as u64,
        images_per_second: middle(|f| f.images_per_second),
    }
}

/// Trains `part` for one epoch in this process.
fn measure(args: &Args, part: Part) -> Result<Found, Box<dyn Error>> {
    let folder = Scratch::new("measured")?;
    let processor = args.backend.processor()?;
    let main = main_block(args)?;
    let card = read_card(&main)?;
    let training = Training(procedural(card.classes, args.batch_size * args.steps.max(1), 1));
    let run = folder.0.join("run");
    let optimisation = Optimisation {
        batch_size: args.batch_size,
        ..Optimisation::default()
    };
    forget_peak()?;
    let before = memory_held()?;
    match part {
        Part::Whole => {
            let recipe = Recipe {
                optimisation,
                ..whole(card.backbone, card.classes, card.input, 1)
            };
            let start = classifier_of(&main)?;
            let holdout = Training(training.0.select(&[0]));
            let lessons = Lessons {
                training: &training,
                holdout: &holdout,
                start: Some(&start),
                teacher: None,
            };
            train_classifier(&recipe, &lessons, &Run::open(&run, &recipe)?, &processor)?;
        }
        Part::Extension => {
            let recipe = ExtensionRecipe {
                epochs: 1,
                optimisation,
                views: 1,
                ..ExtensionRecipe::new((0..).take(card.classes).collect())
            };
            let run = Run::open(&run, &recipe)?;
            train_extension(&recipe, &main, &Examples::of(&training), Some(&run), &processor)?;
        }
    }
    let peak = peak_memory()?;
    let line: EpochLine = serde_json::from_str(&fs::read_to_string(run.join(METRICS))?)?;
    Ok(Found {
        peak_bytes: peak,
        training_bytes: peak.saturating_sub(before),
        images_per_second: line.images_per_second,
    })
}

fn whole(backbone: Backbone, classes: usize, input: InputSpec, epochs: usize) -> Recipe {
    Recipe {
        stages: vec![Stage {
            side: input.height,
            epochs,
        }],
        ..Recipe::new(backbone, classes, input)
    }
}

/// The blob of the main block that both begin with.
fn main_block(args: &Args) -> Result<Vec<u8>, Box<dyn Error>> {
    if let Some(folder) = &args.model {
        return Ok(Subject::open(folder, None, Precision::Float32)?.blobs.main);
    }
    let backbone = match args.backbone {
        Some(backbone) => backbone,
        None => DEFAULT.parse()?,
    };
    let folder = Scratch::new("main")?;
    let recipe = Recipe {
        optimisation: Optimisation {
            batch_size: 1,
            ..Optimisation::default()
        },
        ..whole(backbone, CLASSES, InputSpec::cifar100(), 0)
    };
    let training = Training(procedural(CLASSES, 1, 1));
    let lessons = Lessons {
        training: &training,
        holdout: &training,
        start: None,
        teacher: None,
    };
    let run = Run::open(&folder.0, &recipe)?;
    let network = train_classifier(&recipe, &lessons, &run, &Backend::Engine.processor()?)?;
    Ok(network.blob(Block::Main)?)
}

/// A folder that goes with this value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(what: &str) -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("meanet-{what}-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let folder: &Path = &self.0;
        // What cannot be removed is left to the system, as all else in its folder for temporary files.
        let _ = fs::remove_dir_all(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_measured() {
        let args = Args {
            backbone: "ResNet20".parse().ok(),
            model: None,
            batch_size: 4,
            steps: 1,
            rounds: 1,
            backend: Backend::Engine,
            part: None,
        };
        for part in [Part::Whole, Part::Extension] {
            let found = measure(&args, part).unwrap();
            assert!(found.images_per_second > 0.0);
            assert!(found.peak_bytes >= found.training_bytes);
        }
    }

    #[test]
    fn an_odd_one_out_does_not_move_the_median() {
        let found = |images_per_second, peak_bytes| Found {
            peak_bytes,
            training_bytes: peak_bytes / 2,
            images_per_second,
        };
        let middle = median(&[found(10.0, 40), found(900.0, 42), found(12.0, 90)]);
        assert_eq!(
            (middle.images_per_second, middle.peak_bytes, middle.training_bytes),
            (12.0, 42, 21)
        );
    }
}
