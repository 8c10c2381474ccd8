//! The network of an edge, ready to answer.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu, ensure};

use crate::batch::{ImageBatch, ImageError};
use crate::card::{Block, Card};
use crate::extend::{Adaptive, Extension};
use crate::input::InputSpec;
use crate::resnet::ResNet;
use crate::weights::{
    BaseSnafu, MetadataSnafu, WarmUpSnafu, WeightsError, apply, decode, digest, tensors_of,
};

/// The blobs of one edge network.
#[derive(Clone, Copy, Debug)]
pub struct EdgeBlobs<'a> {
    /// Main block.
    pub main: &'a [u8],
    /// Adaptive block.
    pub adaptive: &'a [u8],
    /// Extension block.
    pub extension: &'a [u8],
}

/// Why images got no answer.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum InferError {
    /// The images do not fit.
    #[snafu(display("{source}"))]
    Image {
        /// Why.
        source: ImageError,
    },
    /// The rows asked for were not part of the pass.
    #[snafu(display("failed to extend row {row}: the pass has {rows} rows"))]
    Row {
        /// The row.
        row: usize,
        /// Rows of the pass.
        rows: usize,
    },
    /// The tensor library gave something unexpected.
    #[snafu(display("failed to run the network: {reason}"))]
    Run {
        /// What.
        reason: String,
    },
}

/// Main, adaptive and extension block with their batch norms folded. Runs on the calling thread's CPU.
pub struct EdgeNetwork {
    card: Card,
    outputs: Vec<u32>,
    adds_to_main: bool,
    main: ResNet,
    adaptive: Adaptive,
    extension: Extension,
    cost: EdgeCost,
    device: Device,
}

/// What the main block found, kept for the extension.
pub struct MainPass {
    /// Before softmax, `[n][classes]`.
    pub logits: Vec<Vec<f32>>,
    features: Tensor<4>,
}

/// Parameters and multiply-accumulates of one block, for one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Trained values; running statistics of batch norms are not counted.
    pub parameters: usize,
    /// Multiply-accumulates of convolutions and linear layers.
    pub macs: usize,
}

/// Costs of the blocks of an edge network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeCost {
    /// Paid by each image.
    pub main: Cost,
    /// Paid where the extension runs.
    pub adaptive: Cost,
    /// Paid where the extension runs.
    pub extension: Cost,
}

impl EdgeNetwork {
    /// Checks that the blobs are what they should be and belong together, loads them and tries them once.
    pub fn load(blobs: EdgeBlobs<'_>) -> Result<Self, WeightsError> {
        let device = Device::flex();
        let (card, main_tensors) = open(blobs.main, Block::Main)?;
        let (adaptive_card, adaptive_tensors) = open(blobs.adaptive, Block::Adaptive)?;
        let (extension_card, extension_tensors) = open(blobs.extension, Block::Extension)?;
        let base = digest(blobs.main);
        for other in [&adaptive_card, &extension_card] {
            ensure!(
                other.base.as_deref() == Some(&base),
                BaseSnafu {
                    reason: format!(
                        "{:?} block was trained on the features of main block {}, not of {base}; retrain it on this one",
                        other.block,
                        other.base.as_deref().unwrap_or("(none)")
                    )
                }
            );
        }
        let with = digest(blobs.adaptive);
        ensure!(
            extension_card.adaptive.as_deref() == Some(&with),
            BaseSnafu {
                reason: format!(
                    "the extension block was not trained with adaptive block {with}; use blocks of one run"
                )
            }
        );
        let outputs = outputs(&extension_card)?;
        let mut main = ResNet::new(card.backbone, card.classes, &device);
        apply(&mut main, &format!("{} main block", card.backbone), main_tensors)?;
        let mut adaptive = Adaptive::new(card.backbone, &device);
        apply(
            &mut adaptive,
            &format!("{} adaptive block", card.backbone),
            adaptive_tensors,
        )?;
        let mut extension = Extension::new(card.backbone, outputs.len(), &device);
        apply(
            &mut extension,
            &format!("{} extension block", card.backbone),
            extension_tensors,
        )?;
        let side = card.input.height;
        let cost = EdgeCost {
            main: Cost {
                parameters: main.num_params() - statistics(&main),
                macs: main.macs(side),
            },
            adaptive: Cost {
                parameters: adaptive.num_params() - statistics(&adaptive),
                macs: adaptive.macs(side),
            },
            extension: Cost {
                parameters: extension.num_params() - statistics(&extension),
                macs: extension.macs(side / 4),
            },
        };
        let network = Self {
            card,
            outputs,
            adds_to_main: extension_card.adds_to_main,
            main: main.fold(),
            adaptive: adaptive.fold(),
            extension: extension.fold(),
            cost,
            device,
        };
        network.warm_up()?;
        Ok(network)
    }

    /// What it takes.
    #[must_use]
    pub fn input(&self) -> &InputSpec {
        &self.card.input
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.card.classes
    }

    /// Class of each output of the extension, ascending.
    #[must_use]
    pub fn outputs(&self) -> &[u32] {
        &self.outputs
    }

    /// What the main block is.
    #[must_use]
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Parameters and multiply-accumulates.
    #[must_use]
    pub fn cost(&self) -> EdgeCost {
        self.cost
    }

