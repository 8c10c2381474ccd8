//! The status that the edge writes of itself.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use meanet_crds::naming::MANAGER_EDGE;
use meanet_crds::node::{EdgePhase, MEANetNodeStatus};
use meanet_crds::{GROUP, MEANetNode, VERSION};
use serde_json::json;
use tokio::time::timeout;
use tracing::warn;

use super::super::stats::Stats;
use super::Wish;
use crate::report::words;

/// Longest message in a status, in characters.
const MESSAGE: usize = 1000;

pub(super) struct Reporter {
    twin: String,
    nodes: Api<MEANetNode>,
    stats: Arc<Stats>,
    patience: Duration,
    status: MEANetNodeStatus,
    reported: Option<MEANetNodeStatus>,
}

impl Reporter {
    pub(super) fn new(
        twin: &str,
        pod: &str,
        nodes: Api<MEANetNode>,
        stats: Arc<Stats>,
        patience: Duration,
    ) -> Self {
        Self {
            twin: twin.to_owned(),
            nodes,
            stats,
            patience,
            status: MEANetNodeStatus {
                pod: (!pod.is_empty()).then(|| pod.to_owned()),
                ..MEANetNodeStatus::default()
            },
            reported: None,
        }
    }

    pub(super) fn says(&mut self, phase: EdgePhase, message: Option<&str>) {
        self.status.phase = Some(phase);
        self.status.message = message.map(|text| text.chars().take(MESSAGE).collect());
    }

    /// Says which revision answers now; the one before it becomes the previous one.
    pub(super) fn answers(&mut self, revision: &str) {
        if self.status.revision.as_deref() == Some(revision) {
            return;
        }
        if let Some(before) = self.status.revision.replace(revision.to_owned()) {
            self.status.previous_revision = Some(before);
        }
        self.status.live_since = Some(MicroTime(Timestamp::now()));
    }

    /// Forgets what was written: the next report is written whatever it says.
    pub(super) fn again(&mut self) {
        self.reported = None;
    }

    /// Writes the status if it differs from what was written last; gives whether the API server has it.
    pub(super) async fn write(&mut self, wish: &Wish) -> bool {
        self.status.observed_generation = wish.generation;
        self.status.exits = Some(self.stats.exits());
        self.status.latency = self.stats.latency();
        self.status.score_histogram = Some(self.stats.scores());
        if self.reported.as_ref() == Some(&self.status) {
            return true;
        }
        let mut written = self.status.clone();
        written.reported_at = Some(Time(Timestamp::now()));
        let patch = Patch::Apply(json!({
            "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "MEANetNode",
            "metadata": {"name": self.twin}, "status": written,
        }));
        let parameters = PatchParams::apply(MANAGER_EDGE).force();
        let sent = self.nodes.patch_status(&self.twin, &parameters, &patch);
        let reason = match timeout(self.patience, sent).await {
            Ok(Ok(_)) => {
                self.reported = Some(self.status.clone());
                return true;
            }
            Ok(Err(error)) => words(&error),
            Err(_) => format!("no answer within {:?}", self.patience),
        };
        warn!("failed to report in the status of {}: {reason}", self.twin);
        false
    }
}
