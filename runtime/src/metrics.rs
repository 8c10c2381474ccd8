//! What both tiers have in common when they print what they count.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use warp::reply::{self, Reply, Response};

/// A histogram of seconds, from an answer out of one small network to one that waited for a cloud far away.
pub(crate) fn latency() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25,
        0.5, 1.0, 2.5, 5.0,
    ])
}

/// A histogram of images that go together.
pub(crate) fn sizes() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 9))
}

/// Everything in the registry, in the OpenMetrics text format.
pub(crate) fn page(registry: &Registry) -> Response {
    let mut text = String::new();
    if let Err(error) = encode(&mut text, registry) {
        // Writing into a string does not fail; a metric that cannot be printed must not take the others down.
        text = format!("# failed to print: {error}\n{text}");
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    reply::with_header(text, "content-type", kind).into_response()
}
