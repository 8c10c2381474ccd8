//! `meanet eval`: runs a model over labelled images once, and keeps what every exit said. `report`, `what-if` and `choose`
//! work on what was kept.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use meanet_data::{Images, Shift, Shuffle, Source, Test, Training};
use meanet_net::Precision;
use tracing::info;

pub mod choose;
pub mod report;
pub mod what_if;

mod calibrated;
mod figures;
mod page;
pub(crate) mod plot;
pub(crate) mod setting;
pub(crate) mod stored;
pub(crate) mod subject;

use report::{EvaluationReport, View};
use subject::{NetworkFile, Subject};

/// Of the cut of the test images into halves; fixed, so that evaluations of several models compare.
const HALVES_SEED: u64 = 0;
/// Of what is random in a shift.
const SHIFT_SEED: u64 = 0;

/// Runs a model over labelled images, stores what every exit says, and reports.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder with manifest.json and blobs.
    #[arg(long)]
    model: PathBuf,
    /// Data set: cifar-100-binary.tar.gz or a folder with test images. Without one the project draws its own.
    #[arg(long, env = "MEANET_DATA")]
    data: Option<PathBuf>,
    /// Labelled images that training has not seen, to fit thresholds, router and temperatures to: a .bin file of CIFAR
    /// records or a folder with a folder for each class. Without them one half of the test images serves, and figures are
    /// of the other.
    #[arg(long)]
    selection: Option<PathBuf>,
    /// Folder for the outputs and the report.
    #[arg(long)]
    out: PathBuf,
    /// Network in place of the model's own cloud, FILE or BACKBONE=FILE: weights of this project, or safetensors of a CIFAR
    /// network with `PyTorch` names.
    #[arg(long)]
    cloud: Option<NetworkFile>,
    /// What happened to the camera since training: noise, blur or colour with a strength of 1 or 2, such as noise:2.
    #[arg(long)]
    shift: Option<Shift>,
    /// Evaluate the first N test images only.
    #[arg(long)]
    limit: Option<usize>,
    /// What the edge is computed in: float32, or int8 for a model that says which numbers its layers read. For int8, what it costs on
    /// these images against float32 is said as well.
    #[arg(long, default_value_t)]
    precision: Precision,
    #[command(flatten)]
    view: View,
}

/// Runs the sub-command.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let subject = Subject::open(&args.model, args.cloud.as_ref(), args.precision)?;
    let source = Source::find(args.data.as_deref())?;
    let [height, width] = subject.size();
    let Test(mut images) = source.test(height, width)?;
    if let Some(limit) = args.limit {
        images = images.select(&(0..limit.min(images.len())).collect::<Vec<_>>());
    }
    let mut data = source.describe();
    if let Some(shift) = args.shift {
        images = shift.apply(&images, SHIFT_SEED);
        data = format!("{data}, shifted by {shift}");
    }
    let (selection, report, words) = if let Some(path) = &args.selection {
        let (selection, words) = held_out(path, [height, width])?;
        (selection, images, words)
    } else {
        let (selection, report) = halves(&images);
        (selection, report, "the other half of the same images".to_owned())
    };
    let stored = subject.evaluate(&selection, &report, data, words)?;
    stored.write(&args.out)?;
    writeln!(
        io::stdout().lock(),
        "{}",
        summary(&args.view.write(&stored, &args.out)?)
    )?;
    if args.precision == Precision::Int8 {
        writeln!(io::stdout().lock(), "{}", subject.against_floats(&report)?)?;
    }
    info!("open {}", args.out.join("report.html").display());
    Ok(())
}

/// Images given to fit to. The data set's own archive is refused: a model was trained on it.
fn held_out(path: &Path, [height, width]: [usize; 2]) -> Result<(Images, String), Box<dyn Error>> {
    let source = Source::find(Some(path))?;
    if matches!(source, Source::Cifar100(_) | Source::Procedural) {
        return Err(format!(
            "failed to use {} to fit to: networks are trained on its images; give a .bin file or a folder of images that were held out",
            path.display()
        )
        .into());
    }
    let Training(images) = source.training(height, width)?;
    Ok((images, source.describe()))
}

/// Two halves that share no image, the same at every call.
fn halves(images: &Images) -> (Images, Images) {
    let order = Shuffle::new(HALVES_SEED).epoch(images.len());
    let (first, second) = order.split_at(order.len() / 2);
    (images.select(first), images.select(second))
}

/// A line on a terminal that says how far a pass is.
struct Progress<'a> {
    what: &'a str,
    of: usize,
    began: Instant,
    shown: bool,
}

impl<'a> Progress<'a> {
    fn new(what: &'a str, of: usize) -> Self {
        Self {
            what,
            of,
            began: Instant::now(),
            shown: std::io::stderr().is_terminal(),
        }
    }

    fn show(&self, done: usize) {
        let rate = done as f64 / self.began.elapsed().as_secs_f64().max(1e-9);
        if self.shown {
            let left = (self.of - done) as f64 / rate.max(1e-9);
            eprint!(
                "\r{}: {done}/{} images, {rate:.0} a second, {left:.0} s left   ",
                self.what, self.of
            );
        }
        if done == self.of {
            if self.shown {
                eprintln!();
            }
            info!(images = done, rate, "ran over the {} images", self.what);
        }
    }
}

/// The report in a few lines.
fn summary(report: &EvaluationReport) -> String {
    let mut lines = vec![format!("{} images: {}", report.report_images, report.config.data)];
    lines.extend(report.lines.iter().map(|line| {
        let figures = &line.figures;
        format!(
            "{:<34}{:6.2} % ± {:.2}   sent {:6.2} %   edge {:6.1} M MACs   {:7.2} mJ",
            line.name,
            100.0 * figures.accuracy,
            100.0 * figures.standard_error,
            100.0 * figures.offload,
            figures.spent.edge_macs / 1e6,
            1e3 * figures.spent.joules
        )
    }));
    lines.extend(report.scores.iter().map(|score| {
        let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
        let (wrong, gain) = (shown(score.auroc_wrong), shown(score.auroc_gain));
        format!(
            "{:<18}AUROC wrong {wrong}, cloud mends {gain}   AURC {:.4}",
            score.score.as_str(),
            score.aurc
        )
    }));
    lines.extend(report.calibration.iter().map(|one| {
        format!(
            "{:<18}calibration error {:.2} %, {:.2} % at temperature {:.2}",
            one.exit.as_str(),
            100.0 * one.error,
            100.0 * one.scaled_error,
            one.temperature
        )
    }));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn halves_share_no_image_and_do_not_change() {
        let mut images = Images::empty(1, 1);
        for label in 0..101 {
            images.push(&[0; 3], label);
        }
        let (a, b) = halves(&images);
        assert_eq!((a.len(), b.len()), (50, 51));
        assert_eq!(
            a.labels.iter().chain(&b.labels).collect::<BTreeSet<_>>().len(),
            101
        );
        assert_eq!(halves(&images), (a, b));
    }

    #[test]
    fn training_data_is_not_fitted_to() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("train.bin"), [0_u8; 3074]).unwrap();
        assert!(
            held_out(folder.path(), [32, 32])
                .unwrap_err()
                .to_string()
                .contains("held out")
        );
        let records = folder.path().join("kept.bin");
        std::fs::write(&records, [0_u8; 3074]).unwrap();
        assert_eq!(held_out(&records, [32, 32]).unwrap().0.len(), 1);
    }
}
