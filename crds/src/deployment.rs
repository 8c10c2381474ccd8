//! `MEANetDeployment`: what a team wants, one classifier split over edge nodes and the cloud.

mod model;
mod placement;
mod retraining;
mod rollout;
mod routing;
mod status;
mod store;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

pub use model::{Backbone, Model, ModelWeights, Precision, Variant};
pub use placement::{Accelerator, Authorities, Batching, Cloud, Edge, Replicas, Toleration};
pub use retraining::{Dataset, Gate, Retraining, TrainingJob};
pub use rollout::Rollout;
pub use routing::{ExtensionRule, LearnedScore, Routing, Score, WhenCloudUnavailable};
pub use status::{CloudSummary, MEANetDeploymentStatus, NodeSummary, RetrainingPhase, RetrainingStatus};
pub use store::{Claim, Store};

/// A classifier split over edge nodes and the cloud.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "meanet.dev",
    version = "v1alpha1",
    kind = "MEANetDeployment",
    plural = "meanetdeployments",
    shortname = "mead",
    category = "meanet",
    namespaced,
    status = "MEANetDeploymentStatus",
    derive = "PartialEq",
    doc = "A classifier split over edge nodes and the cloud.",
    validation = ("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')", "metadata.name must start with a letter, be at most 40 characters long and hold only a-z, 0-9 and '-', since Services and labels are named after it"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.currentRevision"),
    printcolumn(name = "Synced", type_ = "string", json_path = ".status.nodes.summary", description = "Edge nodes on the target revision, of all selected"),
    printcolumn(name = "Offload-Above", type_ = "number", json_path = ".spec.routing.offloadAbove"),
    printcolumn(name = "Cloud", type_ = "string", json_path = ".status.cloud.summary"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct MEANetDeploymentSpec {
    /// The network and the weights to begin with. Another model is imported first and then rolled out; the one before serves
    /// until then.
    pub model: Model,
    /// When an input leaves by which exit. Edited live: each edge takes it over while it serves, no pod restarts.
    #[serde(default)]
    pub routing: Routing,
    /// Where and how the edge runtimes run.
    #[serde(default)]
    pub edge: Edge,
    /// Where and how the cloud runtimes run, or who stands in for them.
    #[serde(default)]
    pub cloud: Cloud,
    /// Where weights, samples and data sets are kept.
    pub store: Store,
    /// How adaptive and extension blocks are retrained.
    #[serde(default)]
    pub retraining: Retraining,
    /// How a new revision reaches the edge nodes.
    #[serde(default)]
    pub rollout: Rollout,
    /// Image of the runtime: of cloud and jobs and, unless `edge.image` names another, of edges. Absent: those that the operator was
    /// installed with, `--runtime-image` and `--edge-image`. Another image restarts the pods of this deployment, edges one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
}
