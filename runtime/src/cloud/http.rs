//! The cloud's HTTP server.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use meanet_method::softmax;
use meanet_net::{ImageBatch, InputSpec};
use meanet_store::Sample;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use warp::filters::BoxedFilter;
use warp::reply::{self, Reply, Response};
use warp::{Filter, Rejection};

use super::{Cloud, Network, blobs};
use crate::protocol::{
    ApiError, InferRequest, InferResponse, Kind, Tensor, model_metadata, read_body, recover, server_metadata,
};

/// Name of the one model.
const MODEL: &str = "cloud";
/// How long requests under way may take once the process is asked to end.
const DRAIN: Duration = Duration::from_secs(20);
/// Classes that feedback may name where no network says how many there are.
const MAX_CLASSES: usize = 10_000;
/// Longest side of an image taken as feedback where no network says which it takes.
const MAX_SIDE: usize = 1024;

/// Serves until `token` is cancelled and the requests under way are answered.
pub(super) async fn serve(listener: TcpListener, cloud: Arc<Cloud>, token: CancellationToken) {
    let server = warp::serve(routes(cloud))
        .incoming(listener)
        .graceful(token.clone().cancelled_owned())
        .run();
    let patience = async {
        token.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        () = server => {}
        () = patience => warn!("requests under way did not end within {DRAIN:?}"),
    }
}

fn answer(result: Result<Response, ApiError>) -> Result<Response, Rejection> {
    result.map_err(ApiError::reject)
}

fn json(value: &impl serde::Serialize) -> Response {
    reply::json(value).into_response()
}

fn routes(cloud: Arc<Cloud>) -> BoxedFilter<(impl Reply,)> {
    let with = warp::any().map(move || Arc::clone(&cloud));
    let server = warp::path!("v2")
        .and(warp::get())
        .map(|| json(&server_metadata()));
    let live = warp::path!("v2" / "health" / "live")
        .and(warp::get())
        .map(|| json(&json!({"live": true})));
    // A store without a network is ready, too: edges fetch blobs from it.
    let ready = warp::path!("v2" / "health" / "ready")
        .and(warp::get())
        .map(|| json(&json!({"ready": true})));
    let model = warp::path!("v2" / "models" / String)
        .and(warp::get())
        .and(with.clone())
        .and_then(|name: String, cloud: Arc<Cloud>| async move {
            answer(network(&name, &cloud).map(|n| {
                let outputs = [("logits", "FP32", vec![-1, i64::try_from(n.classes).unwrap_or(-1)])];
                json(&model_metadata(
                    &name,
                    &n.digest.to_string(),
                    [3, n.input.height, n.input.width],
                    &outputs,
                ))
            }))
        });
    let model_ready = warp::path!("v2" / "models" / String / "ready")
        .and(warp::get())
        .and(with.clone())
        .and_then(|name: String, cloud: Arc<Cloud>| async move {
            answer(network(&name, &cloud).map(|_| json(&json!({"name": name, "ready": true}))))
        });
    let body = warp::header::optional::<String>("content-type")
        .and(warp::header::optional::<u64>("content-length"))
        .and(warp::body::stream());
    let infer_route =
        warp::path!("v2" / "models" / String / "infer")
            .and(warp::post())
            .and(body)
            .and(with.clone())
            .and_then(
                |name: String,
                 content_type: Option<String>,
                 length: Option<u64>,
                 stream,
                 cloud: Arc<Cloud>| async move {
                    let result = async {
                        let network = network(&name, &cloud)?;
                        let kind = Kind::of(content_type.as_deref())?;
                        let body = read_body(length, stream).await?;
                        let request = kind.parse(&body)?;
                        let images = kind.images(&request, &body, &network.input)?;
                        infer(&cloud, network, request, &images).await
                    };
                    answer(result.await.map(|response| json(&response)))
                },
            );
    let feedback_route = warp::path!("v1" / "feedback")
        .and(warp::post())
        .and(body)
        .and(with.clone())
        .and_then(
            |content_type: Option<String>, length: Option<u64>, stream, cloud: Arc<Cloud>| async move {
                let result = async {
                    let kind = Kind::of(content_type.as_deref())?;
                    let body = read_body(length, stream).await?;
                    let request = kind.parse(&body)?;
                    feedback(&cloud, kind, &request, &body)
                };
                answer(result.await.map(|kept| json(&json!({"kept": kept}))))
            },
        );
    let blob = warp::path!("v1" / "blobs" / String)
        .and(warp::get())
        .and(warp::header::optional::<String>("range"))
        .and(with.clone())
        .and_then(
            |name: String, range: Option<String>, cloud: Arc<Cloud>| async move {
                answer(blobs::get(&cloud.blobs, &name, range.as_deref()).await)
            },
        );
    let metrics = warp::path!("metrics")
        .and(warp::get())
        .and(with)
        .map(|cloud: Arc<Cloud>| {
            reply::with_header(text(&cloud), "content-type", "text/plain; version=0.0.4").into_response()
        });
    server
        .or(live)
        .unify()
        .or(ready)
        .unify()
        .or(infer_route)
        .unify()
        .or(model_ready)
        .unify()
        .or(model)
        .unify()
        .or(blob)
        .unify()
        .or(feedback_route)
        .unify()
        .or(metrics)
        .unify()
        .recover(recover)
        .boxed()
}

