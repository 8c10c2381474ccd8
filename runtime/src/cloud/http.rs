//! The cloud's HTTP server.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use warp::filters::BoxedFilter;
use warp::reply::{self, Reply, Response};
use warp::{Filter, Rejection};

use super::feedback::feedback;
use super::infer::infer;
use super::{Cloud, blobs};
use crate::protocol::{
    ApiError, Kind, Target, model_metadata, recover, server_metadata, target, target_then,
};

/// How long requests under way may take once the process is asked to end.
const DRAIN: Duration = Duration::from_secs(20);
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
    let model = target()
        .and(warp::get())
        .and(with.clone())
        .and_then(|target: Target, cloud: Arc<Cloud>| async move { answer(metadata(&target, &cloud)) });
    let model_ready = target_then("ready").and(warp::get()).and(with.clone()).and_then(
        |target: Target, cloud: Arc<Cloud>| async move {
            answer(
                cloud
                    .serving(&target)
                    .map(|_| json(&json!({"name": target.model, "ready": true}))),
            )
        },
    );
    let body = warp::header::optional::<String>("content-type")
        .and(warp::header::optional::<u64>("content-length"))
        .and(warp::body::stream());
    let infer_route =
        target_then("infer")
            .and(warp::post())
            .and(body)
            .and(with.clone())
            .and_then(
                |target: Target,
                 content_type: Option<String>,
                 length: Option<u64>,
                 stream,
                 cloud: Arc<Cloud>| async move {
                    let result = async {
                        let network = cloud.serving(&target)?;
                        let kind = Kind::of(content_type.as_deref())?;
                        let body = cloud.intake.read(length, stream).await?;
                        infer(&cloud, network, kind, body).await
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
                    let body = cloud.intake.read(length, stream).await?;
                    feedback(&cloud, kind, body).await
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

fn metadata(target: &Target, cloud: &Cloud) -> Result<Response, ApiError> {
    let network = cloud.serving(target)?;
    let classes = i64::try_from(network.classes).unwrap_or(-1);
    Ok(json(&model_metadata(
        &target.model,
        &network.digest.to_string(),
        [3, network.input.height, network.input.width],
        &[("logits", "FP32", vec![-1, classes])],
    )))
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
