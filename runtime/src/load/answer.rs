use serde_json::Value;

use crate::protocol::InferResponse;

/// What an edge answered.
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
    /// Reads a body that answers for `n` images; the error says what is missing.
    pub(super) fn read(body: &[u8], n: usize) -> Result<Self, String> {
        let response: InferResponse =
            serde_json::from_slice(body).map_err(|e| format!("the answer is no inference answer: {e}"))?;
        let column = |name: &str| -> Result<&Vec<Value>, String> {
            let tensor = response.outputs.iter().find(|t| t.name == name);
            let values = tensor
                .and_then(|t| t.data.as_array())
                .ok_or_else(|| format!("the answer has no output {name}"))?;
            if values.len() == n {
                Ok(values)
            } else {
                Err(format!(
                    "output {name} has {} values for {n} images",
                    values.len()
                ))
            }
        };
        let (labels, exits, scores, degraded) = (
            column("label")?,
            column("exit")?,
            column("score")?,
            column("degraded")?,
        );
        let mut rows = Vec::with_capacity(n);
        for row in 0..n {
            let wrong = |name: &str| format!("output {name}[{row}] has another type than it should");
            rows.push(Row {
                label: labels[row].as_i64().ok_or_else(|| wrong("label"))?,
                exit: exits[row].as_str().ok_or_else(|| wrong("exit"))?.to_owned(),
                score: scores[row].as_f64().ok_or_else(|| wrong("score"))?,
                degraded: degraded[row].as_bool().ok_or_else(|| wrong("degraded"))?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(labels: &Value, exits: &Value, parameters: &Value) -> Vec<u8> {
        let n = labels.as_array().unwrap().len();
        let output =
            |name: &str, data: &Value| json!({"name": name, "datatype": "X", "shape": [n], "data": data});
        let (scores, degraded) = (json!(vec![0.5; n]), json!(vec![false; n]));
        serde_json::to_vec(&json!({
            "model_name": "m", "parameters": parameters,
            "outputs": [output("label", labels), output("exit", exits), output("score", &scores), output("degraded", &degraded)],
        }))
        .unwrap()
    }

    #[test]
    fn an_answer_is_read_row_by_row() {
        let read = Answer::read(
            &body(
                &json!([3]),
                &json!(["main"]),
                &json!({"revision": "a", "exit": "main"}),
            ),
            1,
        )
        .unwrap();
        assert_eq!(
            (read.revision.as_str(), read.rows[0].label, read.is_mixed(false)),
            ("a", 3, false)
        );
    }

    #[test]
    fn two_answers_for_one_image_are_seen() {
        let twice = Answer::read(
            &body(&json!([3, 1, 4]), &json!(["main", "main", "main"]), &json!({})),
            3,
        )
        .unwrap();
        assert!(twice.is_mixed(true) && !twice.is_mixed(false));
        let split = Answer::read(&body(&json!([3]), &json!(["main"]), &json!({"exit": "cloud"})), 1).unwrap();
        assert!(split.is_mixed(false));
    }

    #[test]
    fn what_is_missing_is_named() {
        let short = Answer::read(&body(&json!([3]), &json!(["main"]), &json!({})), 2).unwrap_err();
        assert!(short.contains("1 values for 2 images"), "{short}");
        assert!(Answer::read(b"{}", 1).is_err());
        assert!(
            Answer::read(&body(&json!(["x"]), &json!(["main"]), &json!({})), 1)
                .unwrap_err()
                .contains("label[0]")
        );
    }
}
