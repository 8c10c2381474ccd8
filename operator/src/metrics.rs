//! What the operator counts about itself.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

mod process;

use process::Process;

/// Labels of an API request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    verb: &'static str,
    resource: String,
}

/// Labels of a reconcile that failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    category: &'static str,
}

/// All counters of the operator; cloning shares them.
#[derive(Clone, Default)]
pub struct Metrics {
    requests: Family<Request, Counter>,
    failures: Family<Failure, Counter>,
    reconciles: Counter,
    writes: Counter,
    leader: Gauge,
    seconds: Option<Histogram>,
}

impl Metrics {
    /// Counters, and the registry that prints them.
    #[must_use]
    pub fn new() -> (Self, Registry) {
        // A reconcile that writes nothing takes microseconds, one that rolls a revision out to a fleet takes seconds.
        let seconds = Histogram::new([
            0.0001, 0.0005, 0.002, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
        ]);
        let metrics = Self {
            seconds: Some(seconds.clone()),
            ..Self::default()
        };
        let mut all = Registry::default();
        all.register_collector(Box::new(Process));
        let registry = all.sub_registry_with_prefix("meanet_operator");
        registry.register(
            "api_requests",
            "Requests to the API server",
            metrics.requests.clone(),
        );
        registry.register(
            "reconciles",
            "Reconciles that ended, in success or not",
            metrics.reconciles.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Reconciles that failed",
            metrics.failures.clone(),
        );
        registry.register(
            "writes",
            "Objects written or deleted by reconciles",
            metrics.writes.clone(),
        );
        registry.register("leader", "1 where this replica leads", metrics.leader.clone());
        registry.register_with_unit("reconcile", "Time that reconciles took", Unit::Seconds, seconds);
        (metrics, all)
    }

    /// A request leaves for the API server.
    pub fn requested(&self, verb: &'static str, resource: &str) {
        self.requests
            .get_or_create(&Request {
                verb,
                resource: resource.to_owned(),
            })
            .inc();
    }

    /// A reconcile ended after `took`.
    pub fn reconciled(&self, took: Duration) {
        self.reconciles.inc();
        if let Some(seconds) = &self.seconds {
            seconds.observe(took.as_secs_f64());
        }
    }

    /// A reconcile failed.
    pub fn failed(&self, category: &'static str) {
        self.failures.get_or_create(&Failure { category }).inc();
    }

    /// An object was written or deleted.
    pub fn wrote(&self) {
        self.writes.inc();
    }

    /// Objects written or deleted so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.writes.get()
    }

    /// Whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }
}

/// Everything in the registry, in the OpenMetrics text format.
#[must_use]
pub fn text(registry: &Registry) -> String {
    let mut text = String::new();
    match encode(&mut text, registry) {
        Ok(()) => text,
        // Writing into a string does not fail; a metric that cannot be printed must not take the others down.
        Err(error) => format!("# failed to print: {error}\n{text}"),
    }
}
