use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// How a new revision reaches the edge nodes. A revision that differs only in routing goes to all nodes at once;
/// new weights go node by node.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Nodes that load new weights at the same time; the next ones follow in the order of their names. While one has failed
    /// or is overdue, none follows.
    #[serde(default = "default_max_in_flight")]
    #[schemars(range(min = 1, max = 10000))]
    pub max_in_flight: i32,
    /// Leaves every node on the revision that it has, routing edits included. A new node gets what the others had when they
    /// last agreed.
    #[serde(default)]
    pub paused: bool,
    /// Runs this revision of the history on every node, whatever is newer: a rollback. Weights and routing return together,
    /// and edits of `spec.routing` wait until the field is removed. Absent: the newest weights with `spec.routing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub pinned_revision: Option<String>,
    /// How long a reachable node may take to bring a revision into service before the rollout stops there. Time out of reach
    /// does not count.
    #[serde(default = "default_progress_deadline")]
    #[x_kube(validation = ("duration(self) >= duration('1s')", "rollout.progressDeadline must be at least 1s"))]
    pub progress_deadline: Duration,
    /// Revisions kept besides those in use; the oldest go first. One that was deleted cannot be pinned any more.
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
