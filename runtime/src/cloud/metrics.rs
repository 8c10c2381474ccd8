//! What the cloud tier counts for `/metrics`.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::{latency, sizes};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStatus {
    status: u16,
}

/// All counters; cloning shares them.
#[derive(Clone)]
pub(super) struct Metrics {
    answers: Counter,
    refused: Family<ByStatus, Counter>,
    seconds: Histogram,
    /// Images that were computed together.
    pub(super) batch: Histogram,
    /// Images that wait for a batch.
    pub(super) queue: Gauge,
    /// Requests whose sender left before they were computed.
    pub(super) cancelled: Counter,
    /// Samples on disk, refused by a full queue, and lost to the disk.
    pub(super) kept: Counter,
    pub(super) dropped: Counter,
    pub(super) failed: Counter,
}

impl Metrics {
    /// Counters, and the registry that prints them.
    pub(super) fn new() -> (Self, Registry) {
        let metrics = Self {
            answers: Counter::default(),
            refused: Family::default(),
            seconds: latency(),
            batch: sizes(),
            queue: Gauge::default(),
            cancelled: Counter::default(),
            kept: Counter::default(),
            dropped: Counter::default(),
            failed: Counter::default(),
        };
        let mut registry = Registry::with_prefix("meanet_cloud");
        let counters = [
            ("answers", "Images answered", &metrics.answers),
            (
                "cancelled_requests",
                "Requests whose sender left before they were computed",
                &metrics.cancelled,
            ),
            ("samples_kept", "Samples written to the store", &metrics.kept),
            (
                "samples_dropped",
                "Samples that found the queue full",
                &metrics.dropped,
            ),
            (
                "samples_failed",
                "Samples that could not be written",
                &metrics.failed,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "refused_requests",
            "Inference requests that got an error, by HTTP status",
            metrics.refused.clone(),
        );
        registry.register_with_unit(
            "answer",
            "Time from the whole request to its answer",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register(
            "batch_images",
            "Images that were computed together",
            metrics.batch.clone(),
        );
        registry.register(
            "queue_depth",
            "Images that wait for a batch",
            metrics.queue.clone(),
        );
        (metrics, registry)
    }

    /// A request for so many images was answered.
    pub(super) fn answered(&self, images: usize, took: Duration) {
        self.answers.inc_by(images as u64);
        self.seconds.observe(took.as_secs_f64());
    }

    pub(super) fn refused(&self, status: u16) {
        self.refused.get_or_create(&ByStatus { status }).inc();
    }
}
