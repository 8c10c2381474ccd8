//! What an edge asks the cloud: unsure images of all requests that wait for it, each with a deadline.

mod answer;
mod breaker;
mod gather;
mod peer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use snafu::{ResultExt, Snafu, ensure};
use tokio::sync::oneshot;

use super::metrics::Metrics;
use crate::client::ClientError;
use crate::protocol::json::{LENGTH_HEADER, read_response, write_request};
use crate::protocol::{Data, Datatype, EDGE_HEADER, InferRequest, TIMEOUT_HEADER, Tensor, retry_after};
use breaker::{Breaker, Outcome};
use gather::{Gather, Part};
use peer::Peer;

/// Largest answer read.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Why the cloud gave no answer.
#[derive(Clone, Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub(super) enum OffloadError {
    #[snafu(display(
        "the cloud is left alone for a while, since it failed several times in a row or asked for it"
    ))]
    LeftAlone,
    #[snafu(display("too many images wait for the cloud"))]
    Full,
    #[snafu(display("the cloud did not answer within {timeout:?}"))]
    Late { timeout: Duration },
    #[snafu(display("failed to reach the cloud"))]
    Reach {
        #[snafu(source(from(reqwest::Error, Arc::new)))]
        source: Arc<reqwest::Error>,
    },
    #[snafu(display("the cloud is busy and asks for a pause of {pause:?}: {text}"))]
    Busy { pause: Duration, text: String },
    #[snafu(display("the cloud answered with status {status}: {text}"))]
    Status { status: u16, text: String },
    #[snafu(display("the cloud's answer cannot be used: {reason}"))]
    Answer { reason: String },
    #[snafu(display("failed to write the request to the cloud: {reason}"))]
    Write { reason: String },
}

impl OffloadError {
    /// The kind of failure, as metrics name it.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::LeftAlone => "left_alone",
            Self::Full => "full",
            Self::Late { .. } => "late",
            Self::Reach { .. } => "unreachable",
            Self::Busy { .. } => "busy",
            Self::Status { .. } => "status",
            Self::Answer { .. } | Self::Write { .. } => "unusable",
        }
    }

    const fn outcome(&self) -> Outcome {
        match self {
            Self::Busy { pause, .. } => Outcome::Busy(*pause),
            _ => Outcome::Failed,
        }
    }
}

/// One image that the edge is unsure of: what it would have said, and how unsure it is. The cloud keeps both with the image.
pub(super) struct Unsure {
    pub(super) pixels: Vec<u8>,
    pub(super) label: u32,
    pub(super) score: f32,
}

type Logits = Result<Vec<Vec<f32>>, OffloadError>;

/// The images of one request, and who waits for their logits.
struct Waiting {
    images: Vec<Unsure>,
    size: [usize; 2],
    classes: usize,
    deadline: Instant,
    reply: oneshot::Sender<Logits>,
}

impl Part for Waiting {
    fn images(&self) -> usize {
        self.images.len()
    }

    fn fits(&self, other: &Self) -> bool {
        (self.size, self.classes) == (other.size, other.classes)
    }

    fn is_over(&self) -> bool {
        self.reply.is_closed()
    }
}

/// The cloud as an edge sees it. Cloning shares it.
#[derive(Clone)]
pub(super) struct Cloud(Arc<Shared>);

struct Shared {
    edge: String,
    peer: Arc<Peer>,
    breaker: Mutex<Breaker>,
    gather: Mutex<Gather<Waiting>>,
    metrics: Metrics,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cloud {
    /// The model at `model_url`, asked in the name of this edge.
    pub(super) fn new(
        edge: &str,
        model_url: &str,
        authorities: Option<PathBuf>,
        metrics: Metrics,
    ) -> Result<Self, ClientError> {
        Ok(Self(Arc::new(Shared {
            edge: edge.to_owned(),
            peer: Arc::new(Peer::new(model_url, authorities)?),
            breaker: Mutex::default(),
            gather: Mutex::default(),
            metrics,
        })))
    }

    /// Begins to learn what the cloud understands, before an image needs it.
    pub(super) fn greet(&self) {
        self.0.peer.manner();
    }

    /// Logits of the cloud for images of `[3, height, width]`, `[n, classes]`, or an error within `timeout`.
    pub(super) async fn logits(
        &self,
        images: Vec<Unsure>,
        size: [usize; 2],
        classes: usize,
        timeout: Duration,
    ) -> Logits {
        let now = Instant::now();
        ensure!(locked(&self.0.breaker).admit(now), LeftAloneSnafu);
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting {
            images,
            size,
            classes,
            deadline: now + timeout,
            reply,
        };
        let parts = {
            let mut gather = locked(&self.0.gather);
            if gather.push(waiting).is_err() {
                return FullSnafu.fail();
            }
            gather.take()
        };
        if let Some(parts) = parts {
            let shared = Arc::clone(&self.0);
            // Not part of this request: others may wait for the answer, too.
            tokio::spawn(async move { shared.send_all(parts).await });
        }
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(logits)) => logits,
            Ok(Err(_)) | Err(_) => LateSnafu { timeout }.fail(),
        }
    }
}

