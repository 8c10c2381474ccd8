//! From images to answers. One revision from start to end, one request to the cloud for all unsure images.

use std::sync::Arc;
use std::time::Instant;

use meanet_method::{
    AfterMain, Answer, Exit, LocalAnswer, WhenUnavailable, after_main, local_answer, softmax,
};
use meanet_net::{ImageBatch, MainPass};
use serde_json::{Map, Value, json};
use tracing::debug;
use warp::http::StatusCode;

use super::active::{Active, Slot};
use super::compute::Pool;
use super::offload::{Cloud, Unsure};
use super::stats::Stats;
use crate::protocol::{ApiError, Body, InferResponse, Intake, Kind, Target, Tensor};
use crate::report::words;

pub(super) struct Edge {
    pub(super) model: String,
    pub(super) slot: Slot,
    pub(super) intake: Intake,
    pub(super) compute: Pool,
    pub(super) stats: Arc<Stats>,
    pub(super) cloud: Cloud,
}

/// What the edge found out by itself.
struct Pass {
    images: ImageBatch,
    main: MainPass,
    rows: Vec<Row>,
}

struct Row {
    main: LocalAnswer,
    /// The edge's own answer; absent where a hard class was not extended, since the cloud was to answer.
    local: Option<Answer>,
    offload: bool,
}

/// The answer for one image.
struct Final {
    answer: Answer,
    score: f32,
    degraded: bool,
}

fn internal(error: &dyn std::error::Error) -> ApiError {
    ApiError {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        message: words(error),
    }
}

fn first_pass(active: &Active, images: ImageBatch) -> Result<Pass, ApiError> {
    let network = &active.network;
    let main = network.edge.main(&images).map_err(|e| internal(&e))?;
    let mut rows = Vec::with_capacity(main.logits.len());
    for logits in &main.logits {
        let read = after_main(logits, &active.routing, &network.hard).map_err(|e| internal(&e))?;
        let local = (read.next == AfterMain::Answer || !read.hard).then(|| read.main.clone());
        rows.push(Row {
            offload: read.next == AfterMain::Offload,
            local,
            main: read,
        });
    }
    let mut pass = Pass { images, main, rows };
    let chosen: Vec<usize> = (0..pass.rows.len())
        .filter(|&i| pass.rows[i].main.next == AfterMain::Extend)
        .collect();
    extend(active, &mut pass, &chosen, true)?;
    Ok(pass)
}

/// Asks the extension about the `chosen` rows. Where `may_offload`, its own doubt sends a row on to the cloud.
fn extend(active: &Active, pass: &mut Pass, chosen: &[usize], may_offload: bool) -> Result<(), ApiError> {
    let network = &active.network;
    let logits = network
        .edge
        .extension(&pass.main, &pass.images, chosen)
        .map_err(|e| internal(&e))?;
    for (&row, logits) in chosen.iter().zip(&logits) {
        let row = &mut pass.rows[row];
        let (answer, unsure) =
            local_answer(&row.main.main, logits, &active.routing, &network.hard).map_err(|e| internal(&e))?;
        row.local = Some(answer);
        row.offload |= may_offload && unsure;
    }
    Ok(())
}

impl Edge {
    /// Answers a request by `active`, or says what is wrong with it.
    pub(super) async fn infer(
        &self,
        active: Arc<Active>,
        kind: Kind,
        body: Body,
    ) -> Result<InferResponse, ApiError> {
        let began = Instant::now();
        let (id, pass) = {
            let active = Arc::clone(&active);
            self.compute
                .run(move || {
                    let request = kind.decode(&body, active.network.edge.input())?;
                    Ok((request.id, first_pass(&active, request.images)?))
                })
                .await??
        };
        let answers = self.second_pass(&active, pass).await?;
        let range = active.routing.score.range(active.network.edge.classes());
        for answer in &answers {
            self.stats
                .answered(answer.answer.exit, answer.degraded, answer.score / range);
        }
        self.stats.took(began.elapsed());
        Ok(response(&self.model, id, &active.name, &answers))
    }

    pub(super) fn active(&self) -> Result<Arc<Active>, ApiError> {
        self.slot.get().ok_or_else(|| {
            ApiError::unavailable("no revision is in service on this node yet: see its MEANetNode")
        })
    }

