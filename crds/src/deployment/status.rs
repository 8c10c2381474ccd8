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
    /// See the module `condition` for the types.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The revision that every reachable node has: what a rollout starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_revision: Option<String>,
    /// The revision that the nodes are on their way to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_revision: Option<String>,
    /// Edge nodes by state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeSummary>,
    /// The cloud tier.
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
    /// `synced/selected`, for people.
    pub summary: String,
    /// Nodes that match the selector.
    pub selected: i32,
    /// On the target revision.
    pub synced: i32,
    /// On their way.
    pub pending: i32,
    /// Not reachable; caught up when they return.
    pub offline: i32,
    /// Could not load the revision.
    pub failed: i32,
}

/// The cloud tier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudSummary {
    /// `available/wanted`, or `external`.
    pub summary: String,
}

/// How a retraining request stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetrainingStatus {
    /// The annotation's value that this answers.
    pub request: String,
    /// Where it stands.
    pub phase: RetrainingPhase,
    /// Name of the job.
    pub job: String,
    /// The revision made, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Why not, if none was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the run measured.
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
