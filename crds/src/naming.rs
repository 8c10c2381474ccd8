//! Names that more than one component must agree on: labels, annotations, object names, ports, field managers.

/// Label: the deployment that an object belongs to.
pub const LABEL_DEPLOYMENT: &str = "meanet.dev/deployment";
/// Label: the part of the system that an object is: `edge`, `cloud`, `import` or `train`.
pub const LABEL_COMPONENT: &str = "meanet.dev/component";
/// Label on nodes: `edge` or `cloud`, the default of both node selectors.
pub const LABEL_TIER: &str = "meanet.dev/tier";
/// Annotation on a deployment: ask for one retraining run. The value, mostly a time, names the request; as with
/// `kubectl rollout restart`, a new value is a new request. Requests are answered one after the other.
pub const ANNOTATION_RETRAIN: &str = "meanet.dev/retrain-requested-at";
/// Annotation on an object applied by the operator: hash of what was applied, so that steady state writes nothing.
pub const ANNOTATION_APPLIED: &str = "meanet.dev/applied-hash";
/// Annotation on the pods of the edges: uid of the `ServiceAccount` that they were made for.
pub const ANNOTATION_ACCOUNT: &str = "meanet.dev/account-uid";
/// Annotation on a training job: the value of [`ANNOTATION_RETRAIN`] that it answers.
pub const ANNOTATION_REQUEST: &str = "meanet.dev/request";
/// Annotation on a training job: name of the revision that it started from, and is measured against.
pub const ANNOTATION_BASE: &str = "meanet.dev/base-revision";
/// Annotation on a twin: since when its `spec.revision` is wanted, as RFC 3339. The progress deadline counts from here.
pub const ANNOTATION_WANTED_SINCE: &str = "meanet.dev/wanted-since";

/// Field manager of everything the operator writes.
pub const MANAGER_OPERATOR: &str = "meanet-operator";
/// Field manager of what an edge runtime writes into its own twin's status.
pub const MANAGER_EDGE: &str = "meanet-edge";

/// Port that both runtimes serve HTTP on.
pub const PORT_HTTP: i32 = 8080;
/// Port of the Services in front of both runtimes.
pub const PORT_SERVICE: i32 = 80;

/// A part of the system, as written in [`LABEL_COMPONENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// The runtime on edge nodes.
    Edge,
    /// The runtime on cloud nodes, and the store.
    Cloud,
    /// The job that brings first weights into the store and checks them.
    Import,
    /// The job that retrains adaptive and extension blocks.
    Train,
}

impl Component {
    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Cloud => "cloud",
            Self::Import => "import",
            Self::Train => "train",
        }
    }

    /// Name of the workload, its Service and its service account: `street-cams-edge`.
    #[must_use]
    pub fn object_name(self, deployment: &str) -> String {
        format!("{deployment}-{}", self.as_str())
    }
}

/// Name of the twin of `deployment` on `node`: `street-cams.edge-1`.
///
/// A deployment's name has no dot, so the pair can be read back and two pairs never meet.
#[must_use]
pub fn twin_name(deployment: &str, node: &str) -> String {
    format!("{deployment}.{node}")
}
