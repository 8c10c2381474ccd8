//! `MEANetNode`: the twin of one deployment on one edge node.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator wants on one edge node. A canary is just some twins pointing at a newer revision.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "meanet.dev",
    version = "v1alpha1",
    kind = "MEANetNode",
    plural = "meanetnodes",
    shortname = "meanode",
    category = "meanet",
    namespaced,
    status = "MEANetNodeStatus",
    derive = "PartialEq",
    selectable = ".spec.deployment",
    selectable = ".spec.nodeName",
    doc = "The twin of one deployment on one edge node: which revision is wanted there, which one runs.",
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.nodeName"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Wanted", type_ = "string", json_path = ".spec.revision"),
    printcolumn(name = "Live", type_ = "string", json_path = ".status.revision"),
    printcolumn(name = "Main", type_ = "integer", json_path = ".status.exits.main"),
    printcolumn(name = "Extension", type_ = "integer", json_path = ".status.exits.extension"),
    printcolumn(name = "Cloud", type_ = "integer", json_path = ".status.exits.cloud"),
    printcolumn(name = "Degraded", type_ = "integer", json_path = ".status.exits.degraded"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct MEANetNodeSpec {
    /// Name of the `MEANetDeployment`, in the same namespace.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = ("self == oldSelf", "deployment is immutable: a twin belongs to one deployment"))]
    pub deployment: String,
    /// Name of the Node.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = ("self == oldSelf", "nodeName is immutable: a twin belongs to one node"))]
    pub node_name: String,
    /// Name of the revision wanted on the node. Absent until there is a first one. Set by the operator; an edit is undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub revision: Option<String>,
}

/// What runs on the node. `state` is the operator's judgement; the edge runtime itself reports all the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MEANetNodeStatus {
    /// The operator's judgement of wish, report and node together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<NodeState>,
    /// Generation of this `MEANetNode` that the report answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What the edge runtime is doing about its wanted revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<EdgePhase>,
    /// The revision that answers requests now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The revision that answered before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_revision: Option<String>,
    /// Since when `revision` answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_since: Option<MicroTime>,
    /// Last error, or what is being waited for. Absent where all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// Name of the edge pod that reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Inputs answered since the pod started, by exit. Reported about every 30 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exits: Option<ExitCounts>,
    /// Latency of the last 1,024 requests, waiting for the cloud included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Inputs since the pod started by score of the main exit: bin `i` of `n` counts scores in `[i/n, (i+1)/n)` of the score's
    /// range. It shows what another threshold would send to the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub score_histogram: Option<Vec<i64>>,
    /// When the edge wrote this report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<Time>,
}

/// The operator's judgement of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum NodeState {
    /// The wanted revision is live.
    Synced,
    /// The node is reachable and on its way to the wanted revision.
    Pending,
    /// The node is not reachable; it is skipped and caught up when it returns.
    Offline,
    /// The edge could not bring the wanted revision into service; the previous one keeps answering.
    Failed,
}

/// What an edge runtime is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum EdgePhase {
    /// No revision is wanted yet.
    Waiting,
    /// Blobs are on their way, or are being checked and warmed up.
    Loading,
    /// The wanted revision answers.
    Live,
    /// The wanted revision could not be loaded; see `message`. Tried again, with growing pauses.
    Failed,
}

/// Inputs answered, by exit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExitCounts {
    /// Answered by the main block.
    #[serde(default)]
    pub main: i64,
    /// Answered by the extension block.
    #[serde(default)]
    pub extension: i64,
    /// Answered by the cloud in time.
    #[serde(default)]
    pub cloud: i64,
    /// Answered at the edge although the cloud was asked: it did not answer in time. Counted in `main` or `extension`, too.
    #[serde(default)]
    pub degraded: i64,
}

/// Quantiles of recent answers in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Median in milliseconds.
    pub p50_ms: f64,
    /// 95th percentile in milliseconds.
    pub p95_ms: f64,
    /// 99th percentile in milliseconds.
    pub p99_ms: f64,
}
