//! What a network is worth, image by image and exit by exit.

use meanet_data::Images;
use serde::Serialize;

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

/// When an input leaves by which exit (Long et al. 2021), as far as an evaluation needs it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Entropy of the main exit, in nats, above which an image goes to the cloud; absent: nothing does.
    pub offload_above: Option<f32>,
    /// Whether the extension's answer counts only where it is surer than the main exit.
    pub compare: bool,
}

/// Where an image got its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Exit {
    /// The main block.
    Main,
    /// The extension block.
    Extension,
    /// The cloud.
    Cloud,
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

/// Runs all blocks on all images.
pub fn outputs(edge: &EdgeNetwork, cloud: Option<&CloudNetwork>, images: &Images) -> Result<Outputs, InferError> {
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
    /// Routes all images by `rule`.
    #[must_use]
    pub fn report(&self, rule: Rule) -> Report {
        let mut counts = [(Exit::Main, [0_usize; 3]), (Exit::Extension, [0; 3]), (Exit::Cloud, [0; 3])];
        for (index, &label) in self.labels.iter().enumerate() {
            let p = softmax(&self.main[index]);
            let k = top(&p);
            let (exit, answer) = self.answer(index, &p, k, rule);
            let count = &mut counts[exit as usize].1;
            count[0] += 1;
            count[1] += usize::from(answer == label as usize);
            count[2] += usize::from(k == label as usize);
        }
        let samples = self.labels.len();
        let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
        Report {
            samples,
            accuracy: share(counts.iter().map(|(_, c)| c[1]).sum(), samples),
            exits: counts
                .iter()
                .map(|&(exit, [count, right, main])| ExitReport {
                    exit,
                    share: share(count, samples),
                    accuracy: share(right, count),
                    main_accuracy: share(main, count),
                })
                .collect(),
        }
    }

    fn answer(&self, index: usize, p: &[f32], k: usize, rule: Rule) -> (Exit, usize) {
        if rule.offload_above.is_some_and(|t| entropy(p) > t)
            && let Some(cloud) = self.cloud.get(index)
        {
            return (Exit::Cloud, top(cloud));
        }
        if self.hard_classes.binary_search(&(k as u32)).is_err() {
            return (Exit::Main, k);
        }
        let q = softmax(&self.extension[index]);
        let best = top(&q);
        if rule.compare && p[k] > q[best] {
            return (Exit::Main, k);
        }
        (Exit::Extension, self.hard_classes.get(best).map_or(k, |&class| class as usize))
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
    let right = logits.iter().zip(labels).filter(|(row, label)| top(row) == **label as usize).count();
    right as f64 / labels.len().max(1) as f64
}

pub(crate) fn softmax(logits: &[f32]) -> Vec<f32> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|v| (v - highest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|v| v / sum).collect()
}

/// In nats.
fn entropy(p: &[f32]) -> f32 {
    -p.iter().filter(|v| **v > 0.0).map(|v| v * v.ln()).sum::<f32>()
}

/// Index of the largest value, the first of equal ones.
pub(crate) fn top(values: &[f32]) -> usize {
    values.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (i, &v)| if v > best.1 { (i, v) } else { best }).0
}


#[cfg(test)]
mod tests {
    use super::*;

    fn outputs() -> Outputs {
        Outputs {
            labels: vec![0, 1, 2, 2],
            main: vec![vec![9.0, 0.0, 0.0], vec![0.0, 0.0, 5.0], vec![0.0, 0.0, 9.0], vec![0.1, 0.0, 0.0]],
            extension: vec![vec![0.0, 0.0], vec![8.0, 0.0], vec![0.5, 0.0], vec![0.0, 0.0]],
            cloud: vec![vec![0.0, 0.0, 1.0]; 4],
            hard_classes: vec![1, 2],
        }
    }

    #[test]
    fn each_image_leaves_by_one_exit() {
        let report = outputs().report(Rule { offload_above: Some(1.0), compare: false });
        assert!((report.exits.iter().map(|e| e.share).sum::<f64>() - 1.0).abs() < 1e-9);
        // Image 0 is easy, 1 is mended by the extension, 2 is spoiled by it, 3 is unsure and mended by the cloud.
        assert_eq!(report.exits.iter().map(|e| e.share).collect::<Vec<_>>(), [0.25, 0.5, 0.25]);
        assert!((report.accuracy - 0.75).abs() < 1e-9);
    }

    #[test]
    fn comparing_confidences_keeps_the_surer_answer() {
        let report = outputs().report(Rule { offload_above: None, compare: true });
        assert!((report.exits[1].share - 0.25).abs() < 1e-9);
    }
}
