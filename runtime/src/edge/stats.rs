//! What this edge has done: counters for `/metrics`, and what the twin's status says of them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use meanet_crds::node::{ExitCounts, Latency};
use meanet_method::Exit;
use prometheus_client::registry::Registry;

use super::active::Slot;
use super::metrics::Metrics;

/// Bins of the score histogram.
const BINS: usize = 20;
/// Latencies remembered for the quantiles.
const RECENT: usize = 1024;

pub(super) struct Stats {
    pub(super) metrics: Metrics,
    pub(super) registry: Registry,
    scores: [AtomicI64; BINS],
    latencies: Mutex<VecDeque<f64>>,
}

impl Stats {
    pub(super) fn new(slot: Slot) -> Self {
        let (metrics, registry) = Metrics::new(slot);
        Self {
            metrics,
            registry,
            scores: Default::default(),
            latencies: Mutex::default(),
        }
    }

    /// Counts one image that was answered `took` after its request had arrived. `score_share` is its score by the largest
    /// possible one.
    pub(super) fn answered(&self, exit: Exit, degraded: bool, score_share: f32, took: Duration) {
        self.metrics.answered(exit, degraded, took);
        let bin = ((score_share.clamp(0.0, 1.0) * BINS as f32) as usize).min(BINS - 1);
        self.scores[bin].fetch_add(1, Ordering::Relaxed);
    }

    /// Remembers how long one request took.
    pub(super) fn took(&self, elapsed: Duration) {
        let mut recent = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back(elapsed.as_secs_f64() * 1e3);
    }

    pub(super) fn exits(&self) -> ExitCounts {
        let whole = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let count = |exit| whole(self.metrics.answers(exit));
        ExitCounts {
            main: count(Exit::Main),
            extension: count(Exit::Extension),
            cloud: count(Exit::Cloud),
            degraded: whole(self.metrics.degraded()),
        }
    }

    /// Quantiles of recent answers, rounded to microseconds.
    pub(super) fn latency(&self) -> Option<Latency> {
        let mut sorted: Vec<f64> = self
            .latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .copied()
            .collect();
        if sorted.is_empty() {
            return None;
        }
        sorted.sort_by(f64::total_cmp);
        let at = |q: f64| (sorted[((sorted.len() - 1) as f64 * q).round() as usize] * 1e3).round() / 1e3;
        Some(Latency {
            p50_ms: at(0.5),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
        })
    }

    pub(super) fn scores(&self) -> Vec<i64> {
        self.scores
            .iter()
            .map(|bin| bin.load(Ordering::Relaxed))
            .collect()
    }
}
