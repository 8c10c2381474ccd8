use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The network and the weights to begin with. Weights that do not fit what is declared here are refused.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Model {
    /// Network of the main block. Must be the one that the weights were trained with, or the import fails and says so.
    pub backbone: Backbone,
    /// How the extension is attached. Must be what the weights were trained with.
    #[serde(default)]
    pub variant: Variant,
    /// Number of classes that the main block tells apart. Must be what the weights were trained with.
    #[schemars(range(min = 2, max = 10000))]
    pub classes: i32,
    /// Weights to begin with. Retraining adds to them; another digest begins anew.
    pub weights: ModelWeights,
}

/// Weights, by digest.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelWeights {
    /// `sha256:` and the digest of the model's manifest, a file that names the blobs of all blocks. `meanet train package`
    /// prints it, `sha256sum manifest.json` as well. The import job looks for it in the store, then in the runtime's image.
    #[x_kube(validation = ("self.matches('^sha256:[0-9a-f]{64}$')", "digest must be 'sha256:' and 64 lowercase hex digits: `sha256sum manifest.json` prints them"))]
    #[schemars(length(max = 71))]
    pub digest: String,
}

/// A network for the main block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Backbone {
    /// 20 layers, 0.28M parameters, 40.8M multiply-accumulates at 32×32.
    ResNet20,
    /// 32 layers, 0.47M parameters, 69.1M multiply-accumulates at 32×32.
    ResNet32,
    /// 44 layers, 0.67M parameters.
    ResNet44,
    /// 56 layers, 0.86M parameters, 125.8M multiply-accumulates at 32×32.
    ResNet56,
}

impl Backbone {
    /// The name as users write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ResNet20 => "ResNet20",
            Self::ResNet32 => "ResNet32",
            Self::ResNet44 => "ResNet44",
            Self::ResNet56 => "ResNet56",
        }
    }
}

/// How the extension is attached (Long et al. 2021, §III).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Variant {
    /// Model B: the main block is a whole network, the extension takes its last features.
    #[default]
    Extend,
}
