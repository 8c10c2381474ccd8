//! What edges are unsure of: answered, and kept for retraining.

use meanet_method::softmax;
use meanet_store::Sample;
use serde_json::{Map, Value};

use super::{Cloud, MODEL, Network};
use crate::protocol::{ApiError, Body, Decoded, InferResponse, Kind, Tensor};

pub(super) async fn infer(
    cloud: &Cloud,
    network: &Network,
    kind: Kind,
    body: Body,
) -> Result<InferResponse, ApiError> {
    let input = network.input.clone();
    let (id, said, rows) = cloud
        .aside(move || {
            let Decoded {
                id,
                parameters,
                images,
            } = kind.decode(&body, &input)?;
            let rows: Vec<Vec<u8>> = (0..images.len()).filter_map(|row| images.bytes(row)).collect();
            Ok((id, parameters, rows))
        })
        .await?;
    let logits = network.batcher.logits(rows.concat(), rows.len()).await?;
    if logits.len() != rows.len() || logits.iter().flatten().any(|v| !v.is_finite()) {
        return Err(ApiError::unavailable(
            "the cloud's network gave no usable answer for these images",
        ));
    }
    keep(cloud, network, &said, rows, &logits);
    let shape = vec![logits.len(), network.classes];
    let data: Vec<Value> = logits.into_iter().flatten().map(Value::from).collect();
    Ok(InferResponse {
        model_name: MODEL.to_owned(),
        id,
        parameters: Map::new(),
        outputs: vec![Tensor::new("logits", "FP32", shape, Value::Array(data))],
    })
}

/// Offers what an edge sent to the collection. Requests of others, without `edge_labels`, are not kept.
fn keep(
    cloud: &Cloud,
    network: &Network,
    said: &Map<String, Value>,
    rows: Vec<Vec<u8>>,
    logits: &[Vec<f32>],
) {
    let list = |name: &str| {
        said.get(name)
            .and_then(Value::as_array)
            .filter(|list| list.len() == rows.len())
    };
    let (Some(labels), Some(scores)) = (list("edge_labels"), list("edge_scores")) else {
        return;
    };
    let of_edge: Vec<(Option<u32>, f32)> = labels
        .iter()
        .zip(scores)
        .map(|(label, score)| {
            let label = label
                .as_u64()
                .and_then(|l| u32::try_from(l).ok())
                .filter(|&l| (l as usize) < network.classes);
            (label, score.as_f64().unwrap_or_default() as f32)
        })
        .collect();
    for ((pixels, logits), (edge_label, edge_score)) in rows.into_iter().zip(logits).zip(of_edge) {
        let Ok(p) = softmax(logits) else { continue };
        let best = p
            .iter()
            .copied()
            .enumerate()
            .fold((0, 0.0), |best, (i, v)| if v > best.1 { (i, v) } else { best });
        cloud.samples.offer(Sample {
            height: network.input.height as u32,
            width: network.input.width as u32,
            pixels,
            edge_label,
            edge_score,
            cloud_label: Some(best.0 as u32),
            cloud_confidence: best.1,
            feedback: None,
        });
    }
}
