//! What a cloud's answer says. The server may be any of the protocol, and some end in a softmax.

use snafu::OptionExt;

use super::{AnswerSnafu, Logits};
use crate::protocol::{InferResponse, LOGITS};

/// How far probabilities may be from summing to 1.
const ROUNDING: f32 = 1e-3;

/// Logits, `[n][classes]`, from the tensor of shape `[n, classes]`, whatever its name. Where it is not called `logits`, as ours
/// is, its values tell whether they are probabilities.
pub(super) fn logits(answer: &InferResponse, n: usize, classes: usize) -> Logits {
    let tensor = answer
        .outputs
        .iter()
        .find(|t| t.shape == [n, classes])
        .context(AnswerSnafu {
            reason: format!("no output has the shape [{n}, {classes}]"),
        })?;
    let values = tensor.floats().context(AnswerSnafu {
        reason: format!("{} holds what is no finite number", tensor.name),
    })?;
    let rows = || values.chunks_exact(classes);
    // With few classes, a row of logits may look like probabilities by chance: the name goes first, and all rows must.
    let told = tensor.name != LOGITS && rows().all(are_probabilities);
    Ok(rows()
        .map(|row| {
            if told {
                from_probabilities(row)
            } else {
                row.to_vec()
            }
        })
        .collect())
}

/// None is negative, and they sum to 1.
fn are_probabilities(values: &[f32]) -> bool {
    values.iter().all(|v| *v >= 0.0) && (values.iter().sum::<f32>() - 1.0).abs() < ROUNDING
}

/// Logits whose softmax is `p`.
fn from_probabilities(p: &[f32]) -> Vec<f32> {
    // What is impossible must stay a finite number.
    p.iter().map(|v| v.max(f32::MIN_POSITIVE).ln()).collect()
}

#[cfg(test)]
mod tests {
    use meanet_method::cloud_answer;

    use super::*;
    use crate::protocol::{Data, Tensor};

    fn answer(name: &str, shape: Vec<usize>, data: Data) -> InferResponse {
        InferResponse {
            outputs: vec![Tensor::new(name, shape, data)],
            ..InferResponse::default()
        }
    }

    /// Label and confidence of each row.
    fn said(name: &str, values: &[f32], classes: usize) -> Vec<(u32, f32)> {
        let n = values.len() / classes;
        let answer = answer(name, vec![n, classes], Data::F32(values.to_vec()));
        let rows = logits(&answer, n, classes).unwrap();
        rows.iter()
            .map(|row| cloud_answer(row).unwrap())
            .map(|answer| (answer.label, answer.confidence))
            .collect()
    }

    #[test]
    fn an_answer_is_checked_before_it_is_used() {
        let answer = |shape, data| answer("scores", shape, data);
        let good = answer(vec![1, 3], Data::F32(vec![1.0, 2.0, 3.0]));
        assert_eq!(logits(&good, 1, 3).unwrap(), [[1.0, 2.0, 3.0]]);
        assert!(logits(&good, 1, 4).is_err() && logits(&good, 3, 1).is_err());
        assert!(logits(&answer(vec![1, 3], Data::F32(vec![1.0, 2.0])), 1, 3).is_err());
        assert!(logits(&answer(vec![1, 2], Data::F32(vec![1.0, f32::NAN])), 1, 2).is_err());
        assert!(logits(&answer(vec![1, 1], Data::Text(vec!["x".to_owned()])), 1, 1).is_err());
    }

    #[test]
    fn what_is_called_logits_is_logits() {
        let answers = said("logits", &[0.3, 0.7], 2);
        assert_eq!(answers[0].0, 1);
        assert!((answers[0].1 - 0.5987).abs() < 1e-4, "{answers:?}");
    }

    #[test]
    fn probabilities_of_another_server_are_understood() {
        for (p, label) in [([0.0, 0.25, 0.75], 2), ([1.0, 0.0, 0.0], 0)] {
            let answers = said("probabilities", &p, 3);
            assert_eq!(answers[0].0, label);
            assert!((answers[0].1 - p[label as usize]).abs() < 1e-5, "{answers:?}");
        }
    }

    #[test]
    fn one_row_of_another_servers_logits_may_look_like_probabilities() {
        let answers = said("scores", &[0.3, 0.7, -1.0, 4.0], 2);
        assert!((answers[0].1 - 0.5987).abs() < 1e-4, "{answers:?}");
    }
}
