use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Where weights, samples and data sets are kept.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Store {
    /// A claim in the deployment's namespace that the cloud nodes can mount for writing. `ReadWriteOnce` does for one cloud
    /// runtime on one node.
    pub persistent_volume_claim: Claim,
    /// Samples of inputs sent to the cloud that are kept for retraining; the oldest make room. A 32×32 sample takes 3 kB.
    #[serde(default = "default_max_samples")]
    #[schemars(range(min = 100, max = 10_000_000))]
    pub max_samples: i32,
}

fn default_max_samples() -> i32 {
    20_000
}

/// A PersistentVolumeClaim by name.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Name of the claim. It must be there: the operator makes none.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,
}
