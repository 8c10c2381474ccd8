//! `MEANetRevision`: weights and routing that run together, immutable and named by content.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::deployment::{Backbone, Model, Precision, Routing, Variant};

/// One exact thing that an edge can run. Never changes after it is made; its name is a hash of `model`, `weights`,
/// `hardClasses` and `routing`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "meanet.dev",
    version = "v1alpha1",
    kind = "MEANetRevision",
    plural = "meanetrevisions",
    shortname = "mearev",
    category = "meanet",
    namespaced,
    status = "MEANetRevisionStatus",
    derive = "PartialEq",
    selectable = ".spec.deployment",
    doc = "Weights and routing that run together: immutable, named by content.",
    printcolumn(name = "Deployment", type_ = "string", json_path = ".spec.deployment"),
    printcolumn(name = "Number", type_ = "integer", json_path = ".spec.number"),
    printcolumn(name = "Cause", type_ = "string", json_path = ".spec.cause"),
    printcolumn(
        name = "Offload-Above",
        type_ = "number",
        json_path = ".spec.routing.offloadAbove"
    ),
    printcolumn(name = "Accuracy", type_ = "number", json_path = ".spec.evaluation.accuracy"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes"),
    printcolumn(name = "Parent", type_ = "string", json_path = ".spec.parent", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self == oldSelf", "a revision never changes: edit the MEANetDeployment and a new revision is made"))]
pub struct MEANetRevisionSpec {
    /// Name of the `MEANetDeployment`, in the same namespace.
    #[schemars(length(min = 1, max = 40))]
    pub deployment: String,
    /// Counts up from 1 within the deployment: the history's order.
    #[schemars(range(min = 1))]
    pub number: i64,
    /// Name of the revision that this one was derived from. Absent for imported weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Why it was made.
    pub cause: Cause,
    /// The network that the weights belong to; `weights.digest` is the model that its lineage began with.
    pub model: Model,
    /// Digests of the blobs that run: imported ones, or those that retraining made from them.
    pub weights: Weights,
    /// Classes for which the extension is asked, ascending: those that the main exit may be wrong to name.
    #[schemars(length(max = 10000))]
    pub hard_classes: Vec<i32>,
    /// When an input leaves by which exit, copied from the deployment when the revision was made.
    pub routing: Routing,
    /// How good its weights were on held-out data when they were made. Absent where nobody measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
}

/// Why a revision was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Cause {
    /// First weights of the deployment, or other weights named in `spec.model`.
    WeightsImported,
    /// `spec.routing` was edited; the weights are the parent's.
    RoutingChanged,
    /// `spec.model.precision` was edited; the weights are the parent's.
    PrecisionChanged,
    /// A retraining run made new adaptive and extension blocks and passed the gate.
    Retrained,
}

/// Digests of the blobs of one revision, each `sha256:` and 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Weights {
    /// Main block; frozen, so the same in a whole lineage.
    #[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub main: String,
    /// Adaptive block, which retraining makes anew.
    #[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub adaptive: String,
    /// Extension block, which retraining makes anew.
    #[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub extension: String,
    /// The cloud's network, which retraining may move to another domain; absent where an external endpoint stands in for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub cloud: Option<String>,
}

/// Accuracy on data that no training has seen. Shares and accuracies are in 0..=1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evaluation {
    /// Images that it was measured on.
    #[schemars(range(min = 0))]
    pub samples: i64,
    /// Accuracy of the edge by itself under the revision's routing, nothing offloaded. Compare it with `baselineAccuracy` only:
    /// other revisions were measured on other images.
    #[schemars(range(min = 0, max = 1))]
    pub accuracy: f64,
    /// The same for the revision that was in service, on the same images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub baseline_accuracy: Option<f64>,
    /// Half the width of the 95 % interval of `accuracy` less `baselineAccuracy`, whose answers are compared image by image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2))]
    pub margin_of_error: Option<f64>,
    /// Accuracy of the main exit alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub main_accuracy: Option<f64>,
    /// Images trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub trained_on: Option<i64>,
    /// Time the training took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub seconds: Option<f64>,
}

/// Where a revision runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MEANetRevisionStatus {
    /// Number of edge nodes that report it live.
    #[serde(default)]
    pub nodes: i32,
}

/// The part of a revision that its name is a hash of.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Content<'a> {
    backbone: Backbone,
    variant: Variant,
    classes: i32,
    base: &'a str,
    #[serde(skip_serializing_if = "Precision::is_default")]
    precision: Precision,
    weights: &'a Weights,
    hard_classes: &'a [i32],
    routing: &'a Routing,
}

impl<'a> Content<'a> {
    /// The content of a revision with these parts.
    #[must_use]
    pub fn new(
        model: &'a Model,
        weights: &'a Weights,
        hard_classes: &'a [i32],
        routing: &'a Routing,
    ) -> Self {
        Self {
            backbone: model.backbone,
            variant: model.variant,
            classes: model.classes,
            base: &model.weights.digest,
            precision: model.precision,
            weights,
            hard_classes,
            routing,
        }
    }
}

impl MEANetRevisionSpec {
    /// The part that the name is a hash of.
    #[must_use]
    pub fn content(&self) -> Content<'_> {
        Content::new(&self.model, &self.weights, &self.hard_classes, &self.routing)
    }
}