fn network<'a>(name: &str, cloud: &'a Cloud) -> Result<&'a Network, ApiError> {
    if name != MODEL {
        return Err(ApiError::not_found(format!(
            "no model is named {name:?}; the cloud serves {MODEL:?}"
        )));
    }
    cloud.network.as_ref().ok_or_else(|| {
        ApiError::unavailable(
            "no network is in service here, only the store: it was started without --weights",
        )
    })
}

async fn infer(
    cloud: &Cloud,
    network: &Network,
    request: InferRequest,
    images: &ImageBatch,
) -> Result<InferResponse, ApiError> {
    let rows: Vec<Vec<u8>> = (0..images.len()).filter_map(|row| images.bytes(row)).collect();
    let logits = network.batcher.logits(rows.concat(), rows.len()).await?;
    if logits.len() != rows.len() || logits.iter().flatten().any(|v| !v.is_finite()) {
        return Err(ApiError::unavailable(
            "the cloud's network gave no usable answer for these images",
        ));
    }
    keep(cloud, network, &request.parameters, rows, &logits);
    let shape = vec![logits.len(), network.classes];
    let data: Vec<Value> = logits.into_iter().flatten().map(Value::from).collect();
    Ok(InferResponse {
        model_name: MODEL.to_owned(),
        id: request.id,
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

/// Labelled images: an inference request with `parameters.labels`, one class an image.
fn feedback(cloud: &Cloud, kind: Kind, request: &InferRequest, body: &[u8]) -> Result<usize, ApiError> {
    let classes = cloud.network.as_ref().map_or(MAX_CLASSES, |n| n.classes);
    let wrong = || {
        ApiError::malformed(format!(
            "parameters.labels: give one class below {classes} for each image"
        ))
    };
    let labels = request
        .parameters
        .get("labels")
        .and_then(Value::as_array)
        .ok_or_else(wrong)?;
    let labels: Vec<u32> = labels
        .iter()
        .map(|l| {
            l.as_u64()
                .and_then(|l| u32::try_from(l).ok())
                .filter(|&l| (l as usize) < classes)
                .ok_or_else(wrong)
        })
        .collect::<Result<_, _>>()?;
    let spec = match (
        &cloud.network,
        request.inputs.first().map(|input| input.shape.as_slice()),
    ) {
        (Some(network), _) => network.input.clone(),
        (None, Some(&[_, 3, height, width]))
            if (1..=MAX_SIDE).contains(&height) && (1..=MAX_SIDE).contains(&width) =>
        {
            InputSpec {
                height,
                width,
                ..InputSpec::cifar100()
            }
        }
        (None, _) => {
            return Err(ApiError::malformed(
                "inputs[0].shape: give pixels as [n, 3, height, width]",
            ));
        }
    };
    let images = kind.images(request, body, &spec)?;
    if images.len() != labels.len() {
        return Err(wrong());
    }
    let kept = labels.into_iter().enumerate().filter(|&(row, label)| {
        images.bytes(row).is_some_and(|pixels| {
            cloud.samples.offer(Sample {
                height: spec.height as u32,
                width: spec.width as u32,
                pixels,
                edge_label: None,
                edge_score: 0.0,
                cloud_label: None,
                cloud_confidence: 0.0,
                feedback: Some(label),
            })
        })
    });
    Ok(kept.count())
}

/// The Prometheus text format.
fn text(cloud: &Cloud) -> String {
    let counts = &cloud.samples.counts;
    let mut out = String::new();
    for (name, value) in [
        ("meanet_samples_kept_total", &counts.kept),
        ("meanet_samples_dropped_total", &counts.dropped),
        ("meanet_samples_failed_total", &counts.failed),
    ] {
        let _ = writeln!(
            out,
            "# TYPE {name} counter\n{name} {}",
            value.load(Ordering::Relaxed)
        );
    }
    out
}
