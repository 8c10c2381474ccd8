//! What edges are unsure of: answered, and kept for retraining.

use std::time::Instant;

use meanet_method::cloud_answer;
use meanet_store::Sample;

use super::{Cloud, MODEL, Network};
use crate::protocol::v2::list;
use crate::protocol::{
    ApiError, Caller, Data, Datatype, Description, InferRequest, InferResponse, LOGITS, Model, Parameters,
    Target, Tensor, images,
};

impl Model for Cloud {
    fn ready(&self) -> Result<(), ApiError> {
        // A store without a network is ready, too: edges fetch blobs from it.
        Ok(())
    }

    fn check(&self, target: &Target) -> Result<(), ApiError> {
        self.serving(target).map(drop)
    }

    fn describe(&self, target: &Target) -> Result<Description, ApiError> {
        let network = self.serving(target)?;
        let classes = i64::try_from(network.classes).unwrap_or(-1);
        Ok(Description::of_images(
            &target.model,
            &network.version,
            [network.input.height, network.input.width],
            &[(LOGITS, "FP32", vec![-1, classes])],
        ))
    }

    fn admits(&self, caller: &Caller) -> Result<(), ApiError> {
        self.network
            .as_ref()
            .map_or(Ok(()), |network| network.batcher.admits(caller))
    }

    async fn infer(
        &self,
        target: &Target,
        request: InferRequest,
        caller: Caller,
    ) -> Result<InferResponse, ApiError> {
        let began = Instant::now();
        let network = self.serving(target)?;
        request.check_outputs(&[LOGITS])?;
        images::count(&request.inputs)?;
        let rows = rows(self, network, request.inputs).await?;
        let logits = network.batcher.logits(rows.concat(), rows.len(), caller).await?;
        if logits.len() != rows.len() || logits.iter().flatten().any(|v| !v.is_finite()) {
            return Err(ApiError::unavailable(
                "the cloud's network gave no usable answer for these images",
            ));
        }
        self.metrics.answered(logits.len(), began.elapsed());
        keep(self, network, &request.parameters, rows, &logits);
        let shape = vec![logits.len(), network.classes];
        let data = Data::F32(logits.into_iter().flatten().collect());
        Ok(InferResponse {
            model_name: MODEL.to_owned(),
            model_version: Some(network.version.clone()),
            id: request.id,
            parameters: Parameters::new(),
            outputs: vec![Tensor::new(LOGITS, shape, data)],
        })
    }

    fn refused(&self, error: &ApiError) {
        self.metrics.refused(error.status.as_u16());
    }
}

/// The pixels of each image. Files are decoded away from the threads that serve.
async fn rows(cloud: &Cloud, network: &Network, inputs: Vec<Tensor>) -> Result<Vec<Vec<u8>>, ApiError> {
    let input = network.input.clone();
    let files = inputs.iter().any(|input| input.datatype == Datatype::Bytes);
    let decode = move || {
        let images = images::batch(inputs, &input)?;
        Ok((0..images.len()).filter_map(|row| images.bytes(row)).collect())
    };
    if files {
        cloud.intake.aside(decode).await
    } else {
        decode()
    }
}

/// Offers what an edge sent to the collection. Requests of others, without `edge_labels`, are not kept.
fn keep(cloud: &Cloud, network: &Network, said: &Parameters, rows: Vec<Vec<u8>>, logits: &[Vec<f32>]) {
    let of_images = |name: &str| {
        said.get(name)
            .and_then(list)
            .filter(|list| list.len() == rows.len())
    };
    let (Some(labels), Some(scores)) = (of_images("edge_labels"), of_images("edge_scores")) else {
        return;
    };
    let of_edge: Vec<(Option<u32>, f32)> = labels
        .into_iter()
        .zip(scores)
        .map(|(label, score)| {
            let known = label.fract() == 0.0 && label >= 0.0 && label < network.classes as f64;
            (known.then_some(label as u32), score as f32)
        })
        .collect();
    for ((pixels, logits), (edge_label, edge_score)) in rows.into_iter().zip(logits).zip(of_edge) {
        let Ok(answer) = cloud_answer(logits) else {
            continue;
        };
        cloud.samples.offer(Sample {
            height: network.input.height as u32,
            width: network.input.width as u32,
            pixels,
            edge_label,
            edge_score,
            cloud_label: Some(answer.label),
            cloud_confidence: answer.confidence,
            feedback: None,
        });
    }
}
