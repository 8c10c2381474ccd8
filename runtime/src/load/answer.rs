use serde_json::Value;

use crate::protocol::{Data, InferResponse, Tensor};

/// The exit of a server that has none.
const MODEL: &str = "model";

/// What a server answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The revision that answered; empty where the server says none.
    pub revision: String,
    /// One answer an image.
    pub rows: Vec<Row>,
    /// Whether the answer contradicts itself: parameters and tensors disagree.
    pub contradicts: bool,
}

/// The answer for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The class.
    pub label: i64,
    /// Who answered: `main`, `extension` or `cloud`.
    pub exit: String,
    /// How unsure the main exit was.
    pub score: f64,
    /// Whether the cloud was asked in vain.
    pub degraded: bool,
}

impl Answer {
    /// Reads an answer for `n` images; the error says what is missing. Of a server that is no edge, it is the largest of the
    /// values that it gives for each image.
    pub(super) fn read(response: &InferResponse, n: usize) -> Result<Self, String> {
        let column = |name: &str| -> Result<Option<&Data>, String> {
            match response.outputs.iter().find(|t| t.name == name).map(|t| &t.data) {
                Some(data) if data.len() != n => {
                    Err(format!("output {name} has {} values for {n} images", data.len()))
                }
                data => Ok(data),
            }
        };
        let (exits, scores, degraded) = (column("exit")?, column("score")?, column("degraded")?);
        let labels = match column("label")? {
            Some(Data::I64(labels)) => labels.clone(),
            Some(_) => return Err("output label is of another type than it should be".to_owned()),
            None => largest(&response.outputs, n).ok_or_else(|| {
                format!("the answer has neither an output label nor one with values for {n} images")
            })?,
        };
        let mut rows = Vec::with_capacity(n);
        for (row, label) in labels.into_iter().enumerate() {
            let wrong = |name: &str| format!("output {name}[{row}] has another type than it should");
            rows.push(Row {
                label,
                exit: match exits {
                    Some(exits) => exits.text(row).ok_or_else(|| wrong("exit"))?.to_owned(),
                    None => MODEL.to_owned(),
                },
                score: match scores {
                    Some(Data::F32(scores)) => f64::from(scores[row]),
                    Some(_) => return Err(wrong("score")),
                    None => 0.0,
                },
                degraded: match degraded {
                    Some(Data::Bool(degraded)) => degraded[row],
                    Some(_) => return Err(wrong("degraded")),
                    None => false,
                },
            });
        }
        let said = &response.parameters;
        let contradicts = n == 1
            && (said
                .get("exit")
                .is_some_and(|v| v.as_str() != Some(&rows[0].exit))
                || said
                    .get("degraded")
                    .is_some_and(|v| v.as_bool() != Some(rows[0].degraded)));
        let revision = said
            .get("revision")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        Ok(Self {
            revision,
            rows,
            contradicts,
        })
    }

    /// Whether a request in which the last image repeats the first got two different answers for it.
    pub(super) fn is_mixed(&self, repeats: bool) -> bool {
        let differ = match self.rows.as_slice() {
            [first, .., last] if repeats => {
                (first.label, &first.exit, first.degraded) != (last.label, &last.exit, last.degraded)
                    || (first.score - last.score).abs() > 1e-3
            }
            _ => false,
        };
        self.contradicts || differ
    }
}

/// Of the first output with several values an image, the position of each image's largest.
fn largest(outputs: &[Tensor], n: usize) -> Option<Vec<i64>> {
    outputs.iter().find_map(|tensor| {
        let values = tensor.floats()?;
        let each = values.len() / n.max(1);
        (each > 1 && values.len() == each * n).then(|| {
            values
                .chunks_exact(each)
                .map(|row| {
                    let best = (0..each).max_by(|&a, &b| row[a].total_cmp(&row[b]));
                    best.and_then(|best| i64::try_from(best).ok()).unwrap_or_default()
                })
                .collect()
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(labels: &[i64], exits: &[&str], parameters: Value) -> InferResponse {
        let n = labels.len();
        let exits = exits.iter().map(|&exit| exit.to_owned()).collect();
        InferResponse {
            parameters: serde_json::from_value(parameters).unwrap(),
            outputs: vec![
                Tensor::new("label", vec![n], Data::I64(labels.to_vec())),
                Tensor::new("exit", vec![n], Data::Text(exits)),
                Tensor::new("score", vec![n], Data::F32(vec![0.5; n])),
                Tensor::new("degraded", vec![n], Data::Bool(vec![false; n])),
            ],
            ..InferResponse::default()
        }
    }

    #[test]
    fn an_answer_is_read_row_by_row() {
        let said = answer(&[3], &["main"], json!({"revision": "a", "exit": "main"}));
        let read = Answer::read(&said, 1).unwrap();
        assert_eq!(
            (read.revision.as_str(), read.rows[0].label, read.is_mixed(false)),
            ("a", 3, false)
        );
    }

    #[test]
    fn two_answers_for_one_image_are_seen() {
        let twice = answer(&[3, 1, 4], &["main", "main", "main"], json!({}));
        let twice = Answer::read(&twice, 3).unwrap();
        assert!(twice.is_mixed(true) && !twice.is_mixed(false));
        let split = answer(&[3], &["main"], json!({"exit": "cloud"}));
        assert!(Answer::read(&split, 1).unwrap().is_mixed(false));
    }

    #[test]
    fn other_servers_are_read_by_their_largest_value() {
        let logits = Tensor::new("y", vec![2, 3], Data::F32(vec![0.0, 2.0, 1.0, 5.0, -1.0, 0.0]));
        let said = InferResponse {
            outputs: vec![Tensor::new("id", vec![2], Data::I64(vec![7, 7])), logits],
            ..InferResponse::default()
        };
        let read = Answer::read(&said, 2).unwrap();
        assert_eq!(read.rows.iter().map(|row| row.label).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(read.rows[0].exit, MODEL);
    }

    #[test]
    fn what_is_missing_is_named() {
        let short = Answer::read(&answer(&[3], &["main"], json!({})), 2).unwrap_err();
        assert!(short.contains("1 values for 2 images"), "{short}");
        assert!(Answer::read(&InferResponse::default(), 1).unwrap_err().contains("label"));
        let mut other = answer(&[3], &["main"], json!({}));
        other.outputs[1].data = Data::I64(vec![1]);
        assert!(Answer::read(&other, 1).unwrap_err().contains("exit[0]"));
    }
}
