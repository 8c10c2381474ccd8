//! Thresholds that mean something: by how much may be sent, by how much must be right, or by a risk that is guaranteed.

use snafu::{OptionExt, Snafu, ensure};

use crate::curve::{Point, at, curve};
use crate::judge::Judged;
use crate::route::Exit;
use crate::tally::Tally;

mod extend;
mod risk;

pub use extend::{EXTEND_COST, extend_above};
pub use risk::{Risk, RiskBound, by_risk};

/// Escalation thresholds tried beside the one for the main exit.
const ESCALATIONS: usize = 32;

/// What is wanted of a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At most this share of the images goes to the cloud, 0..=1.
    OffloadBudget(f64),
    /// At least this share of the answers is right, 0..=1.
    TargetAccuracy(f64),
}

/// Two thresholds and what they do on the images that they were chosen by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// For the main exit's score.
    pub offload_above: f32,
    /// For the extension's; absent: its answer is final.
    pub extension_offload_above: Option<f32>,
    /// On the images that they were chosen by: other images will differ.
    pub tally: Tally,
}

/// Why there is no such threshold.
#[derive(Debug, Clone, PartialEq, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum ChooseError {
    /// No images.
    #[snafu(display("failed to choose a threshold: the evaluation holds no images to choose by"))]
    Empty,
    /// Nothing can be sent.
    #[snafu(display(
        "failed to choose a threshold: the evaluation has no cloud; evaluate a model that has one"
    ))]
    NoCloud,
    /// A figure is out of its range.
    #[snafu(display("failed to choose a threshold: {field} is {value}; give a number {range}"))]
    Range {
        /// Which.
        field: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// The extension alone sends more.
    #[snafu(display(
        "failed to keep to an offload budget of {budget}: extensionOffloadAbove alone sends {least:.4} of the images; raise it"
    ))]
    Budget {
        /// What may be sent.
        budget: f64,
        /// What is sent at least.
        least: f64,
    },
    /// Not even the best threshold is that accurate.
    #[snafu(display(
        "failed to reach an accuracy of {target}: the best threshold reaches {best:.4} on these images; a better cloud or extension is needed"
    ))]
    Accuracy {
        /// What was wanted.
        target: f64,
        /// What can be had.
        best: f64,
    },
    /// No threshold is shown to be that safe.
    #[snafu(display(
        "failed to guarantee a risk of at most {at_most} with confidence {confidence}: {images} images do not show it for any threshold; the least risk seen was {least:.4}. Allow more risk, less confidence, or evaluate more images"
    ))]
    Risk {
        /// What was wanted.
        at_most: f64,
        /// How surely.
        confidence: f64,
        /// Images that there were.
        images: usize,
        /// Smallest risk of all thresholds tried, as seen.
        least: f64,
    },
}

/// The threshold that keeps most images at the edge among those that reach `goal`, at a given escalation threshold.
pub fn choose(
    judged: &[Judged],
    extension_offload_above: Option<f32>,
    goal: Goal,
) -> Result<Choice, ChooseError> {
    check(judged)?;
    let points = curve(judged, extension_offload_above);
    let point = match goal {
        Goal::OffloadBudget(budget) => by_budget(&points, budget)?,
        Goal::TargetAccuracy(target) => by_accuracy(&points, target)?,
    };
    Ok(Choice {
        offload_above: point.offload_above,
        extension_offload_above,
        tally: point.tally,
    })
}

/// As [`choose`], and the escalation threshold with it: of no escalation and [`ESCALATIONS`] quantiles of the
/// extension's scores, the one that is most accurate within the budget, or that sends least at the target accuracy.
pub fn choose_both(judged: &[Judged], goal: Goal) -> Result<Choice, ChooseError> {
    let mut chosen = choose(judged, None, goal);
    let mut scores: Vec<f32> = judged.iter().filter_map(|one| one.extension_score).collect();
    scores.sort_by(f32::total_cmp);
    for step in 0..ESCALATIONS {
        let Some(&escalate) = scores.get(step * scores.len() / ESCALATIONS) else {
            continue;
        };
        let Ok(candidate) = choose(judged, Some(escalate), goal) else {
            continue;
        };
        let better = chosen.as_ref().map_or(true, |best| match goal {
            Goal::OffloadBudget(_) => candidate.tally.right() > best.tally.right(),
            Goal::TargetAccuracy(_) => {
                candidate.tally.exit(Exit::Cloud).images < best.tally.exit(Exit::Cloud).images
            }
        });
        if better {
            chosen = Ok(candidate);
        }
    }
    chosen
}

fn check(judged: &[Judged]) -> Result<(), ChooseError> {
    ensure!(!judged.is_empty(), EmptySnafu);
    ensure!(judged.iter().all(|one| one.cloud_right.is_some()), NoCloudSnafu);
    Ok(())
}

fn share_in_range(field: &'static str, value: f64) -> Result<(), ChooseError> {
    ensure!(
        (0.0..=1.0).contains(&value),
        RangeSnafu {
            field,
            value,
            range: "in 0..=1"
        }
    );
    Ok(())
}

/// The smallest threshold that sends at most `budget`: the exact quantile. Images with equal scores go or stay together.
fn by_budget(points: &[Point], budget: f64) -> Result<&Point, ChooseError> {
    share_in_range("the offload budget", budget)?;
    let least = points.last().map_or(0.0, |point| point.tally.offload());
    // In images, so that a budget of 0.2 of 10 images is 2 whatever 0.2 is in binary.
    let allowed = |point: &&Point| {
        point.tally.exit(Exit::Cloud).images as f64 <= budget * point.tally.images as f64 * (1.0 + 1e-12)
    };
    points.iter().find(allowed).context(BudgetSnafu { budget, least })
}

/// The largest threshold that is right for at least `target`.
fn by_accuracy(points: &[Point], target: f64) -> Result<&Point, ChooseError> {
    share_in_range("the target accuracy", target)?;
    let best = points
        .iter()
        .map(|point| point.tally.accuracy())
        .fold(0.0, f64::max);
    points
        .iter()
        .rev()
        .find(|point| point.tally.accuracy() >= target)
        .context(AccuracySnafu { target, best })
}

#[cfg(test)]
mod tests;
