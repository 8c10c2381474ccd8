use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// When an input leaves by which exit.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.score == 'Entropy' || (self.offloadAbove <= 1.0 && (!has(self.extendAbove) || self.extendAbove <= 1.0) && (self.score == 'Learned' || !has(self.extensionOffloadAbove) || self.extensionOffloadAbove <= 1.0))", "offloadAbove, extendAbove and extensionOffloadAbove must be in 0..1 for the scores LeastConfidence and Margin, the first two also for Learned; only Entropy, in nats, goes higher"))]
#[x_kube(validation = ("self.score != 'Learned' || has(self.learned)", "score Learned needs weights: set learned to what `meanet choose --score learned` prints"))]
pub struct Routing {
    /// How it is measured how unsure an exit is of an input; larger means less sure. All thresholds are in its unit.
    #[serde(default)]
    pub score: Score,
    /// Weights of the score `Learned`; `meanet choose --score learned` fits them to an evaluation. Other scores leave them alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<LearnedScore>,
    /// Inputs whose score at the main exit is above this go to the cloud. In nats for `Entropy` (0 to ln(classes), 4.6 for 100
    /// classes), else 0 to 1. 0 sends nearly everything, a value above the range nothing; lower means more traffic.
    #[serde(default = "default_offload_above")]
    #[schemars(range(min = 0, max = 20))]
    pub offload_above: f64,
    /// The main exit's score above which an input of a hard class goes to the extension, in the unit of `score`; at or below it the
    /// main exit answers at once. Where this is not below `offloadAbove`, the extension only stands in for the cloud. Absent: the
    /// extension is asked about every input of a hard class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub extend_above: Option<f64>,
    /// The extension's own score above which an input goes on to the cloud, in the unit of `score`, or in nats where that is `Learned`.
    /// Absent: the extension's answer is final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub extension_offload_above: Option<f64>,
    /// Whose answer counts when the extension was asked: it is for inputs that the main exit takes for a hard class.
    #[serde(default)]
    pub extension_rule: ExtensionRule,
    /// How long an answer waits for the cloud at most, connection and batching included; then `whenCloudUnavailable` decides.
    /// After 5 failures in a row an edge leaves the cloud alone for a second.
    #[serde(default = "default_cloud_timeout")]
    #[x_kube(validation = ("duration(self) >= duration('1ms') && duration(self) <= duration('60s')", "cloudTimeout must be between 1ms and 60s"))]
    pub cloud_timeout: Duration,
    /// What an input gets that should go to the cloud when the cloud does not answer in time.
    #[serde(default)]
    pub when_cloud_unavailable: WhenCloudUnavailable,
}

fn default_offload_above() -> f64 {
    0.9
}

fn default_cloud_timeout() -> Duration {
    Duration::from_millis(150)
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            score: Score::default(),
            learned: None,
            offload_above: default_offload_above(),
            extend_above: None,
            extension_offload_above: None,
            extension_rule: ExtensionRule::default(),
            cloud_timeout: default_cloud_timeout(),
            when_cloud_unavailable: WhenCloudUnavailable::default(),
        }
    }
}

/// How unsure an exit is, from its softmax `p`; larger means less sure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Score {
    /// `-Σ p ln p` in nats, 0..ln(classes).
    #[default]
    Entropy,
    /// `1 - max p`, 0..1.
    LeastConfidence,
    /// `1 - (p₁ - p₂)` of the two largest, 0..1.
    Margin,
    /// At the main exit the probability, 0..1, that the cloud would be right and the edge wrong, by the weights of `learned`: it tells an
    /// input that the cloud can mend from one that nobody can. At the extension, which the weights know nothing of, `Entropy`.
    Learned,
}

/// A logistic regression on the main exit's softmax.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.weights.all(w, w >= -1000000.0 && w <= 1000000.0)", "weights must be in -1000000..1000000"))]
pub struct LearnedScore {
    /// What each of these counts: the ten largest probabilities, descending (0 where there are fewer classes), the entropy as a share of
    /// ln(classes), and the margin as the score `Margin` has it.
    pub weights: [f64; 12],
    /// What is added to their sum, before the logistic function.
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub bias: f64,
}

/// Whose answer counts when the extension was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ExtensionRule {
    /// The extension's.
    #[default]
    Extension,
    /// The more confident one of main exit and extension.
    MoreConfident,
}

/// What an input gets that should go to the cloud when the cloud does not answer in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WhenCloudUnavailable {
    /// The edge's own answer, marked `degraded`.
    #[default]
    AnswerLocally,
    /// Status 503.
    Fail,
}
