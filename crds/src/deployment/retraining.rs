use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::placement::Accelerator;
use crate::Duration;

/// How adaptive and extension blocks are retrained. A run is asked for with the annotation
/// `meanet.dev/retrain-requested-at`; it trains on the hard samples in the store and on `dataset`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retraining {
    /// Labelled images to train on besides the collected samples. Absent: the samples alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<Dataset>,
    /// What a new revision must reach before it is rolled out.
    #[serde(default)]
    pub gate: Gate,
    /// The training job.
    #[serde(default)]
    pub job: TrainingJob,
}

/// Labelled images in the store: the official CIFAR-100 binary archive, a file of CIFAR records, or a folder with one
/// folder of PNG or JPEG files a class.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dataset {
    /// Path below `datasets/` in the store's claim, of a file or folder. `meanet data put` in a cloud pod brings a file there.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = ("!self.startsWith('/') && !self.split('/').exists(part, part == '..')", "dataset.path must be relative and must not climb with '..'"))]
    pub path: String,
}

/// What a new revision must reach before it is rolled out.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Least gain in accuracy over the revision in service, both measured on the same held-out images with nothing sent to
    /// the cloud, as a share: 0.01 is one point. -1 lets everything pass.
    #[serde(default)]
    #[schemars(range(min = -1, max = 1))]
    pub min_accuracy_gain: f64,
    /// Whether that gain must be there beyond chance: then the lower end of its 95 % interval has to reach `minAccuracyGain`. On 400
    /// held-out images the interval reaches 3 to 6 points down. False: the gain as it was counted.
    #[serde(default = "default_beyond_chance")]
    pub beyond_chance: bool,
}

fn default_beyond_chance() -> bool {
    true
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            min_accuracy_gain: 0.0,
            beyond_chance: default_beyond_chance(),
        }
    }
}

/// The training job.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainingJob {
    /// Passes over the images.
    #[serde(default = "default_epochs")]
    #[schemars(range(min = 1, max = 1000))]
    pub epochs: i32,
    /// Images a step.
    #[serde(default = "default_batch_size")]
    #[schemars(range(min = 1, max = 4096))]
    pub batch_size: i32,
    /// Peak learning rate; it climbs during the first fifth of the run and then falls. Absent: 0.0007 where the blocks in service are trained
    /// on; 0.05 where training begins anew, as their extension has an output for some of the classes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000_001, max = 10))]
    // A minimum below one does not hold back the integer 0: the API server compares integers as integers.
    #[x_kube(validation = ("self >= 0.000001", "job.learningRate must be at least 0.000001"))]
    pub learning_rate: Option<f64>,
    /// Images used at most: those that people labelled (feedback and data set) first, then the newest that the cloud
    /// labelled.
    #[serde(default = "default_max_samples")]
    #[schemars(range(min = 10, max = 10_000_000))]
    pub max_samples: i32,
    /// Seed of everything random: the same images and the same seed give the same split.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub seed: i64,
    /// How long a run may take, waiting for a node included. After that it is `Failed`; ask again with more time.
    #[serde(default = "default_timeout")]
    #[x_kube(validation = ("duration(self) >= duration('10s')", "job.timeout must be at least 10s"))]
    pub timeout: Duration,
    /// The accelerator that the job takes. Absent: none; it runs on a cloud node all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<Accelerator>,
    /// Resources of the job, besides the accelerator. Absent: requests of 500m CPU and 512Mi memory, a limit of 4Gi memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}

fn default_epochs() -> i32 {
    5
}

fn default_batch_size() -> i32 {
    64
}

fn default_max_samples() -> i32 {
    10_000
}

fn default_timeout() -> Duration {
    Duration::from_millis(7_200_000)
}

impl Default for TrainingJob {
    fn default() -> Self {
        Self {
            epochs: default_epochs(),
            batch_size: default_batch_size(),
            learning_rate: None,
            max_samples: default_max_samples(),
            seed: 0,
            timeout: default_timeout(),
            accelerator: None,
            resources: None,
        }
    }
}
