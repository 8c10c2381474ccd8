//! What a network is worth, image by image and exit by exit.

use meanet_data::Images;
use meanet_method::{
    AfterMain, Exit, ExtensionRule, HardClasses, Routing, Score, ScoreError, WhenUnavailable, after_main,
    local_answer,
};
use serde::Serialize;
use snafu::Snafu;

use crate::batch::ImageBatch;
use crate::cloud::CloudNetwork;
use crate::edge::{EdgeNetwork, InferError};

/// All logits of all exits for labelled images, so that any routing can be tried without running the network again.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outputs {
    /// True class, `[n]`.
    pub labels: Vec<u32>,
    /// Logits of the main exit, `[n][classes]`.
    pub main: Vec<Vec<f32>>,
    /// Logits of the extension for every image, needed or not, `[n][hard]`.
    pub extension: Vec<Vec<f32>>,
    /// Logits of the cloud, `[n][classes]`; empty without one.
    pub cloud: Vec<Vec<f32>>,
    /// Class of each output of the extension.
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

/// Why outputs could not be routed.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum EvaluateError {
    /// Logits or hard classes are not what they should be.
    #[snafu(display("failed to evaluate: {reason}"))]
    Route {
        /// Why.
        reason: String,
    },
}

/// Routing by entropy, in nats, as the paper has it; `None` keeps everything at the edge.
#[must_use]
pub fn by_entropy(offload_above: Option<f32>, rule: ExtensionRule) -> Routing {
    Routing {
        score: Score::Entropy,
        offload_above: offload_above.unwrap_or(f32::INFINITY),
        extension_offload_above: None,
        rule,
        when_unavailable: WhenUnavailable::AnswerLocally,
    }
}

/// Runs all blocks on all images.
pub fn outputs(
    edge: &EdgeNetwork,
    cloud: Option<&CloudNetwork>,
    images: &Images,
) -> Result<Outputs, InferError> {
    let mut outputs = Outputs {
        labels: images.labels.clone(),
        main: Vec::new(),
        extension: Vec::new(),
        cloud: Vec::new(),
        hard_classes: edge.hard_classes().to_vec(),
    };
    for pixels in images.pixels.chunks((images.stride() * 100).max(1)) {
        let batch = ImageBatch::from_bytes(images.height, images.width, pixels.to_vec())
            .map_err(|source| InferError::Image { source })?;
        let pass = edge.main(&batch)?;
        let all: Vec<usize> = (0..batch.len()).collect();
        outputs.extension.extend(edge.extension(&pass, &batch, &all)?);
        outputs.main.extend(pass.logits);
        if let Some(cloud) = cloud {
            outputs.cloud.extend(cloud.logits(&batch)?);
        }
    }
    Ok(outputs)
}

impl Outputs {
    /// Routes all images. Without a cloud nothing is sent to one.
    pub fn report(&self, routing: &Routing) -> Result<Report, EvaluateError> {
        let classes = self.main.first().map_or(0, Vec::len);
        let fail = |reason: String| EvaluateError::Route { reason };
        let hard = HardClasses::new(&self.hard_classes, classes).map_err(|e| fail(e.to_string()))?;
        let mut counts = [[0_usize; 3]; 3];
        for (index, &label) in self.labels.iter().enumerate() {
            let (exit, answer) = self
                .answer(index, routing, &hard)
                .map_err(|e| fail(e.to_string()))?;
            let count = &mut counts[exit as usize];
            count[0] += 1;
            count[1] += usize::from(answer == label);
            count[2] += usize::from(top(&self.main[index]) == label as usize);
        }
        let samples = self.labels.len();
        let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
        Ok(Report {
            samples,
            accuracy: share(counts.iter().map(|c| c[1]).sum(), samples),
            exits: [Exit::Main, Exit::Extension, Exit::Cloud]
                .into_iter()
                .zip(counts)
                .map(|(exit, [count, right, main])| ExitReport {
                    exit,
                    share: share(count, samples),
                    accuracy: share(right, count),
                    main_accuracy: share(main, count),
                })
                .collect(),
        })
    }

    fn answer(&self, index: usize, routing: &Routing, hard: &HardClasses) -> Result<(Exit, u32), ScoreError> {
        let cloud = self
            .cloud
            .get(index)
            .map(|logits| (Exit::Cloud, top(logits) as u32));
        let local = after_main(&self.main[index], routing, hard)?;
        if local.next == AfterMain::Offload
            && let Some(cloud) = cloud
        {
            return Ok(cloud);
        }
        if !local.hard {
            return Ok((Exit::Main, local.main.label));
        }
        let (answer, unsure) = local_answer(&local.main, &self.extension[index], routing, hard)?;
        Ok(cloud.filter(|_| unsure).unwrap_or((answer.exit, answer.label)))
    }

    /// Accuracy of the main exit alone.
    #[must_use]
    pub fn main_accuracy(&self) -> f64 {
        accuracy(&self.main, &self.labels)
    }

    /// Accuracy of the cloud alone, where there is one.
    #[must_use]
    pub fn cloud_accuracy(&self) -> Option<f64> {
        (!self.cloud.is_empty()).then(|| accuracy(&self.cloud, &self.labels))
    }
}

fn accuracy(logits: &[Vec<f32>], labels: &[u32]) -> f64 {
    let right = logits
        .iter()
        .zip(labels)
        .filter(|(row, label)| top(row) == **label as usize)
        .count();
    right as f64 / labels.len().max(1) as f64
}

/// Index of the largest value, the first of equal ones.
pub(crate) fn top(values: &[f32]) -> usize {
    values
        .iter()
        .enumerate()
        .fold(
            (0, f32::NEG_INFINITY),
            |best, (i, &v)| if v > best.1 { (i, v) } else { best },
        )
        .0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs() -> Outputs {
        Outputs {
            labels: vec![0, 1, 2, 2],
            main: vec![
                vec![9.0, 0.0, 0.0],
                vec![0.0, 0.0, 5.0],
                vec![0.0, 0.0, 9.0],
                vec![0.1, 0.0, 0.0],
            ],
            extension: vec![vec![0.0, 0.0], vec![8.0, 0.0], vec![0.5, 0.0], vec![0.0, 0.0]],
            cloud: vec![vec![0.0, 0.0, 1.0]; 4],
            hard_classes: vec![1, 2],
        }
    }

    #[test]
    fn each_image_leaves_by_one_exit() {
        let report = outputs()
            .report(&by_entropy(Some(1.0), ExtensionRule::Extension))
            .unwrap();
        assert!((report.exits.iter().map(|e| e.share).sum::<f64>() - 1.0).abs() < 1e-9);
        // Image 0 is easy, 1 is mended by the extension, 2 is spoiled by it, 3 is unsure and mended by the cloud.
        assert_eq!(
            report.exits.iter().map(|e| e.share).collect::<Vec<_>>(),
            [0.25, 0.5, 0.25]
        );
        assert!((report.accuracy - 0.75).abs() < 1e-9);
    }

    #[test]
    fn comparing_confidences_keeps_the_surer_answer() {
        let report = outputs()
            .report(&by_entropy(None, ExtensionRule::MoreConfident))
            .unwrap();
        assert!((report.exits[1].share - 0.25).abs() < 1e-9);
    }
}
