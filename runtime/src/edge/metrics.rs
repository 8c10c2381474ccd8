//! What this edge counts for `/metrics`.

use std::fmt;
use std::time::Duration;

use meanet_method::Exit;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::active::Slot;
use crate::metrics::{latency, sizes};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByExit {
    exit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStatus {
    status: u16,
}

/// All counters; cloning shares them.
#[derive(Clone)]
pub(super) struct Metrics {
    answers: Family<ByExit, Counter>,
    seconds: Family<ByExit, Histogram>,
    degraded: Counter,
    refused: Family<ByStatus, Counter>,
    offload_failures: Family<ByReason, Counter>,
    offload_images: Histogram,
    offload_seconds: Histogram,
    /// Images that wait to be computed.
    pub(super) queue: Gauge,
}

impl Metrics {
    /// Counters, and the registry that prints them and the revision in `slot`.
    pub(super) fn new(slot: Slot) -> (Self, Registry) {
        let metrics = Self {
            answers: Family::default(),
            seconds: Family::new_with_constructor(latency),
            degraded: Counter::default(),
            refused: Family::default(),
            offload_failures: Family::default(),
            offload_images: sizes(),
            offload_seconds: latency(),
            queue: Gauge::default(),
        };
        for exit in [Exit::Main, Exit::Extension, Exit::Cloud] {
            // An exit that has not answered yet is a 0, not a gap.
            let _ = metrics.answers.get_or_create(&by(exit));
        }
        let mut registry = Registry::with_prefix("meanet_edge");
        registry.register("answers", "Images answered, by exit", metrics.answers.clone());
        registry.register_with_unit(
            "answer",
            "Time from the whole request to its answer, counted once an image, by exit",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register(
            "degraded_answers",
            "Images that the edge answered since the cloud did not",
            metrics.degraded.clone(),
        );
        registry.register(
            "refused_requests",
            "Inference requests that got an error, by HTTP status",
            metrics.refused.clone(),
        );
        registry.register(
            "offload_failures",
            "Requests with unsure images that got no usable answer of the cloud, by reason",
            metrics.offload_failures.clone(),
        );
        registry.register(
            "offload_images",
            "Images of a request to the cloud, which may come from several requests",
            metrics.offload_images.clone(),
        );
        registry.register_with_unit(
            "offload",
            "Time that a request to the cloud took, whatever its outcome",
            Unit::Seconds,
            metrics.offload_seconds.clone(),
        );
        registry.register(
            "queue_depth",
            "Images that wait to be computed",
            metrics.queue.clone(),
        );
        registry.register_collector(Box::new(InService(slot)));
        (metrics, registry)
    }

    pub(super) fn answered(&self, exit: Exit, degraded: bool, took: Duration) {
        self.answers.get_or_create(&by(exit)).inc();
        self.seconds.get_or_create(&by(exit)).observe(took.as_secs_f64());
        if degraded {
            self.degraded.inc();
        }
    }

    pub(super) fn refused(&self, status: u16) {
        self.refused.get_or_create(&ByStatus { status }).inc();
    }

    pub(super) fn offload_failed(&self, reason: &'static str) {
        self.offload_failures.get_or_create(&ByReason { reason }).inc();
    }

    pub(super) fn offloaded(&self, images: usize, took: Duration) {
        self.offload_images.observe(images as f64);
        self.offload_seconds.observe(took.as_secs_f64());
    }

    pub(super) fn answers(&self, exit: Exit) -> u64 {
        self.answers.get_or_create(&by(exit)).get()
    }

    pub(super) fn degraded(&self) -> u64 {
        self.degraded.get()
    }
}

fn by(exit: Exit) -> ByExit {
    ByExit { exit: exit.as_str() }
}

/// The revision in service and its routing, as labels.
struct InService(Slot);

impl fmt::Debug for InService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InService")
    }
}

impl Collector for InService {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(active) = self.0.get() else { return Ok(()) };
        let routing = &active.spec.routing;
        let text = |above: Option<f64>| above.map(|above| above.to_string()).unwrap_or_default();
        let labels = [
            ("revision", active.name.clone()),
            ("number", active.spec.number.to_string()),
            ("score", format!("{:?}", routing.score)),
            ("offload_above", routing.offload_above.to_string()),
            ("extend_above", text(routing.extend_above)),
            ("extension_offload_above", text(routing.extension_offload_above)),
            ("cloud_timeout", format!("{:?}", routing.cloud_timeout.get())),
        ];
        encoder
            .encode_descriptor(
                "revision",
                "The revision in service and its routing",
                None,
                MetricType::Info,
            )?
            .encode_info(&labels.to_vec())
    }
}
