//! The edge's HTTP server.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use warp::filters::BoxedFilter;
use warp::reply::{self, Reply, Response};
use warp::{Filter, Rejection};

use super::infer::Edge;
use crate::protocol::{
    ApiError, Kind, Target, model_metadata, recover, server_metadata, target, target_then,
};

/// How long requests under way may take once the process is asked to end.
const DRAIN: Duration = Duration::from_secs(20);

/// Serves until `token` is cancelled and the requests under way are answered.
pub(super) async fn serve(listener: TcpListener, edge: Arc<Edge>, token: CancellationToken) {
    let server = warp::serve(routes(edge))
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

pub(super) fn routes(edge: Arc<Edge>) -> BoxedFilter<(impl Reply,)> {
    let with = {
        let edge = Arc::clone(&edge);
        warp::any().map(move || Arc::clone(&edge))
    };
    let server = warp::path!("v2")
        .and(warp::get())
        .map(|| json(&server_metadata()));
    let live = warp::path!("v2" / "health" / "live")
        .and(warp::get())
        .map(|| json(&json!({"live": true})));
    let ready = warp::path!("v2" / "health" / "ready")
        .and(warp::get())
        .and(with.clone())
        .and_then(
            |edge: Arc<Edge>| async move { answer(edge.active().map(|_| json(&json!({"ready": true})))) },
        );
    let model = target()
        .and(warp::get())
        .and(with.clone())
        .and_then(|target: Target, edge: Arc<Edge>| async move { answer(metadata(&target, &edge)) });
    let model_ready = target_then("ready").and(warp::get()).and(with.clone()).and_then(
        |target: Target, edge: Arc<Edge>| async move {
            answer(
                edge.serving(&target)
                    .map(|_| json(&json!({"name": target.model, "ready": true}))),
            )
        },
    );
    let infer =
        target_then("infer")
            .and(warp::post())
            .and(warp::header::optional::<String>("content-type"))
            .and(warp::header::optional::<u64>("content-length"))
            .and(warp::body::stream())
            .and(with.clone())
            .and_then(
                |target: Target,
                 content_type: Option<String>,
                 length: Option<u64>,
                 stream,
                 edge: Arc<Edge>| async move {
                    let result = async {
                        let active = edge.serving(&target)?;
                        let kind = Kind::of(content_type.as_deref())?;
                        let body = edge.intake.read(length, stream).await?;
                        edge.infer(active, kind, body).await
                    };
                    let result = result.await;
                    if result.is_err() {
                        edge.stats.refused();
                    }
                    answer(result.map(|response| json(&response)))
                },
            );
    let metrics = warp::path!("metrics")
        .and(warp::get())
        .and(with)
        .map(|edge: Arc<Edge>| {
            let text = edge.stats.text(edge.slot.get().as_deref());
            reply::with_header(text, "content-type", "text/plain; version=0.0.4").into_response()
        });
    server
        .or(live)
        .unify()
        .or(ready)
        .unify()
        .or(model_ready)
        .unify()
        .or(infer)
        .unify()
        .or(model)
        .unify()
        .or(metrics)
        .unify()
        .recover(recover)
        .boxed()
}

fn metadata(target: &Target, edge: &Edge) -> Result<Response, ApiError> {
    let active = edge.serving(target)?;
    let input = active.network.edge.input();
    let outputs = [
        ("label", "INT64", vec![-1]),
        ("confidence", "FP32", vec![-1]),
        ("exit", "BYTES", vec![-1]),
        ("score", "FP32", vec![-1]),
        ("degraded", "BOOL", vec![-1]),
    ];
    Ok(json(&model_metadata(
        &target.model,
        &active.name,
        [3, input.height, input.width],
        &outputs,
    )))
}
