//! `meanet train measure`: what training adaptive and extension block takes, against training the whole network.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Args as ClapArgs, ValueEnum};
use meanet_data::{Training, procedural};
use meanet_net::train::{
    Backend, EpochLine, Examples, ExtensionRecipe, Lessons, METRICS, Recipe, Run, Stage, train_classifier,
    train_extension,
};
use meanet_net::{Backbone, Block, InputSpec};
use serde::{Deserialize, Serialize};

const CLASSES: usize = 100;

/// See the help of each argument.
#[derive(Debug, Clone, ClapArgs)]
pub struct Args {
    /// Network, like `ResNet32`.
    #[arg(long, default_value = "ResNet32")]
    backbone: Backbone,
    /// Images a step, of both.
    #[arg(long, default_value_t = 128)]
    batch_size: usize,
    /// Steps of each measurement.
    #[arg(long, default_value_t = 6)]
    steps: usize,
    /// Measurements of each, taken in turns, each in a process of its own.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// What computes: flex, or torch or cuda where they were built in.
    #[arg(long, default_value = "flex")]
    backend: String,
    /// Measure this part in this process and say so as JSON.
    #[arg(long, hide = true)]
    part: Option<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Whole,
    Extension,
}

/// What one process found.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    /// Most memory that the process held at once.
    peak_bytes: u64,
    /// What of it came with training: all beyond what was held before the networks were made.
    training_bytes: u64,
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
        backbone: args.backbone,
        batch_size: args.batch_size,
        backend: args.backend.clone(),
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
fn apart(args: &Args, part: Part) -> Result<Found, Box<dyn Error>> {
    let part = part.to_possible_value().map(|value| value.get_name().to_owned());
    let output = Command::new(std::env::current_exe()?)
        .args(["train", "measure", "--backend", &args.backend])
        .args(["--backbone", &args.backbone.to_string()])
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

fn measure(args: &Args, part: Part) -> Result<Found, Box<dyn Error>> {
    let folder = Scratch::new()?;
    let device = args.backend.parse::<Backend>()?.device()?;
    let training = Training(procedural(CLASSES, args.batch_size * args.steps.max(1), 1));
    let holdout = Training(procedural(CLASSES, 2, 2));
    let input = InputSpec::cifar100();
    let recipe = |epochs| Recipe {
        stages: vec![Stage {
            side: input.height,
            epochs,
        }],
        batch_size: args.batch_size,
        average: None,
        ..Recipe::new(args.backbone, CLASSES, input.clone())
    };
    let classifier = |name: &str, epochs| {
        let lessons = Lessons {
            training: &training,
            holdout: &holdout,
            start: None,
            teacher: None,
        };
        let run = Run::open(&folder.0.join(name), &recipe(epochs))?;
        train_classifier(&recipe(epochs), &lessons, &run, &device)
    };
    let before = memory("VmRSS")?;
    let run = folder.0.join("measured");
    match part {
        Part::Whole => drop(classifier("measured", 1)?),
        Part::Extension => {
            let main = classifier("main", 0)?.blob(Block::Main)?;
            let recipe = ExtensionRecipe {
                epochs: 1,
                batch_size: args.batch_size,
                views: 1,
                ..ExtensionRecipe::new((0..).take(CLASSES).collect())
            };
            let run = Run::open(&run, &recipe)?;
            train_extension(&recipe, &main, &Examples::of(&training), Some(&run), &device)?;
        }
    }
    let line: EpochLine = serde_json::from_str(&fs::read_to_string(run.join(METRICS))?)?;
    let peak = memory("VmHWM")?;
    Ok(Found {
        peak_bytes: peak,
        training_bytes: peak.saturating_sub(before),
        images_per_second: line.images_per_second,
    })
}

/// Bytes of this process that the kernel counts under `name`.
fn memory(name: &str) -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|e| format!("failed to measure memory: /proc is needed, as on Linux: {e}"))?;
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .ok_or_else(|| format!("failed to measure memory: the kernel does not say {name}"))?;
    Ok(kilobytes * 1024)
}

/// A folder that goes with this value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("meanet-measure-{}", std::process::id()));
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
            backbone: "ResNet20".parse().unwrap(),
            batch_size: 4,
            steps: 1,
            rounds: 1,
            backend: "flex".to_owned(),
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
