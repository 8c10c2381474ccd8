//! Whether a confidence of 0.8 means right four times in five, and the temperature that makes it so.

use serde::{Deserialize, Serialize};

use crate::score::{ScoreError, best, softmax};

/// Bins of a reliability diagram (Guo et al. 2017 use 15).
pub const BINS: usize = 15;

/// Images whose confidence lies in one of [`BINS`] equal parts of 0..=1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bin {
    /// How many.
    pub images: usize,
    /// Their mean confidence; 0 without images.
    pub confidence: f64,
    /// Share of right answers among them; 0 without images.
    pub accuracy: f64,
}

/// The reliability diagram of (confidence, right).
#[must_use]
pub fn reliability(rows: &[(f32, bool)]) -> Vec<Bin> {
    let mut bins = vec![Bin::default(); BINS];
    for &(confidence, right) in rows {
        let index = ((f64::from(confidence) * BINS as f64) as usize).min(BINS - 1);
        let bin = &mut bins[index];
        bin.images += 1;
        bin.confidence += f64::from(confidence);
        bin.accuracy += f64::from(u8::from(right));
    }
    for bin in &mut bins {
        let images = (bin.images as f64).max(1.0);
        bin.confidence /= images;
        bin.accuracy /= images;
    }
    bins
}

/// Expected calibration error: mean distance of confidence and accuracy over all images, 0..=1.
#[must_use]
pub fn expected_calibration_error(bins: &[Bin]) -> f64 {
    let images: usize = bins.iter().map(|bin| bin.images).sum();
    let distance: f64 = bins
        .iter()
        .map(|bin| bin.images as f64 * (bin.confidence - bin.accuracy).abs())
        .sum();
    distance / (images as f64).max(1.0)
}

/// (confidence, index of the answer) of each row of `logits` at `temperature`.
pub fn confidences(logits: &[&[f32]], temperature: f32) -> Result<Vec<(f32, usize)>, ScoreError> {
    logits
        .iter()
        .map(|row| {
            let cooled: Vec<f32> = row.iter().map(|v| v / temperature).collect();
            let (index, confidence) = best(&softmax(&cooled)?);
            Ok((confidence, index))
        })
        .collect()
}

/// The temperature in 0.05..=20 with the least negative log-likelihood of `(logits, index of the truth)`, fitted by golden
/// section (Guo et al. 2017). A truth that is none of the columns, as an extension meets it, counts by the probability that
/// the answer is wrong. 1 of nothing.
#[must_use]
pub fn fit_temperature(rows: &[(&[f32], Option<usize>)]) -> f32 {
    let told = |row: &&(&[f32], Option<usize>)| row.1.map_or(row.0.len() > 1, |truth| truth < row.0.len());
    let rows: Vec<_> = rows.iter().filter(told).collect();
    if rows.is_empty() {
        return 1.0;
    }
    let loss = |log_temperature: f64| -> f64 {
        let cold = (-log_temperature).exp();
        rows.iter()
            .map(|(logits, truth)| negative_log_likelihood(logits, *truth, cold))
            .sum()
    };
    let golden = (5_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (0.05_f64.ln(), 20_f64.ln());
    let (mut left, mut right) = (high - golden * (high - low), low + golden * (high - low));
    let (mut at_left, mut at_right) = (loss(left), loss(right));
    while high - low > 1e-4 {
        if at_left <= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - golden * (high - low);
            at_left = loss(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + golden * (high - low);
            at_right = loss(right);
        }
    }
    f64::midpoint(low, high).exp() as f32
}

fn negative_log_likelihood(logits: &[f32], truth: Option<usize>, inverse_temperature: f64) -> f64 {
    let answer = best(logits).0;
    let scaled = |index: usize| f64::from(logits[index]) * inverse_temperature;
    let log_sum = |without: Option<usize>| {
        let indices = || (0..logits.len()).filter(|index| Some(*index) != without);
        let top = indices().map(scaled).fold(f64::NEG_INFINITY, f64::max);
        top + indices()
            .map(|index| (scaled(index) - top).exp())
            .sum::<f64>()
            .ln()
    };
    let said = truth.map_or_else(|| log_sum(Some(answer)), scaled);
    log_sum(None) - said
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn confidence_that_is_kept_has_no_error_and_bluffing_has() {
        let honest: Vec<_> = (0..10).map(|i| (0.7, i < 7)).collect();
        assert!(expected_calibration_error(&reliability(&honest)) < 1e-6);
        let bluff = [(1.0, false), (1.0, true)];
        assert!((expected_calibration_error(&reliability(&bluff)) - 0.5).abs() < 1e-9);
        // One image off by 0.1 among four: two bins, weighted by their images.
        let mixed = [(1.0, true), (1.0, true), (1.0, true), (0.1, false)];
        assert!((expected_calibration_error(&reliability(&mixed)) - 0.025).abs() < 1e-6);
        assert!(expected_calibration_error(&reliability(&[])).abs() < 1e-12);
    }

    #[test]
    fn the_temperature_undoes_a_known_one() {
        // Two classes with logits (±ln 3, 0) say 3/4, and are right three times in four: calibrated. Scaled by 4 they bluff.
        let truth = |i: usize| usize::from(i % 4 == 3);
        let rows: Vec<(Vec<f32>, usize)> = (0..40).map(|i| (vec![4.0 * 3_f32.ln(), 0.0], truth(i))).collect();
        let rows: Vec<_> = rows.iter().map(|(l, t)| (l.as_slice(), Some(*t))).collect();
        assert!((fit_temperature(&rows) - 4.0).abs() < 1e-2);
        assert!((fit_temperature(&[]) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_truth_that_cannot_be_said_cools() {
        // The same, but where the first column is wrong the truth is no column at all: the answer is right as often.
        let rows: Vec<(Vec<f32>, Option<usize>)> = (0..40)
            .map(|i| (vec![4.0 * 3_f32.ln(), 0.0], (i % 4 != 3).then_some(0)))
            .collect();
        let rows: Vec<_> = rows.iter().map(|(l, t)| (l.as_slice(), *t)).collect();
        assert!((fit_temperature(&rows) - 4.0).abs() < 1e-2);
        assert!(
            (fit_temperature(&[(&[2.0], None)]) - 1.0).abs() < 1e-9,
            "one column can only be right"
        );
    }

    proptest! {
        #[test]
        fn the_temperature_is_no_worse_than_its_neighbours(
            logits in proptest::collection::vec(proptest::collection::vec(-5_f32..5.0, 3), 4..40), seed in 0_usize..3
        ) {
            let rows: Vec<(&[f32], Option<usize>)> =
                logits.iter().enumerate().map(|(i, row)| (row.as_slice(), Some((i * 7 + seed) % 3))).collect();
            let loss = |t: f64| rows.iter().map(|(row, truth)| negative_log_likelihood(row, *truth, 1.0 / t)).sum::<f64>();
            let fitted = f64::from(fit_temperature(&rows));
            for other in [0.05, 0.3, 1.0, fitted * 0.9, fitted * 1.1, 3.0, 20.0] {
                prop_assert!(loss(fitted) <= loss(other.clamp(0.05, 20.0)) + 1e-3, "{} against {}", fitted, other);
            }
        }

        #[test]
        fn bins_hold_all_images(rows in proptest::collection::vec((0_f32..=1.0, any::<bool>()), 0..60)) {
            let bins = reliability(&rows);
            prop_assert_eq!(bins.iter().map(|b| b.images).sum::<usize>(), rows.len());
            let error = expected_calibration_error(&bins);
            prop_assert!((0.0..=1.0).contains(&error));
        }
    }
}
