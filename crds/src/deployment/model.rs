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
    /// What edges compute in. Edited live, with no download: edges take turns, as for new weights, and plan the blobs they have anew.
    #[serde(default, skip_serializing_if = "Precision::is_default")]
    pub precision: Precision,
}

impl Model {
    /// Whether both begin with the same weights of the same network, in whatever precision.
    #[must_use]
    pub fn begins_as(&self, other: &Self) -> bool {
        let Self {
            backbone,
            variant,
            classes,
            weights,
            precision: _,
        } = self;
        (backbone, variant, classes, weights)
            == (&other.backbone, &other.variant, &other.classes, &other.weights)
    }
}

/// What edges compute in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    Float32,
    /// Integers of 8 bits in most convolutions, which is faster for some networks and costs a little accuracy: `meanet eval --precision int8` tells how much of both. Only for
    /// models that say which numbers their layers read, as `meanet train package` and `meanet train calibrate` make them; an
    /// edge refuses others and serves on with what it has.
    Int8,
}

impl Precision {
    /// Whether it is what a model without a word on it has. Names of revisions leave it out then, and stay what they were.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
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

macro_rules! backbones {
    ($($(#[$words:meta])+ $variant:ident = $name:literal,)+) => {
        /// A network for the main block. `meanet describe` tells what each costs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        #[allow(non_camel_case_types)] // A dot in a name is an underscore here.
        pub enum Backbone {
            $($(#[$words])+ #[serde(rename = $name)] $variant,)+
        }

        impl Backbone {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name as users write it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

backbones! {
    /// 20 layers for images of some 32 pixels a side: 0.28M parameters, 40.8M multiply-accumulates at 32×32.
    ResNet20 = "ResNet20",
    /// The same, twice as wide.
    ResNet20x2 = "ResNet20x2",
    /// The same, three times as wide.
    ResNet20x3 = "ResNet20x3",
    /// The same, four times as wide.
    ResNet20x4 = "ResNet20x4",
    /// 32 layers: 0.47M parameters, 69.1M multiply-accumulates at 32×32.
    ResNet32 = "ResNet32",
    /// The same, twice as wide.
    ResNet32x2 = "ResNet32x2",
    /// The same, three times as wide.
    ResNet32x3 = "ResNet32x3",
    /// The same, four times as wide.
    ResNet32x4 = "ResNet32x4",
    /// 44 layers: 0.67M parameters.
    ResNet44 = "ResNet44",
    /// The same, twice as wide.
    ResNet44x2 = "ResNet44x2",
    /// The same, three times as wide.
    ResNet44x3 = "ResNet44x3",
    /// The same, four times as wide.
    ResNet44x4 = "ResNet44x4",
    /// 56 layers: 0.86M parameters, 125.8M multiply-accumulates at 32×32.
    ResNet56 = "ResNet56",
    /// The same, twice as wide.
    ResNet56x2 = "ResNet56x2",
    /// The same, three times as wide.
    ResNet56x3 = "ResNet56x3",
    /// The same, four times as wide.
    ResNet56x4 = "ResNet56x4",
    /// 110 layers: 1.7M parameters.
    ResNet110 = "ResNet110",
    /// The same, twice as wide.
    ResNet110x2 = "ResNet110x2",
    /// The same, three times as wide.
    ResNet110x3 = "ResNet110x3",
    /// The same, four times as wide.
    ResNet110x4 = "ResNet110x4",
    /// 18 layers as of torchvision, for images of some 224 pixels a side.
    ResNet18 = "ResNet18",
    /// The same for images of some 32 pixels a side.
    ResNet18Cifar = "ResNet18Cifar",
    /// 34 layers as of torchvision, for images of some 224 pixels a side.
    ResNet34 = "ResNet34",
    /// The same for images of some 32 pixels a side.
    ResNet34Cifar = "ResNet34Cifar",
    /// 101 layers as of torchvision, for images of some 224 pixels a side.
    ResNet101 = "ResNet101",
    /// The same for images of some 32 pixels a side.
    ResNet101Cifar = "ResNet101Cifar",
    /// `MobileNetV2` as of torchvision, for images of some 224 pixels a side.
    MobileNetV2 = "MobileNetV2",
    /// The same for images of some 32 pixels a side.
    MobileNetV2Cifar = "MobileNetV2Cifar",
    /// A quarter as wide.
    MobileNetV2x0_25 = "MobileNetV2x0.25",
    /// The same for images of some 32 pixels a side.
    MobileNetV2x0_25Cifar = "MobileNetV2x0.25Cifar",
    /// Half as wide.
    MobileNetV2x0_5 = "MobileNetV2x0.5",
    /// The same for images of some 32 pixels a side.
    MobileNetV2x0_5Cifar = "MobileNetV2x0.5Cifar",
    /// Three quarters as wide.
    MobileNetV2x0_75 = "MobileNetV2x0.75",
    /// The same for images of some 32 pixels a side.
    MobileNetV2x0_75Cifar = "MobileNetV2x0.75Cifar",
    /// 1.4 times as wide.
    MobileNetV2x1_4 = "MobileNetV2x1.4",
    /// The same for images of some 32 pixels a side.
    MobileNetV2x1_4Cifar = "MobileNetV2x1.4Cifar",
    /// OSI-AI's entry to the `MicroNet` challenge of 2019, for images of some 32 pixels a side: 0.48M parameters.
    MicroNet = "MicroNet",
}

/// How the extension is attached (Long et al. 2021, §III).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Variant {
    /// Model A: main block and extension share one network between them; the main block's exit is halfway.
    Split,
    /// Model B: the main block is a whole network, the extension takes its last features.
    #[default]
    Extend,
}

impl Variant {
    /// The name as users write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Split => "Split",
            Self::Extend => "Extend",
        }
    }
}
