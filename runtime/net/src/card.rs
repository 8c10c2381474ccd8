use serde::{Deserialize, Serialize};

use crate::backbone::Backbone;
use crate::input::InputSpec;

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

/// How extension and main block meet (Long et al. 2021, §III).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Variant {
    /// The extension follows a whole network.
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
    /// All classes of the main block, not only the hard ones.
    pub classes: usize,
    /// What the network takes.
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
}
