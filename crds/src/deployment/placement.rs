use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;
use crate::naming::LABEL_TIER;

pub use k8s_openapi::api::core::v1::Toleration;

fn tier(value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(LABEL_TIER.to_owned(), value.to_owned())])
}

fn edge_tier() -> BTreeMap<String, String> {
    tier("edge")
}

/// Where and how the edge runtimes run: one on every node selected.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// Labels that a node must have, all of them, to get an edge runtime and a `MEANetNode`.
    #[serde(default = "edge_tier")]
    #[schemars(extend("minProperties" = 1))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the edge runtimes accept, besides those of a node that is not ready or out of reach: these they always do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Resources of each edge runtime. Absent: requests of 100m CPU and 96Mi memory, a limit of 512Mi memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Threads, which serve and compute. Absent: as many as the CPUs that the pod may use. Images beyond 64 a thread that wait are
    /// refused with status 429.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub compute_threads: Option<i32>,
    /// Keeps each of these threads on one of the CPUs that the pod may use. Only for pods that have their CPUs to themselves: whole CPUs
    /// as requests and limits alike, on nodes whose kubelet has `cpuManagerPolicy: static`. Elsewhere pods would share a CPU while others idle.
    #[serde(default)]
    pub pin_threads: bool,
    /// Image of the edge runtimes. Absent: `spec.image`, or else the one that the operator was installed with, `--edge-image`. Another
    /// image restarts the edges, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
}

impl Default for Edge {
    fn default() -> Self {
        Self {
            node_selector: edge_tier(),
            tolerations: Vec::new(),
            resources: None,
            compute_threads: None,
            pin_threads: false,
            image: None,
        }
    }
}

/// Where and how the cloud runtimes run, or who stands in for them.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.endpoint) || !(has(self.accelerator) || has(self.replicas) || has(self.batching))", "cloud.endpoint stands in for the cloud runtimes: leave out accelerator, replicas and batching"))]
#[x_kube(validation = ("!has(self.endpointAuthorities) || (has(self.endpoint) && self.endpoint.startsWith('https://'))", "cloud.endpointAuthorities is about the certificate of an https:// cloud.endpoint: leave it out, or name such an endpoint"))]
pub struct Cloud {
    /// Labels that a node must have, all of them, to take cloud runtimes and jobs. Absent: `meanet.dev/tier: cloud`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1))]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Taints that the cloud runtimes and jobs accept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// The accelerator that each cloud runtime takes, so that the scheduler finds the right node. Absent: one
    /// `nvidia.com/gpu`. Not together with `endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<Accelerator>,
    /// How many cloud runtimes there are. Absent: one. With more, the store's claim must be one that all their nodes can
    /// mount. Not together with `endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
    /// How requests are gathered into batches. Absent: up to 32 images, for at most 2ms. Not together with `endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batching: Option<Batching>,
    /// Resources of each cloud runtime, besides the accelerator. Absent: requests of 200m CPU and 192Mi memory, a limit of
    /// 2Gi memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// URL of the model on any Open Inference Protocol v2 server that answers instead of our own cloud runtime, for example
    /// `http://server:8000/v2/models/resnet`. It gets the tensor `image`, UINT8 `[n, 3, height, width]`, and must answer with
    /// logits of shape `[n, classes]`. One cloud pod stays to serve the store; what goes elsewhere is not collected for
    /// retraining. With `https://`, its certificate must be for the host of the URL and come from an authority that browsers
    /// trust or one of `endpointAuthorities`. Absent: our own cloud runtimes answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("isURL(self) && (self.startsWith('http://') || self.startsWith('https://'))", "endpoint must be an http:// or https:// URL of a model, such as http://server:8000/v2/models/resnet"))]
    #[schemars(length(max = 1024))]
    pub endpoint: Option<String>,
    /// Authorities that edges trust besides those that browsers trust, for an `https://` endpoint with a certificate of your
    /// own. Edge pods mount it, and read a changed one when they start anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_authorities: Option<Authorities>,
}

/// Certificates of authorities, in PEM.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorities {
    /// A `ConfigMap` in the deployment's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub config_map_name: String,
    /// The key in it.
    #[serde(default = "default_authorities_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

fn default_authorities_key() -> String {
    "ca.crt".to_owned()
}

impl Cloud {
    /// Labels of the cloud's nodes, with the default applied.
    #[must_use]
    pub fn node_selector(&self) -> BTreeMap<String, String> {
        self.node_selector.clone().unwrap_or_else(|| tier("cloud"))
    }
}

/// An extended resource that a pod takes.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accelerator {
    /// Name of the extended resource, as the device plugin calls it.
    #[serde(default = "default_accelerator")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = ("self.contains('/')", "resource must be an extended resource such as nvidia.com/gpu"))]
    pub resource: String,
    /// How many a pod takes; 0 takes none.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 64))]
    pub count: i32,
}

fn default_accelerator() -> String {
    "nvidia.com/gpu".to_owned()
}

fn one() -> i32 {
    1
}

impl Default for Accelerator {
    fn default() -> Self {
        Self {
            resource: default_accelerator(),
            count: 1,
        }
    }
}

/// How many cloud runtimes there are.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.max) || self.max >= self.min", "replicas.max must not be below replicas.min"))]
pub struct Replicas {
    /// Cloud runtimes at least.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub min: i32,
    /// Cloud runtimes at most. Above `min`, a HorizontalPodAutoscaler chooses between them, aiming at 70 % of the CPU request;
    /// it needs a metrics server. Absent: always `min`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max: Option<i32>,
}

impl Default for Replicas {
    fn default() -> Self {
        Self { min: 1, max: None }
    }
}

/// How the cloud runtime gathers requests into batches.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Batching {
    /// Images in a batch at most.
    #[serde(default = "default_max_size")]
    #[schemars(range(min = 1, max = 1024))]
    pub max_size: i32,
    /// How long the first image of a batch waits at most for as many others as the last batch had; who asks alone waits for nobody. It
    /// may add to an answer of the cloud, so stay well below `routing.cloudTimeout`.
    #[serde(default = "default_max_delay")]
    #[x_kube(validation = ("duration(self) <= duration('1s')", "batching.maxDelay must be at most 1s"))]
    pub max_delay: Duration,
}

fn default_max_size() -> i32 {
    32
}

fn default_max_delay() -> Duration {
    Duration::from_millis(2)
}

impl Default for Batching {
    fn default() -> Self {
        Self {
            max_size: default_max_size(),
            max_delay: default_max_delay(),
        }
    }
}
