//! The edge's paths beside the protocol's.

use std::sync::Arc;

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::infer::Edge;
use crate::metrics::page;
use crate::protocol::{Port, http, recover};

pub(super) fn routes(port: Port<Edge>) -> BoxedFilter<(Response,)> {
    let edge = Arc::clone(&port.model);
    let metrics = warp::path!("metrics")
        .and(warp::get())
        .map(move || page(&edge.stats.registry));
    http::routes(port)
        .or(metrics)
        .unify()
        .recover(recover)
        .unify()
        .boxed()
}
