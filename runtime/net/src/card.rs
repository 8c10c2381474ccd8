use std::str::FromStr;

use serde::{Deserialize, Serialize};
use snafu::Snafu;

use crate::backbone::Backbone;
use crate::input::InputSpec;
use crate::layout::{Blueprint, Fusion};

/// Part of a network that is shipped as one blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Block {
    /// The edge's whole classifier, frozen once trained.
    Main,
    /// Looks at the raw input again, for the extension.
    Adaptive,
    /// Tells the hard classes apart.
    Extension,
    /// The cloud's whole classifier.
    Cloud,
}

impl Block {
    /// Bytes of a weight of a convolution or linear layer in the block's file. What is rolled out to the edges again and again is
    /// halved; that moves an answer less than another seed would. Vectors (biases, what norms hold) are few and may span more than
    /// 16 bits do: they have four bytes in any block.
    #[must_use]
    pub fn bytes_of_a_weight(self) -> usize {
        match self {
            Self::Adaptive | Self::Extension => 2,
            Self::Main | Self::Cloud => 4,
        }
    }
}

/// How extension and main block meet (Long et al. 2021, §III).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Variant {
    /// Model A: main block and extension share one network between them; the main block's exit is halfway.
    Split,
    /// Model B: the extension follows a whole network.
    #[default]
    Extend,
}

/// What the weights of one block are: written into their file, checked before they are used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Card {
    /// Which part.
    pub block: Block,
    /// Of which network.
    pub backbone: Backbone,
    /// In which arrangement.
    pub variant: Variant,
    /// How main and adaptive features meet, where that matters: in adaptive and extension blocks.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fusion: Fusion,
    /// All classes of the main block, not only the hard ones.
    pub classes: usize,
    /// What the network takes. An adaptive block may say that its edge's input has other colours than the main block's training had; then
    /// both are normalised as it says (see [`crate::Domain`]).
    pub input: InputSpec,
    /// Digest of the main block that an adaptive or extension block was trained against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Digest of the adaptive block that an extension block was trained with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<String>,
    /// Class of each output of an extension block, ascending. Blobs of the first releases call it after the hard classes.
    #[serde(default, alias = "hardClasses", skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Vec<u32>>,
    /// Whether the logits of an extension block are to be added to the main block's for the same classes. Such an extension
    /// begins as good as the main block and learns only what the main block gets wrong, which a short retraining can do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adds_to_main: bool,
    /// What the main block's logits are multiplied by before that: two networks that each say how often they are right are too sure of
    /// what they say together.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub main_weight: f32,
    /// Lowest and highest number that each convolution and linear layer of the block reads, in the order in which they run, on training
    /// images; see [`crate::calibrate`]. Empty where nobody looked: then there is no 8-bit plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<[f32; 2]>,
    /// The same of the main block's layers, where this adaptive block carries another domain than the main block was trained in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub main_ranges: Vec<[f32; 2]>,
}

/// A name that is neither variant nor fusion.
#[derive(Debug, Snafu)]
#[snafu(display("failed to understand {name}: write {one} or {other}"))]
pub struct UnknownChoiceError {
    name: String,
    one: &'static str,
    other: &'static str,
}

impl FromStr for Variant {
    type Err = UnknownChoiceError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        choose(name, [("Split", Self::Split), ("Extend", Self::Extend)])
    }
}

impl FromStr for Fusion {
    type Err = UnknownChoiceError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        choose(name, [("Concat", Self::Concat), ("Sum", Self::Sum)])
    }
}

fn choose<T: Copy>(name: &str, choices: [(&'static str, T); 2]) -> Result<T, UnknownChoiceError> {
    let [(one, _), (other, _)] = choices;
    choices
        .into_iter()
        .find(|(choice, _)| *choice == name)
        .map(|(_, value)| value)
        .ok_or_else(|| UnknownChoiceError {
            name: name.to_owned(),
            one,
            other,
        })
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn one() -> f32 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_one(weight: &f32) -> bool {
    weight.to_bits() == 1.0_f32.to_bits()
}

impl Card {
    /// The card of a whole classifier: a main block, or the cloud's network.
    pub(crate) fn whole(block: Block, backbone: Backbone, classes: usize, input: InputSpec) -> Self {
        Self {
            block,
            backbone,
            variant: Variant::Extend,
            fusion: Fusion::Concat,
            classes,
            input,
            base: None,
            adaptive: None,
            outputs: None,
            adds_to_main: false,
            main_weight: 1.0,
            ranges: Vec::new(),
            main_ranges: Vec::new(),
        }
    }

    /// What the main block's logits are multiplied by before those of an extension are added; none: the extension answers from scratch.
    pub(crate) fn added_weight(&self) -> Option<f32> {
        self.adds_to_main.then_some(self.main_weight)
    }

    /// The MEANet that the block is of.
    #[must_use]
    pub fn blueprint(&self) -> Blueprint {
        Blueprint {
            backbone: self.backbone,
            variant: self.variant,
            fusion: self.fusion,
        }
    }
}
