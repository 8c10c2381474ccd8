//! Logits whose softmax says how often a network is right (temperature scaling, Guo et al. 2017): then thresholds on scores mean the same
//! for any training. A network that learned from a soft teacher is far too unsure without, and a threshold in nats would send everything.

use crate::card::{Block, Card};
use crate::edge::open;
use crate::manifest::ModelBlobs;
use crate::weights::{Tensors, WeightsError, bound, encode};

/// What logits are divided by; 1 leaves them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperatures {
    /// Of the main block.
    pub main: f32,
    /// Of the extension, with the main block's logits added where it adds to these.
    pub extension: f32,
    /// Of the cloud's network.
    pub cloud: f32,
}

impl ModelBlobs {
    /// The same networks with logits divided, by their last layers: no answer changes. The blobs are bound to each other anew.
    pub fn at(&self, temperatures: Temperatures) -> Result<Self, WeightsError> {
        let cooled = |blob: &[u8], block: Block, temperature: f32| -> Result<(Card, Tensors), WeightsError> {
            let (card, mut tensors) = open(blob, block)?;
            divide_logits(&mut tensors, temperature);
            Ok((card, tensors))
        };
        let (card, tensors) = cooled(&self.main, Block::Main, temperatures.main)?;
        let main = encode(&card, &tensors)?;
        let adaptive = open(&self.adaptive, Block::Adaptive)?;
        let mut extension = cooled(&self.extension, Block::Extension, temperatures.extension)?;
        if extension.0.adds_to_main {
            // Of the sum of both is divided what the main block was not divided by already.
            extension.0.main_weight *= temperatures.main / temperatures.extension;
        }
        let [adaptive, extension] = bound(&main, (adaptive.0, &adaptive.1), (extension.0, &extension.1))?;
        let cloud = self
            .cloud
            .as_deref()
            .map(|blob| {
                let (card, tensors) = cooled(blob, Block::Cloud, temperatures.cloud)?;
                encode(&card, &tensors)
            })
            .transpose()?;
        Ok(Self {
            main,
            adaptive,
            extension,
            cloud,
        })
    }
}

/// Divides what the last layer of a block puts out.
pub(crate) fn divide_logits(tensors: &mut Tensors, by: f32) {
    for (_, values) in tensors.iter_mut().filter(|(key, _)| key.starts_with(LAST)) {
        for value in &mut values.data {
            *value /= by;
        }
    }
}

/// What the keys of the layer that puts out logits begin with, in any block that has one.
const LAST: &str = "head.";
