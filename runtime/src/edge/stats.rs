//! What this edge has done: for `/metrics` and for the twin's status.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use meanet_crds::node::{ExitCounts, Latency};
use meanet_method::Exit;

use super::active::Active;

/// Bins of the score histogram.
const BINS: usize = 20;
/// Latencies remembered for the quantiles.
const RECENT: usize = 1024;

#[derive(Default)]
pub(super) struct Stats {
    exits: [AtomicI64; 3],
    degraded: AtomicI64,
    refused: AtomicI64,
    offload_failures: AtomicI64,
    scores: [AtomicI64; BINS],
    latencies: Mutex<VecDeque<f64>>,
}

impl Stats {
    pub(super) fn answered(&self, exit: Exit, degraded: bool, score_share: f32) {
        self.exits[exit as usize].fetch_add(1, Ordering::Relaxed);
        if degraded {
            self.degraded.fetch_add(1, Ordering::Relaxed);
        }
        let bin = ((score_share.clamp(0.0, 1.0) * BINS as f32) as usize).min(BINS - 1);
        self.scores[bin].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn took(&self, elapsed: Duration) {
        let mut recent = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back(elapsed.as_secs_f64() * 1e3);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn offload_failed(&self) {
        self.offload_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn exits(&self) -> ExitCounts {
        let count = |exit: Exit| self.exits[exit as usize].load(Ordering::Relaxed);
        ExitCounts {
            main: count(Exit::Main),
            extension: count(Exit::Extension),
            cloud: count(Exit::Cloud),
            degraded: self.degraded.load(Ordering::Relaxed),
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

    /// The Prometheus text format.
    pub(super) fn text(&self, active: Option<&Active>) -> String {
        let mut out = String::new();
        let exits = self.exits();
        let _ = writeln!(out, "# TYPE meanet_answers_total counter");
        for (exit, count) in [
            ("main", exits.main),
            ("extension", exits.extension),
            ("cloud", exits.cloud),
        ] {
            let _ = writeln!(out, "meanet_answers_total{{exit=\"{exit}\"}} {count}");
        }
        for (name, value) in [
            ("meanet_degraded_answers_total", exits.degraded),
            (
                "meanet_refused_requests_total",
                self.refused.load(Ordering::Relaxed),
            ),
            (
                "meanet_offload_failures_total",
                self.offload_failures.load(Ordering::Relaxed),
            ),
        ] {
            let _ = writeln!(out, "# TYPE {name} counter\n{name} {value}");
        }
        if let Some(latency) = self.latency() {
            let _ = writeln!(out, "# TYPE meanet_request_milliseconds gauge");
            for (q, value) in [
                ("0.5", latency.p50_ms),
                ("0.95", latency.p95_ms),
                ("0.99", latency.p99_ms),
            ] {
                let _ = writeln!(out, "meanet_request_milliseconds{{quantile=\"{q}\"}} {value}");
            }
        }
        if let Some(active) = active {
            let _ = writeln!(
                out,
                "# TYPE meanet_revision_info gauge\nmeanet_revision_info{{revision=\"{}\",score=\"{:?}\",offload_above=\"{}\"}} 1",
                active.name, active.routing.score, active.routing.offload_above
            );
        }
        out
    }
}
