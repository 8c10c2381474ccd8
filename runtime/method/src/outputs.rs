//! All that the networks said of labelled images, so that any routing can be tried without running them again.

use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu, ensure};

use crate::hard::{HardClasses, HardClassesError};
use crate::judge::{Judged, judge};
use crate::route::{Exit, ExtensionRule, Routing};
use crate::score::{Score, ScoreError, best};
use crate::tally::Tally;

/// All logits of all exits for labelled images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outputs {
    /// True class, `[n]`.
    pub labels: Vec<u32>,
    /// Logits of the main exit, `[n][classes]`.
    pub main: Vec<Vec<f32>>,
    /// Logits of the extension for every image, needed or not, `[n][outputs]`.
    pub extension: Vec<Vec<f32>>,
    /// Logits of the cloud, `[n][classes]`; empty without one.
    pub cloud: Vec<Vec<f32>>,
    /// Class of each output of the extension, ascending.
    pub extension_classes: Vec<u32>,
    /// Classes for which the extension is asked, ascending; some or all of those it has outputs for.
    pub hard_classes: Vec<u32>,
}

/// One exit of a report; shares and accuracies in 0..=1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitReport {
    /// Which.
    pub exit: Exit,
    /// Of all images.
    pub share: f64,
    /// Of the images that left here; 0 where none did.
    pub accuracy: f64,
    /// What the main block alone would have got right of them.
    pub main_accuracy: f64,
}

/// What a routing makes of the outputs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Images.
    pub samples: usize,
    /// Of all answers together.
    pub accuracy: f64,
    /// Exit by exit.
    pub exits: Vec<ExitReport>,
}

/// Why outputs could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum EvaluateError {
    /// Not as many rows or columns as there should be.
    #[snafu(display(
        "failed to evaluate: {what} has {found} where {expected} belong; run the evaluation again"
    ))]
    Shape {
        /// Which part.
        what: &'static str,
        /// What it has.
        found: usize,
        /// What it should have.
        expected: usize,
    },
    /// A label is no class.
    #[snafu(display("failed to evaluate image {image}: its label {label} is not one of {classes} classes"))]
    Label {
        /// Position of the image.
        image: usize,
        /// Its label.
        label: u32,
        /// Classes of the main block.
        classes: usize,
    },
    /// The hard classes cannot be.
    #[snafu(display("failed to evaluate: {source}"))]
    Hard {
        /// Why.
        source: HardClassesError,
    },
    /// Logits have no score.
    #[snafu(display("failed to evaluate image {image}: {source}"))]
    Logits {
        /// Position of the image.
        image: usize,
        /// Why.
        source: ScoreError,
    },
}

impl Outputs {
    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Classes of the main block; 0 without images.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.main.first().map_or(0, Vec::len)
    }

    /// Whether there is a cloud.
    #[must_use]
    pub fn has_cloud(&self) -> bool {
        !self.cloud.is_empty()
    }

    /// Checks that all parts fit together; gives the table of hard classes.
    pub fn check(&self) -> Result<HardClasses, EvaluateError> {
        let (images, classes) = (self.len(), self.classes());
        let hard =
            HardClasses::new(&self.hard_classes, &self.extension_classes, classes).context(HardSnafu)?;
        let cloud = if self.has_cloud() { images } else { 0 };
        for (what, rows, count, columns) in [
            ("main", &self.main, images, classes),
            ("extension", &self.extension, images, hard.outputs()),
            ("cloud", &self.cloud, cloud, classes),
        ] {
            ensure!(
                rows.len() == count,
                ShapeSnafu {
                    what,
                    found: rows.len(),
                    expected: count
                }
            );
            if let Some(row) = rows.iter().find(|row| row.len() != columns) {
                return ShapeSnafu {
                    what,
                    found: row.len(),
                    expected: columns,
                }
                .fail();
            }
        }
        if let Some((image, &label)) = self
            .labels
            .iter()
            .enumerate()
            .find(|(_, label)| **label as usize >= classes)
        {
            return LabelSnafu {
                image,
                label,
                classes,
            }
            .fail();
        }
        Ok(hard)
    }

    /// The images at `indices`, in that order; positions that do not exist are left out.
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        let rows = |all: &[Vec<f32>]| indices.iter().filter_map(|&i| all.get(i).cloned()).collect();
        Self {
            labels: indices
                .iter()
                .filter_map(|&i| self.labels.get(i).copied())
                .collect(),
            main: rows(&self.main),
            extension: rows(&self.extension),
            cloud: rows(&self.cloud),
            extension_classes: self.extension_classes.clone(),
            hard_classes: self.hard_classes.clone(),
        }
    }

    /// Counts of what `routing` makes of all images. Without a cloud nothing is sent to one.
    pub fn tally(&self, routing: &Routing) -> Result<Tally, EvaluateError> {
        Ok(Tally::of(
            &self.judged(routing)?,
            routing.offload_above,
            routing.extension_offload_above,
        ))
    }

    /// Which answers are right, image by image, where `routing` is followed. Without a cloud nothing is sent to one.
    pub fn answers(&self, routing: &Routing) -> Result<Vec<bool>, EvaluateError> {
        let right = |one: &Judged| one.right(routing.offload_above, routing.extension_offload_above);
        Ok(self.judged(routing)?.iter().map(right).collect())
    }

    fn judged(&self, routing: &Routing) -> Result<Vec<Judged>, EvaluateError> {
        let judged = judge(self, routing.score, routing.rule)?.into_iter();
        Ok(judged
            .map(|one| one.extended_above(routing.extend_above))
            .collect())
    }

    /// Routes all images. Without a cloud nothing is sent to one.
    pub fn report(&self, routing: &Routing) -> Result<Report, EvaluateError> {
        self.tally(routing).map(|tally| Report::from(&tally))
    }

    /// Accuracy of the main exit alone.
    #[must_use]
    pub fn main_accuracy(&self) -> f64 {
        accuracy(&self.main, &self.labels)
    }

    /// Accuracy of the cloud alone, where there is one.
    #[must_use]
    pub fn cloud_accuracy(&self) -> Option<f64> {
        self.has_cloud().then(|| accuracy(&self.cloud, &self.labels))
    }
}

impl From<&Tally> for Report {
    fn from(tally: &Tally) -> Self {
        let exits = [Exit::Main, Exit::Extension, Exit::Cloud].map(|exit| {
            let count = tally.exit(exit);
            ExitReport {
                exit,
                share: share(count.images, tally.images),
                accuracy: share(count.right, count.images),
                main_accuracy: share(count.main_right, count.images),
            }
        });
        Self {
            samples: tally.images,
            accuracy: tally.accuracy(),
            exits: exits.to_vec(),
        }
    }
}

/// Routing by entropy, in nats, as the paper has it; `None` keeps everything at the edge.
#[must_use]
pub fn by_entropy(offload_above: Option<f32>, rule: ExtensionRule) -> Routing {
    Routing {
        score: Score::Entropy.into(),
        offload_above: offload_above.unwrap_or(f32::INFINITY),
        extend_above: None,
        extension_offload_above: None,
        rule,
        when_unavailable: crate::route::WhenUnavailable::AnswerLocally,
    }
}

/// `part` of `whole`, 0 of nothing.
pub(crate) fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn accuracy(logits: &[Vec<f32>], labels: &[u32]) -> f64 {
    let right = logits
        .iter()
        .zip(labels)
        .filter(|(row, label)| best(row).0 == **label as usize)
        .count();
    share(right, labels.len())
}

#[cfg(test)]
mod tests;
