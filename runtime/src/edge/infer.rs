//! From images to answers. One revision from start to end; what the edge is unsure of goes to the cloud.

use std::sync::Arc;
use std::time::Instant;

use meanet_method::{Answer, WhenUnavailable, cloud_answer};
use serde_json::json;
use tracing::debug;

use super::active::{Active, Slot};
use super::compute::Pool;
use super::offload::{Cloud, OffloadError, Unsure};
use super::pass::Pass;
use super::stats::Stats;
use crate::protocol::images;
use crate::protocol::{
    ApiError, Caller, Data, Description, InferRequest, InferResponse, Model, Parameters, Target, Tensor,
};
use crate::report::words;

/// Names, types and shapes of what an edge answers.
const OUTPUTS: [(&str, &str); 5] = [
    ("label", "INT64"),
    ("confidence", "FP32"),
    ("exit", "BYTES"),
    ("score", "FP32"),
    ("degraded", "BOOL"),
];

pub(super) struct Edge {
    pub(super) model: String,
    pub(super) slot: Slot,
    pub(super) compute: Pool,
    pub(super) stats: Arc<Stats>,
    pub(super) cloud: Cloud,
}

/// The answer for one image.
struct Final {
    answer: Answer,
    score: f32,
    degraded: bool,
}

impl Model for Edge {
    fn ready(&self) -> Result<(), ApiError> {
        self.active().map(drop)
    }

    fn check(&self, target: &Target) -> Result<(), ApiError> {
        self.serving(target).map(drop)
    }

    fn describe(&self, target: &Target) -> Result<Description, ApiError> {
        let active = self.serving(target)?;
        let input = active.network.edge.input();
        Ok(Description::of_images(
            &target.model,
            &active.name,
            [input.height, input.width],
            &OUTPUTS.map(|(name, datatype)| (name, datatype, vec![-1])),
        ))
    }

    fn admits(&self, _: &Caller) -> Result<(), ApiError> {
        self.compute.admits()
    }

    async fn infer(
        &self,
        target: &Target,
        request: InferRequest,
        _: Caller,
    ) -> Result<InferResponse, ApiError> {
        let began = Instant::now();
        let active = self.serving(target)?;
        request.check_outputs(&OUTPUTS.map(|(name, _)| name))?;
        let count = images::count(&request.inputs)?;
        let pass = self
            .compute
            .first(Arc::clone(&active), request.inputs, count)
            .await?;
        let answers = self.second_pass(&active, pass).await?;
        let range = active.routing.score.range(active.network.edge.classes());
        let took = began.elapsed();
        for answer in &answers {
            self.stats
                .answered(answer.answer.exit, answer.degraded, answer.score / range, took);
        }
        self.stats.took(took);
        Ok(response(&self.model, request.id, &active.name, &answers).select(&request.outputs))
    }

    fn refused(&self, error: &ApiError) {
        self.stats.metrics.refused(error.status.as_u16());
    }
}

impl Edge {
    pub(super) fn active(&self) -> Result<Arc<Active>, ApiError> {
        self.slot.get().ok_or_else(|| {
            ApiError::unavailable("no revision is in service on this node yet: see its MEANetNode")
        })
    }

    /// What serves, if it is what the path names.
    fn serving(&self, target: &Target) -> Result<Arc<Active>, ApiError> {
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
                    self.stats.metrics.offload_failed(error.reason());
                    let error = words(&error);
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
                        pass = self
                            .compute
                            .late(missing.len(), move || pass.extend(&missing).map(|()| pass))
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

    async fn ask_cloud(
        &self,
        active: &Active,
        pass: &Pass,
        unsure: &[usize],
    ) -> Result<Vec<Answer>, OffloadError> {
        let input = active.network.edge.input();
        let images: Vec<Unsure> = unsure
            .iter()
            .filter_map(|&row| {
                let (main, score) = (&pass.rows[row].main.main, pass.rows[row].main.score);
                Some(Unsure {
                    pixels: pass.pixels(row)?,
                    label: main.label,
                    score,
                })
            })
            .collect();
        let timeout = active.spec.routing.cloud_timeout.get();
        let size = [input.height, input.width];
        let classes = active.network.edge.classes();
        let logits = self.cloud.logits(images, size, classes, timeout).await?;
        logits
            .iter()
            .map(|logits| {
                cloud_answer(logits).map_err(|e| OffloadError::Answer {
                    reason: e.to_string(),
                })
            })
            .collect()
    }
}

fn response(model: &str, id: Option<String>, revision: &str, answers: &[Final]) -> InferResponse {
    let mut parameters = Parameters::from_iter([("revision".to_owned(), json!(revision))]);
    if let [one] = answers {
        parameters.insert("exit".to_owned(), json!(one.answer.exit.as_str()));
        parameters.insert("score".to_owned(), json!(one.score));
        parameters.insert("degraded".to_owned(), json!(one.degraded));
    }
    let exit = |a: &Final| bytes::Bytes::from_static(a.answer.exit.as_str().as_bytes());
    let columns = [
        Data::I64(answers.iter().map(|a| i64::from(a.answer.label)).collect()),
        Data::F32(answers.iter().map(|a| a.answer.confidence).collect()),
        Data::Bytes(answers.iter().map(exit).collect()),
        Data::F32(answers.iter().map(|a| a.score).collect()),
        Data::Bool(answers.iter().map(|a| a.degraded).collect()),
    ];
    InferResponse {
        model_name: model.to_owned(),
        model_version: Some(revision.to_owned()),
        id,
        parameters,
        outputs: OUTPUTS
            .iter()
            .zip(columns)
            .map(|((name, _), data)| Tensor::new(name, vec![answers.len()], data))
            .collect(),
    }
}
