//! The one request that an edge makes of the cloud: a batch of unsure images, with a deadline.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use snafu::{OptionExt, ResultExt, Snafu, ensure};

use crate::protocol::{InferRequest, InferResponse, Tensor};

/// Failures in a row after which the cloud is left alone for a while, so that a dead cloud does not cost every unsure
/// input the whole timeout.
const PATIENCE: u32 = 5;
/// How long it is left alone before one input tries again.
const PAUSE: Duration = Duration::from_secs(1);
/// Largest answer read.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Why the cloud gave no answer.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub(super) enum OffloadError {
    #[snafu(display("the cloud failed {PATIENCE} times in a row and is left alone for {PAUSE:?}"))]
    LeftAlone,
    #[snafu(display("the cloud did not answer within {timeout:?}"))]
    Late { timeout: Duration },
    #[snafu(display("failed to reach the cloud"))]
    Reach { source: reqwest::Error },
    #[snafu(display("the cloud answered with status {status}: {text}"))]
    Status { status: u16, text: String },
    #[snafu(display("the cloud's answer cannot be used: {reason}"))]
    Answer { reason: String },
}

impl OffloadError {
    /// The kind of failure, as metrics name it.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::LeftAlone => "left_alone",
            Self::Late { .. } => "late",
            Self::Reach { .. } => "unreachable",
            Self::Status { .. } => "status",
            Self::Answer { .. } => "unusable",
        }
    }
}

/// One image that the edge is unsure of: what it would have said, and how unsure it is. The cloud keeps both with the image.
pub(super) struct Unsure {
    pub(super) pixels: Vec<u8>,
    pub(super) label: u32,
    pub(super) score: f32,
}

pub(super) struct Cloud {
    client: reqwest::Client,
    url: String,
    breaker: Mutex<Breaker>,
}

#[derive(Default)]
struct Breaker {
    failures: u32,
    closed_until: Option<Instant>,
}

impl Breaker {
    /// Whether a request may go out at `now`. After the pause one may; the next follow its outcome.
    fn admit(&mut self, now: Instant) -> bool {
        match self.closed_until {
            Some(until) if now < until => false,
            Some(_) => {
                self.closed_until = Some(now + PAUSE);
                true
            }
            None => true,
        }
    }

    fn record(&mut self, ok: bool, now: Instant) {
        if ok {
            *self = Self::default();
        } else {
            self.failures = self.failures.saturating_add(1);
            if self.failures >= PATIENCE {
                self.closed_until = Some(now + PAUSE);
            }
        }
    }
}

impl Cloud {
    pub(super) fn new(client: reqwest::Client, model_url: &str) -> Self {
        Self {
            client,
            url: format!("{}/infer", model_url.trim_end_matches('/')),
            breaker: Mutex::default(),
        }
    }

    /// Logits of the cloud for images of `[3, height, width]`, `[n, classes]`, or an error within `timeout`.
    pub(super) async fn logits(
        &self,
        images: Vec<Unsure>,
        [height, width]: [usize; 2],
        classes: usize,
        timeout: Duration,
    ) -> Result<Vec<Vec<f32>>, OffloadError> {
        ensure!(
            self.breaker
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .admit(Instant::now()),
            LeftAloneSnafu
        );
        let result = match tokio::time::timeout(timeout, self.ask(images, [height, width], classes)).await {
            Ok(result) => result,
            Err(_) => LateSnafu { timeout }.fail(),
        };
        self.breaker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .record(result.is_ok(), Instant::now());
        result
    }

    async fn ask(
        &self,
        images: Vec<Unsure>,
        [height, width]: [usize; 2],
        classes: usize,
    ) -> Result<Vec<Vec<f32>>, OffloadError> {
        let n = images.len();
        let (labels, scores): (Vec<u32>, Vec<f32>) = images.iter().map(|i| (i.label, i.score)).unzip();
        let data: Vec<Value> = images
            .into_iter()
            .flat_map(|i| i.pixels)
            .map(Value::from)
            .collect();
        let mut request = InferRequest {
            inputs: vec![Tensor::new(
                "image",
                "UINT8",
                vec![n, 3, height, width],
                Value::Array(data),
            )],
            ..InferRequest::default()
        };
        request.parameters.insert("edge_labels".to_owned(), json!(labels));
        request.parameters.insert("edge_scores".to_owned(), json!(scores));
        let mut response = self
            .client
            .post(&self.url)
            .json(&request)
            .send()
            .await
            .context(ReachSnafu)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.context(ReachSnafu)? {
            ensure!(
                body.len() + chunk.len() <= MAX_ANSWER,
                AnswerSnafu {
                    reason: "it is too long"
                }
            );
            body.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            let text = String::from_utf8_lossy(&body)
                .chars()
                .take(200)
                .collect::<String>();
            return StatusSnafu {
                status: status.as_u16(),
                text,
            }
            .fail();
        }
        let answer: InferResponse = serde_json::from_slice(&body).map_err(|e| OffloadError::Answer {
            reason: e.to_string(),
        })?;
        logits(&answer, n, classes)
    }
}

/// The tensor of shape `[n, classes]`, whatever its name.
fn logits(answer: &InferResponse, n: usize, classes: usize) -> Result<Vec<Vec<f32>>, OffloadError> {
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
    Ok(values.chunks_exact(classes).map(<[f32]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_cloud_is_left_alone_and_tried_again() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        for _ in 0..PATIENCE {
            assert!(breaker.admit(start));
            breaker.record(false, start);
        }
        assert!(!breaker.admit(start + PAUSE / 2));
        assert!(breaker.admit(start + PAUSE), "one may try");
        assert!(!breaker.admit(start + PAUSE), "the others wait for its outcome");
        breaker.record(true, start + PAUSE);
        assert!(breaker.admit(start + PAUSE));
    }

    #[test]
    fn an_answer_is_checked_before_it_is_used() {
        let answer = |data: Value| InferResponse {
            model_name: "cloud".to_owned(),
            id: None,
            parameters: serde_json::Map::new(),
            outputs: vec![Tensor::new("logits", "FP32", vec![1, 3], data)],
        };
        assert_eq!(
            logits(&answer(json!([1.0, 2.0, 3.0])), 1, 3).unwrap(),
            [[1.0, 2.0, 3.0]]
        );
        assert!(logits(&answer(json!([1.0, 2.0])), 1, 3).is_err());
        assert!(logits(&answer(json!([1.0, null, 2.0])), 1, 3).is_err());
        assert!(logits(&answer(json!([1.0, 2.0, 3.0])), 1, 4).is_err());
    }
}
