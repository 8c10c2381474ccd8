//! Every reason that a condition of a [`crate::MEANetDeployment`] can have, with what it means and what helps.
//!
//! The operator gives the reasons; a test reads its source and fails where one is missing here, or none gives it any more.

use super::{CLOUD_AVAILABLE, PREFLIGHT_PASSED, PROGRESSING, READY, RETRAINED, WEIGHTS_READY};

/// One reason of one condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Type of the condition.
    pub condition: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// One CamelCase word.
    pub reason: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What a person does about it.
    pub remedy: &'static str,
}

const fn reason(
    condition: &'static str,
    status: &'static str,
    reason: &'static str,
    meaning: &'static str,
    remedy: &'static str,
) -> Reason {
    Reason {
        condition,
        status,
        reason,
        meaning,
        remedy,
    }
}

const NOTHING: &str = "Nothing.";
const WAIT: &str = "Wait.";

/// All reasons, by condition. `Ready` repeats the reason of the first other condition that holds it back; those are not
/// listed twice.
pub const REASONS: &[Reason] = &[
    reason(READY, "True", "Complete", "Everything asked for runs.", NOTHING),
    reason(
        READY,
        "False",
        "EdgePodsNotReady",
        "Fewer edge pods are ready than edge nodes are reachable.",
        "The message has what Kubernetes says of the first of them; `kubectl describe pods -l meanet.dev/component=edge`: mostly an image that cannot be pulled, or a node without room.",
    ),
    reason(
        READY,
        "False",
        "ApplyFailed",
        "The API server did not take an object that the operator wrote.",
        "The message names object and refusal: a quota, a missing right of the operator, an admission policy.",
    ),
    reason(
        READY,
        "False",
        "InvalidSpec",
        "The spec contradicts itself in a way that the schema cannot say. What runs goes on.",
        "Edit the field that the message names.",
    ),
    reason(
        PREFLIGHT_PASSED,
        "True",
        "Passed",
        "The cluster has what the deployment needs.",
        NOTHING,
    ),
    reason(
        PREFLIGHT_PASSED,
        "False",
        "NoEdgeNode",
        "No node matches `spec.edge.nodeSelector`.",
        "Label one: `kubectl label node NODE meanet.dev/tier=edge`.",
    ),
    reason(
        PREFLIGHT_PASSED,
        "False",
        "NoCloudNode",
        "No node matches `spec.cloud.nodeSelector`.",
        "Label one: `kubectl label node NODE meanet.dev/tier=cloud`.",
    ),
    reason(
        PREFLIGHT_PASSED,
        "False",
        "NoAccelerator",
        "No cloud node offers as many of `spec.cloud.accelerator.resource` as one cloud runtime takes.",
        "Install the device plugin there, or set `spec.cloud.accelerator.count` to 0 to serve from the CPU.",
    ),
    reason(
        PREFLIGHT_PASSED,
        "False",
        "ClaimMissing",
        "The claim that `spec.store` names is not in the namespace.",
        "Create the PersistentVolumeClaim.",
    ),
    reason(
        PREFLIGHT_PASSED,
        "False",
        "ClaimLost",
        "The volume behind the claim is gone.",
        "Restore it, or name another claim in `spec.store`.",
    ),
    reason(
        PREFLIGHT_PASSED,
        "False",
        "ClaimNotBound",
        "The claim has no volume, and none is made when a pod asks for it.",
        "`kubectl describe pvc NAME`: name a storage class that there is, or make a volume that fits.",
    ),
    reason(
        WEIGHTS_READY,
        "True",
        "Imported",
        "The weights named in `spec.model.weights` are in the store and were checked.",
        NOTHING,
    ),
    reason(
        WEIGHTS_READY,
        "False",
        "Importing",
        "The import job is made, waits for something that the message names, or runs.",
        "Wait; where it waits for a node or an image, mend that.",
    ),
    reason(
        WEIGHTS_READY,
        "False",
        "ImportFailed",
        "The import job could not find the weights, or they are not what the spec declares. It is tried again by itself, with pauses of up to five minutes.",
        "The message names the blob or the field: put the model into the store or the image, or mend `spec.model`.",
    ),
    reason(
        CLOUD_AVAILABLE,
        "True",
        "Available",
        "At least one cloud runtime takes offloaded inputs.",
        NOTHING,
    ),
    reason(
        CLOUD_AVAILABLE,
        "True",
        "External",
        "`spec.cloud.endpoint` stands in for our cloud runtimes. Whether it answers is not tested: watch `degraded`.",
        NOTHING,
    ),
    reason(
        CLOUD_AVAILABLE,
        "Unknown",
        "NoRevision",
        "The cloud starts with the first weights.",
        "See `WeightsReady`.",
    ),
    reason(
        CLOUD_AVAILABLE,
        "False",
        "Starting",
        "Cloud pods start, for at most a minute, and nothing is known to hold them up. Edges answer by themselves.",
        WAIT,
    ),
    reason(
        CLOUD_AVAILABLE,
        "False",
        "Unavailable",
        "No cloud pod is ready. Edges answer by themselves.",
        "The message has what Kubernetes says of the pod, and the command that lists all: mostly no free accelerator, or a claim that cannot be mounted.",
    ),
    reason(
        CLOUD_AVAILABLE,
        "False",
        "NoCloudWeights",
        "The model has no network for the cloud. Edges answer by themselves.",
        "Name a model with one in `spec.model.weights`, or set `spec.cloud.endpoint`.",
    ),
    reason(
        PROGRESSING,
        "True",
        "RollingOut",
        "A revision is on its way to the edges; the message names the nodes that load it.",
        WAIT,
    ),
    reason(
        PROGRESSING,
        "False",
        "Complete",
        "Every reachable node has the target revision. Nodes out of reach are caught up when they return.",
        NOTHING,
    ),
    reason(
        PROGRESSING,
        "False",
        "Paused",
        "`spec.rollout.paused` holds every node on the revision that it has.",
        "Set it to false to go on.",
    ),
    reason(
        PROGRESSING,
        "False",
        "NodeFailed",
        "A node could not load the revision and keeps the one before; no further node gets it.",
        "Mend what the message says of the node, or roll back with `spec.rollout.pinnedRevision`. The rollout goes on when the node can.",
    ),
    reason(
        PROGRESSING,
        "False",
        "ProgressDeadlineExceeded",
        "A reachable node has not brought the revision into service within `spec.rollout.progressDeadline`; no further node gets it.",
        "Look at the edge pod of the node. The rollout goes on when the node has it.",
    ),
    reason(
        PROGRESSING,
        "False",
        "PinnedRevisionMissing",
        "`spec.rollout.pinnedRevision` names a revision that is not in the history; every node keeps what it has.",
        "Choose one of `kubectl get mearev`, or remove the field.",
    ),
    reason(
        PROGRESSING,
        "Unknown",
        "NoRevision",
        "There are no weights to roll out yet.",
        "See `WeightsReady`.",
    ),
    reason(
        RETRAINED,
        "Unknown",
        "Running",
        "The training job waits or runs.",
        WAIT,
    ),
    reason(
        RETRAINED,
        "Unknown",
        "WaitingForRevision",
        "Retraining was asked for before there was a revision to start from.",
        "See `WeightsReady`; the request is not lost.",
    ),
    reason(
        RETRAINED,
        "True",
        "Accepted",
        "The gate let the new weights pass; a revision was made and is rolled out.",
        NOTHING,
    ),
    reason(
        RETRAINED,
        "False",
        "Rejected",
        "The new weights gained less than the gate asks for, or not beyond chance, or `spec.model` was changed meanwhile. What serves stays.",
        "Collect more samples, name a data set, lower `spec.retraining.gate.minAccuracyGain`, or set `beyondChance: false` there; then ask again.",
    ),
    reason(
        RETRAINED,
        "False",
        "Failed",
        "The training job failed. What serves stays.",
        "The message and the job's log say why; ask again with a new value of the annotation.",
    ),
];
