use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// How a new revision reaches the edge nodes. A revision that differs only in routing goes to all nodes at once;
/// new weights go node by node.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Nodes that load new weights at the same time.
    #[serde(default = "default_max_in_flight")]
    #[schemars(range(min = 1, max = 10000))]
    pub max_in_flight: i32,
    /// Leaves every node on the revision it has.
    #[serde(default)]
    pub paused: bool,
    /// Runs this revision of the history on every node, whatever is newer: a rollback. Weights and routing return together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub pinned_revision: Option<String>,
    /// How long a reachable node may take to bring new weights into service before the rollout stops there.
    #[serde(default = "default_progress_deadline")]
    #[x_kube(validation = ("duration(self) >= duration('1s')", "rollout.progressDeadline must be at least 1s"))]
    pub progress_deadline: Duration,
    /// Revisions kept besides those in use.
    #[serde(default = "default_history")]
    #[schemars(range(min = 1, max = 1000))]
    pub revision_history_limit: i32,
}

fn default_max_in_flight() -> i32 {
    1
}

fn default_progress_deadline() -> Duration {
    Duration::from_millis(120_000)
}

fn default_history() -> i32 {
    10
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            max_in_flight: default_max_in_flight(),
            paused: false,
            pinned_revision: None,
            progress_deadline: default_progress_deadline(),
            revision_history_limit: default_history(),
        }
    }
}