    /// Runs the main block.
    pub fn main(&self, images: &ImageBatch) -> Result<MainPass, InferError> {
        let features = self.main.features(
            images
                .tensor(&self.card.input, &self.device)
                .context(ImageSnafu)?,
        );
        let logits = rows(self.main.logits(features.clone()))?;
        Ok(MainPass { logits, features })
    }

    /// Runs adaptive and extension block on the `chosen` rows of a pass; `images` are those of the pass. Logits over the
    /// classes of [`Self::outputs`], `[chosen][outputs]`.
    pub fn extension(
        &self,
        pass: &MainPass,
        images: &ImageBatch,
        chosen: &[usize],
    ) -> Result<Vec<Vec<f32>>, InferError> {
        let count = pass.logits.len().min(images.len());
        if let Some(&row) = chosen.iter().find(|&&row| row >= count) {
            return RowSnafu { row, rows: count }.fail();
        }
        if chosen.is_empty() {
            return Ok(Vec::new());
        }
        let all = chosen.len() == count && chosen.iter().enumerate().all(|(i, &row)| i == row);
        let (images, features) = if all {
            (
                images
                    .tensor(&self.card.input, &self.device)
                    .context(ImageSnafu)?,
                pass.features.clone(),
            )
        } else {
            let indices: Vec<i64> = chosen
                .iter()
                .map(|&row| i64::try_from(row).unwrap_or(i64::MAX))
                .collect();
            let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [chosen.len()]), &self.device);
            let images = images
                .select(chosen)
                .tensor(&self.card.input, &self.device)
                .context(ImageSnafu)?;
            (images, pass.features.clone().select(0, indices))
        };
        let mut logits = rows(self.extension.forward(features, self.adaptive.forward(images)))?;
        if self.adds_to_main {
            for (row, logits) in chosen.iter().zip(&mut logits) {
                for (class, logit) in self.outputs.iter().zip(logits) {
                    *logit += pass.logits[*row].get(*class as usize).copied().unwrap_or(0.0);
                }
            }
        }
        Ok(logits)
    }

    fn warm_up(&self) -> Result<(), WeightsError> {
        let InputSpec { height, width, .. } = self.card.input;
        let fail = |reason: String| WeightsError::WarmUp { reason };
        let images = ImageBatch::from_bytes(height, width, vec![127; 3 * height * width])
            .map_err(|e| fail(e.to_string()))?;
        let pass = self.main(&images).map_err(|e| fail(e.to_string()))?;
        let extended = self
            .extension(&pass, &images, &[0])
            .map_err(|e| fail(e.to_string()))?;
        ensure!(
            pass.logits
                .iter()
                .chain(&extended)
                .flatten()
                .all(|v| v.is_finite()),
            WarmUpSnafu {
                reason: "a grey image gave logits that are not finite"
            }
        );
        Ok(())
    }
}

/// The card and tensors of a blob that has to be `block`.
pub(crate) fn open(bytes: &[u8], block: Block) -> Result<(Card, crate::weights::Tensors), WeightsError> {
    let (card, tensors) = decode(bytes)?;
    ensure!(
        card.block == block,
        MetadataSnafu {
            reason: format!(
                "the blob is a {:?} block where a {block:?} block belongs",
                card.block
            )
        }
    );
    ensure!(
        (1..=100_000).contains(&card.classes),
        MetadataSnafu {
            reason: format!("it says {} classes; 1 to 100000 are possible", card.classes)
        }
    );
    let InputSpec { height, width, .. } = card.input;
    ensure!(
        height == width && (4..=1024).contains(&height) && height.is_multiple_of(4),
        MetadataSnafu {
            reason: format!(
                "it says images of {height}×{width}; squares of 4 to 1024, divisible by 4, are possible"
            )
        }
    );
    ensure!(
        card.input.std.iter().all(|s| s.is_finite() && *s > 0.0)
            && card.input.mean.iter().all(|m| m.is_finite()),
        MetadataSnafu {
            reason: "its normalisation has a standard deviation that is not positive"
        }
    );
    Ok((card, tensors))
}

pub(crate) fn outputs(card: &Card) -> Result<Vec<u32>, WeightsError> {
    let outputs = card.outputs.clone().unwrap_or_default();
    ensure!(
        !outputs.is_empty(),
        MetadataSnafu {
            reason: "the extension block does not name the classes of its outputs"
        }
    );
    ensure!(
        outputs.is_sorted_by(|a, b| a < b) && outputs.iter().all(|&c| (c as usize) < card.classes),
        MetadataSnafu {
            reason: format!(
                "the classes of its outputs are not ascending and below {}",
                card.classes
            )
        }
    );
    Ok(outputs)
}

/// Values that batch norms keep but do not train.
pub(crate) fn statistics<M: burn::store::ModuleSnapshot>(module: &M) -> usize {
    tensors_of(module).map_or(0, |tensors| {
        tensors
            .iter()
            .filter(|(key, _)| key.contains(".running_"))
            .map(|(_, values)| values.data.len())
            .sum()
    })
}

/// `[n, c]` → n rows of c values.
pub(crate) fn rows(tensor: Tensor<2>) -> Result<Vec<Vec<f32>>, InferError> {
    let [_, columns] = tensor.dims();
    let values = tensor
        .into_data()
        .try_to_vec::<f32>()
        .map_err(|e| InferError::Run {
            reason: format!("{e:?}"),
        })?;
    Ok(values.chunks_exact(columns.max(1)).map(<[f32]>::to_vec).collect())
}
