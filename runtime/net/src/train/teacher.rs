//! A trained network that another one learns from.

use burn::tensor::{Device, Tensor, TensorData};
use meanet_data::scaled;
use snafu::{OptionExt, ResultExt};

use crate::backbone::Backbone;
use crate::card::Block;
use crate::edge::rows;
use crate::input::InputSpec;
use crate::pytorch::import_pytorch;
use crate::resnet::ResNet;
use crate::train::run::{DataSnafu, TrainError, WeightsSnafu};
use crate::weights::{apply, decode, digest, read_card};

/// Depths that a file with `PyTorch` names is tried as.
const DEPTHS: [&str; 5] = ["ResNet20", "ResNet32", "ResNet44", "ResNet56", "ResNet110"];

/// A whole classifier with folded batch norms.
#[derive(Debug)]
pub struct Teacher {
    network: ResNet,
    input: InputSpec,
    digest: String,
    classes: usize,
}

impl Teacher {
    /// From a main block's or a cloud network's blob, or from a CIFAR `ResNet` as safetensors with `PyTorch` names, normalised as
    /// CIFAR-100 is.
    pub fn load(bytes: &[u8], classes: usize, device: &Device) -> Result<Self, TrainError> {
        let theirs = match read_card(bytes) {
            Ok(_) => None,
            Err(_) => Some(imported(bytes, classes)?),
        };
        let (card, tensors) = decode(theirs.as_deref().unwrap_or(bytes)).context(WeightsSnafu)?;
        snafu::ensure!(
            matches!(card.block, Block::Main | Block::Cloud) && card.classes == classes,
            DataSnafu {
                reason: format!(
                    "the teacher is a {:?} block of {} classes; give a main block or cloud network of {classes}",
                    card.block, card.classes
                )
            }
        );
        let mut network = ResNet::new(card.backbone, card.classes, device);
        apply(&mut network, "the teacher", tensors).context(WeightsSnafu)?;
        Ok(Self {
            network: network.fold(),
            input: card.input,
            digest: digest(bytes),
            classes,
        })
    }

    /// Digest of the file it came from.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Classes it tells apart.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Logits `[n, classes]` of values in 0..255, `[n, 3, height, width]`.
    pub(super) fn logits(&self, values: Vec<f32>, device: &Device) -> Tensor<2> {
        let size = [self.input.height, self.input.width];
        let features = self.network.features(self.input.tensor(values, size, device));
        self.network.logits(features)
    }
}

/// What a teacher says of the versions of the images to train on, asked once where epochs share versions.
pub(super) struct Advice<'a> {
    teacher: &'a Teacher,
    /// Logits of each version, `[view][image · classes]`; those not asked for yet are no numbers. Nothing where each epoch has a
    /// version of its own.
    kept: Vec<Vec<f32>>,
}

impl<'a> Advice<'a> {
    /// For so many images in `views` versions.
    pub(super) fn new(teacher: &'a Teacher, images: usize, views: Option<usize>) -> Self {
        Self {
            teacher,
            kept: vec![vec![f32::NAN; images * teacher.classes]; views.unwrap_or_default()],
        }
    }

    /// Logits `[n, classes]` of the images `batch`, of which `values` are the versions `view` in 0..255, `[n, 3, height, width]`.
    pub(super) fn on(
        &mut self,
        values: &[f32],
        size: [usize; 2],
        batch: &[usize],
        view: usize,
        device: &Device,
    ) -> Result<Tensor<2>, TrainError> {
        let ask = || {
            let values = scaled(values.to_vec(), size, self.teacher.input.height);
            self.teacher.logits(values, device)
        };
        let classes = self.teacher.classes;
        let Some(kept) = self.kept.get_mut(view) else {
            return Ok(ask());
        };
        if batch.iter().any(|&image| kept[image * classes].is_nan()) {
            let asked = rows(ask()).map_err(|e| TrainError::Data {
                reason: e.to_string(),
            })?;
            for (&image, row) in batch.iter().zip(asked) {
                kept[image * classes..(image + 1) * classes].copy_from_slice(&row);
            }
        }
        let logits = batch
            .iter()
            .flat_map(|&image| &kept[image * classes..(image + 1) * classes]);
        let data = TensorData::new(logits.copied().collect::<Vec<f32>>(), [batch.len(), classes]);
        Ok(Tensor::from_data(data, device))
    }
}

fn imported(bytes: &[u8], classes: usize) -> Result<Vec<u8>, TrainError> {
    let mut first = None;
    for depth in DEPTHS.iter().filter_map(|name| name.parse::<Backbone>().ok()) {
        match import_pytorch(bytes, depth, classes, InputSpec::cifar100(), Block::Cloud) {
            Ok(blob) => return Ok(blob),
            Err(error) => first = first.or(Some(error)),
        }
    }
    let reason = "no kind of network is known to try the teacher as";
    Err(TrainError::Weights {
        source: first.context(DataSnafu { reason })?,
    })
}
