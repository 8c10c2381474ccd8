use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::revision::Evaluation;

/// What the operator sees.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MEANetDeploymentStatus {
    /// Generation of the spec that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How it stands, one entry for each concern: `Ready`, `PreflightPassed`, `WeightsReady`, `CloudAvailable`, `Progressing`,
    /// `Retrained`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The revision that every reachable node had when they last agreed: what a rollout starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_revision: Option<String>,
    /// The revision that the nodes are on their way to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_revision: Option<String>,
    /// Edge nodes by state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeSummary>,
    /// The cloud tier in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<CloudSummary>,
    /// The last retraining request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retraining: Option<RetrainingStatus>,
}

/// Edge nodes by state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSummary {
    /// `synced/selected`, for the column of `kubectl get`.
    pub summary: String,
    /// Nodes that match `spec.edge.nodeSelector`.
    pub selected: i32,
    /// Nodes on the target revision.
    pub synced: i32,
    /// Reachable nodes that are on their way to it, or wait for their turn.
    pub pending: i32,
    /// Nodes that are not reachable; caught up when they return.
    pub offline: i32,
    /// Nodes that could not load the revision wanted there; their `MEANetNode` objects say why.
    pub failed: i32,
}

/// The cloud tier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudSummary {
    /// `available/wanted` cloud pods, or `external` where `spec.cloud.endpoint` is set.
    pub summary: String,
}

/// How a retraining request stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetrainingStatus {
    /// The value of `meanet.dev/retrain-requested-at` that this answers.
    pub request: String,
    /// Where it stands.
    pub phase: RetrainingPhase,
    /// Name of the training job; `kubectl logs job/NAME` has its progress.
    pub job: String,
    /// The revision made, once accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// What it waits for, what the gate found, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the run measured on held-out images, accepted or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
}

/// Where a retraining request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RetrainingPhase {
    /// The job waits or runs.
    Running,
    /// The gate let it pass; a revision was made.
    Accepted,
    /// The gate held it back; the blobs stay in the store.
    Rejected,
    /// The job failed. A new request tries again.
    Failed,
}