    /// What serves, if it is what the path names.
    pub(super) fn serving(&self, target: &Target) -> Result<Arc<Active>, ApiError> {
        target.check_model(&self.model)?;
        let active = self.active()?;
        target.check(&self.model, &active.name)?;
        Ok(active)
    }

    /// The cloud's turn, and the edge's again where the cloud did not answer.
    async fn second_pass(&self, active: &Arc<Active>, mut pass: Pass) -> Result<Vec<Final>, ApiError> {
        let unsure: Vec<usize> = (0..pass.rows.len()).filter(|&i| pass.rows[i].offload).collect();
        let mut from_cloud: Vec<Option<Answer>> = vec![None; pass.rows.len()];
        let mut degraded = false;
        if !unsure.is_empty() {
            match self.ask_cloud(active, &pass, &unsure).await {
                Ok(answers) => {
                    for (&row, answer) in unsure.iter().zip(answers) {
                        from_cloud[row] = Some(answer);
                    }
                }
                Err(error) => {
                    self.stats.offload_failed();
                    debug!(error, "the cloud gave no answer");
                    if active.routing.when_unavailable == WhenUnavailable::Fail {
                        return Err(ApiError::unavailable(format!(
                            "{error}, and routing.whenCloudUnavailable of this deployment is Fail"
                        )));
                    }
                    degraded = true;
                    let missing: Vec<usize> = unsure
                        .into_iter()
                        .filter(|&i| pass.rows[i].local.is_none())
                        .collect();
                    if !missing.is_empty() {
                        let active = Arc::clone(active);
                        pass = self
                            .compute
                            .run(move || extend(&active, &mut pass, &missing, false).map(|()| pass))
                            .await??;
                    }
                }
            }
        }
        Ok(pass
            .rows
            .into_iter()
            .zip(from_cloud)
            .map(|(row, cloud)| Final {
                degraded: degraded && row.offload,
                score: row.main.score,
                answer: cloud.or(row.local).unwrap_or(row.main.main),
            })
            .collect())
    }

    async fn ask_cloud(&self, active: &Active, pass: &Pass, unsure: &[usize]) -> Result<Vec<Answer>, String> {
        let input = active.network.edge.input();
        let images: Vec<Unsure> = unsure
            .iter()
            .filter_map(|&row| {
                let (main, score) = (&pass.rows[row].main.main, pass.rows[row].main.score);
                Some(Unsure {
                    pixels: pass.images.bytes(row)?,
                    label: main.label,
                    score,
                })
            })
            .collect();
        let timeout = active.spec.routing.cloud_timeout.get();
        let size = [input.height, input.width];
        let classes = active.network.edge.classes();
        let logits = self
            .cloud
            .logits(images, size, classes, timeout)
            .await
            .map_err(|e| words(&e))?;
        logits
            .iter()
            .map(|logits| {
                let p = softmax(logits).map_err(|e| e.to_string())?;
                let best = p
                    .iter()
                    .copied()
                    .enumerate()
                    .fold((0, 0.0), |best, (i, v)| if v > best.1 { (i, v) } else { best });
                Ok(Answer {
                    label: best.0 as u32,
                    confidence: best.1,
                    exit: Exit::Cloud,
                })
            })
            .collect()
    }
}

fn response(model: &str, id: Option<String>, revision: &str, answers: &[Final]) -> InferResponse {
    let mut parameters = Map::from_iter([("revision".to_owned(), json!(revision))]);
    if let [one] = answers {
        parameters.insert("exit".to_owned(), json!(one.answer.exit.as_str()));
        parameters.insert("score".to_owned(), json!(one.score));
        parameters.insert("degraded".to_owned(), json!(one.degraded));
    }
    let n = answers.len();
    let column = |name: &str, datatype: &str, value: &dyn Fn(&Final) -> Value| {
        Tensor::new(name, datatype, vec![n], answers.iter().map(value).collect())
    };
    InferResponse {
        model_name: model.to_owned(),
        id,
        parameters,
        outputs: vec![
            column("label", "INT64", &|a| json!(a.answer.label)),
            column("confidence", "FP32", &|a| json!(a.answer.confidence)),
            column("exit", "BYTES", &|a| json!(a.answer.exit.as_str())),
            column("score", "FP32", &|a| json!(a.score)),
            column("degraded", "BOOL", &|a| json!(a.degraded)),
        ],
    }
}