impl Shared {
    /// Sends a request, and then what has come to wait in the meantime.
    async fn send_all(&self, first: Vec<Waiting>) {
        let mut next = Some(first);
        while let Some(parts) = next {
            self.send(parts).await;
            let mut gather = locked(&self.gather);
            gather.done();
            next = gather.take();
        }
    }

    async fn send(&self, parts: Vec<Waiting>) {
        let Some(deadline) = parts.iter().map(|part| part.deadline).max() else {
            return;
        };
        let began = Instant::now();
        let timeout = deadline.saturating_duration_since(began);
        let (size, classes) = (parts[0].size, parts[0].classes);
        let (images, replies): (Vec<_>, Vec<_>) =
            parts.into_iter().map(|part| (part.images, part.reply)).unzip();
        let counts: Vec<usize> = images.iter().map(Vec::len).collect();
        let images: Vec<Unsure> = images.into_iter().flatten().collect();
        let count = images.len();
        let result = match tokio::time::timeout(timeout, self.ask(images, size, classes, timeout)).await {
            Ok(result) => result,
            Err(_) => LateSnafu { timeout }.fail(),
        };
        let outcome = result
            .as_ref()
            .map_or_else(OffloadError::outcome, |_| Outcome::Answered);
        locked(&self.breaker).record(outcome, Instant::now());
        if outcome == Outcome::Failed {
            self.peer.doubt();
        }
        self.metrics.offloaded(count, began.elapsed());
        let mut rows = result.as_ref().map(|rows| rows.iter().cloned());
        for (count, reply) in counts.into_iter().zip(replies) {
            let own = match &mut rows {
                Ok(rows) => Ok(rows.by_ref().take(count).collect()),
                Err(error) => Err((*error).clone()),
            };
            // Who does not wait any more has answered by itself.
            let _ = reply.send(own);
        }
    }

    async fn ask(
        &self,
        images: Vec<Unsure>,
        [height, width]: [usize; 2],
        classes: usize,
        timeout: Duration,
    ) -> Logits {
        let manner = self.peer.manner();
        let n = images.len();
        let labels: Vec<String> = images.iter().map(|i| i.label.to_string()).collect();
        let scores: Vec<String> = images.iter().map(|i| i.score.to_string()).collect();
        let pixels: Vec<u8> = images.into_iter().flat_map(|i| i.pixels).collect();
        let data = match manner.datatype {
            Datatype::Fp32 => Data::F32(pixels.into_iter().map(f32::from).collect()),
            _ => Data::U8(pixels),
        };
        let mut request = InferRequest {
            inputs: vec![Tensor::new(&manner.input, vec![n, 3, height, width], data)],
            ..InferRequest::default()
        };
        // Lists as text: the protocol knows no arrays in parameters, and some servers refuse them.
        for (name, value) in [("edge_labels", labels), ("edge_scores", scores)] {
            request.parameters.insert(name.to_owned(), value.join(",").into());
        }
        if manner.binary {
            request
                .parameters
                .insert("binary_data_output".to_owned(), Value::Bool(true));
        }
        let written =
            write_request(&request, manner.binary).map_err(|e| OffloadError::Write { reason: e.message })?;
        let mut post = manner
            .client
            .post(self.peer.infer_url())
            .header(EDGE_HEADER, &self.edge)
            .header(TIMEOUT_HEADER, timeout.as_millis().to_string());
        post = match written.json {
            None => post.header(CONTENT_TYPE, "application/json"),
            Some(length) => post
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(LENGTH_HEADER, length),
        };
        let response = post.body(written.body).send().await.context(ReachSnafu)?;
        let status = response.status();
        let pause = retry_after(response.headers());
        let json = response
            .headers()
            .get(LENGTH_HEADER)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse().ok());
        let body = read(response).await?;
        if status.is_success() {
            let said = read_response(&body, json).map_err(|e| OffloadError::Answer { reason: e.message })?;
            return answer::logits(&said, n, classes);
        }
        let text: String = String::from_utf8_lossy(&body).chars().take(200).collect();
        match pause {
            Some(pause) if matches!(status.as_u16(), 429 | 503) => BusySnafu { pause, text }.fail(),
            _ => StatusSnafu {
                status: status.as_u16(),
                text,
            }
            .fail(),
        }
    }
}

async fn read(mut response: reqwest::Response) -> Result<Bytes, OffloadError> {
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
    Ok(body.into())
}
