//! The cloud's paths beside the protocol's: the store, feedback, and what is counted.

use std::sync::Arc;

use serde_json::json;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::HeaderMap;
use warp::reply::{Reply, Response};

use super::feedback::feedback;
use super::{Cloud, blobs};
use crate::metrics::page;
use crate::protocol::http::{self, json};
use crate::protocol::{Port, recover};

pub(super) fn routes(port: Port<Cloud>) -> BoxedFilter<(Response,)> {
    let cloud = Arc::clone(&port.model);
    let with = warp::any().map(move || Arc::clone(&cloud));
    let feedback_route = warp::path!("v1" / "feedback")
        .and(warp::post())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .and(with.clone())
        .then(|headers: HeaderMap, body, cloud: Arc<Cloud>| async move {
            let result = async {
                let (request, _room) = http::read(&cloud.intake, &headers, body).await?;
                feedback(&cloud, request).await
            };
            result
                .await
                .map(|kept| json(&json!({"kept": kept})))
                .into_response()
        });
    let blob = warp::path!("v1" / "blobs" / String)
        .and(warp::get())
        .and(warp::header::optional::<String>("range"))
        .and(with.clone())
        .then(
            |name: String, range: Option<String>, cloud: Arc<Cloud>| async move {
                blobs::get(&cloud.blobs, &name, range.as_deref())
                    .await
                    .into_response()
            },
        );
    let metrics = warp::path!("metrics")
        .and(warp::get())
        .and(with)
        .map(|cloud: Arc<Cloud>| page(&cloud.registry));
    http::routes(port)
        .or(blob)
        .unify()
        .or(feedback_route)
        .unify()
        .or(metrics)
        .unify()
        .recover(recover)
        .unify()
        .boxed()
}
