use serde::{Deserialize, Serialize};
use snafu::{Snafu, ensure};

/// How unsure an exit is of an input; larger means less sure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Score {
    /// `-Σ p ln p` in nats, 0..ln(classes).
    #[default]
    Entropy,
    /// `1 - max p`, 0..1.
    LeastConfidence,
    /// `1 - (p₁ - p₂)` of the two largest, 0..1.
    Margin,
}

/// Why there is no score. Never treated as an easy input.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[non_exhaustive]
pub enum ScoreError {
    /// No class at all.
    #[snafu(display("failed to score an exit without classes"))]
    Empty,
    /// A logit is NaN or infinite.
    #[snafu(display("failed to score an exit: logit {index} is not finite"))]
    NotFinite {
        /// Position of the first such logit.
        index: usize,
    },
}

/// Probabilities of finite `logits`, `[classes]` → `[classes]`; stable for any magnitude.
pub fn softmax(logits: &[f32]) -> Result<Vec<f32>, ScoreError> {
    ensure!(!logits.is_empty(), EmptySnafu);
    if let Some(index) = logits.iter().position(|v| !v.is_finite()) {
        return NotFiniteSnafu { index }.fail();
    }
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut p: Vec<f32> = logits.iter().map(|v| (v - top).exp()).collect();
    let sum: f32 = p.iter().sum();
    for value in &mut p {
        *value /= sum;
    }
    Ok(p)
}

impl Score {
    /// The score of probabilities `p`, `[classes]`.
    #[must_use]
    pub fn of(self, p: &[f32]) -> f32 {
        match self {
            Self::Entropy => p
                .iter()
                .filter(|&&v| v > 0.0)
                .map(|v| -v * v.ln())
                .sum::<f32>()
                .max(0.0),
            Self::LeastConfidence => 1.0 - top_two(p).0,
            Self::Margin => {
                let (first, second) = top_two(p);
                1.0 - (first - second)
            }
        }
    }

    /// The largest value that the score can take for `classes` classes.
    #[must_use]
    pub fn range(self, classes: usize) -> f32 {
        match self {
            Self::Entropy => (classes.max(2) as f32).ln(),
            Self::LeastConfidence | Self::Margin => 1.0,
        }
    }
}

/// Position and value of the largest of `values`, the first of equal ones; `-∞` at 0 of none.
#[must_use]
pub fn best(values: &[f32]) -> (usize, f32) {
    values.iter().copied().enumerate().fold(
        (0, f32::NEG_INFINITY),
        |best, (i, v)| if v > best.1 { (i, v) } else { best },
    )
}

/// The two largest values; with one class the second is 0.
fn top_two(p: &[f32]) -> (f32, f32) {
    p.iter().fold((0.0, 0.0), |(first, second), &v| {
        if v > first {
            (v, first)
        } else {
            (first, second.max(v))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_class_is_certain() {
        let p = softmax(&[3.0]).unwrap();
        for score in [Score::Entropy, Score::LeastConfidence, Score::Margin] {
            assert!(score.of(&p).abs() < 1e-6, "{score:?}");
        }
    }

    #[test]
    fn equal_logits_are_as_unsure_as_can_be() {
        let p = softmax(&[0.0; 100]).unwrap();
        assert!((Score::Entropy.of(&p) - 100_f32.ln()).abs() < 1e-4);
        assert!((Score::LeastConfidence.of(&p) - 0.99).abs() < 1e-6);
        assert!((Score::Margin.of(&p) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_not_finite_has_no_score() {
        assert_eq!(softmax(&[0.0, f32::NAN]), Err(ScoreError::NotFinite { index: 1 }));
        assert_eq!(softmax(&[f32::INFINITY]), Err(ScoreError::NotFinite { index: 0 }));
        assert_eq!(softmax(&[]), Err(ScoreError::Empty));
    }

    proptest! {
        #[test]
        fn scores_stay_in_their_range(logits in proptest::collection::vec(-1e30_f32..1e30, 1..200)) {
            let p = softmax(&logits).unwrap();
            prop_assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-3);
            for score in [Score::Entropy, Score::LeastConfidence, Score::Margin] {
                let value = score.of(&p);
                prop_assert!(value >= -1e-5 && value <= score.range(logits.len()) + 1e-3, "{:?} {}", score, value);
            }
        }
    }
}
