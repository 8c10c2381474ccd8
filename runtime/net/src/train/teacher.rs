//! A trained network that another one learns from.

use std::fmt;

use burn::tensor::{Device, Tensor, TensorData};
use meanet_data::scaled;
use meanet_engine::Images;
use snafu::{OptionExt, ResultExt, ensure};

use crate::answerer::Answerer;
use crate::backend::Processor;
use crate::card::Block;
use crate::edge::open_classifier;
use crate::input::InputSpec;
use crate::lower::Compute;
use crate::pytorch::StateDict;
use crate::train::frozen::{classifier, name};
use crate::train::run::{DataSnafu, TrainError, WeightsSnafu};
use crate::weights::{WeightsError, digest, read_card};

/// A whole classifier, ready to answer.
pub struct Teacher {
    network: Answerer,
    input: InputSpec,
    digest: String,
    classes: usize,
}

impl fmt::Debug for Teacher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teacher")
            .field("digest", &self.digest)
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}

impl Teacher {
    /// From a main block's or a cloud network's blob, or from safetensors with `PyTorch` names, normalised as CIFAR-100 is. It
    /// answers on the processor's GPU where there is one, else by the engine.
    pub fn load(bytes: &[u8], classes: usize, processor: &Processor) -> Result<Self, TrainError> {
        let theirs = match read_card(bytes) {
            Ok(_) => None,
            Err(_) => Some(imported(bytes, classes)?),
        };
        let (card, tensors) = open_classifier(theirs.as_deref().unwrap_or(bytes)).context(WeightsSnafu)?;
        ensure!(
            card.classes == classes,
            DataSnafu {
                reason: format!(
                    "the teacher tells {} classes apart; give a main block or cloud network of {classes}",
                    card.classes
                )
            }
        );
        let network = classifier(&card, tensors, &Device::flex())?;
        let processor = processor.gpu().map_or(Processor::Engine, Processor::Burn);
        let network = Answerer::new(name(&card), &card.input, network, &processor, Compute::default());
        Ok(Self {
            network: network.map_err(WeightsError::from).context(WeightsSnafu)?,
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

    /// Logits, `[n][classes]`, of values in 0..255, `[n, 3, height, width]`.
    pub(super) fn logits(&self, values: &[f32]) -> Result<Vec<Vec<f32>>, TrainError> {
        let logits = self.network.logits(Images::Floats(values));
        logits.map_err(|e| TrainError::Data {
            reason: e.to_string(),
        })
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
            self.teacher.logits(&values)
        };
        let classes = self.teacher.classes;
        let logits: Vec<f32> = match self.kept.get_mut(view) {
            None => ask()?.concat(),
            Some(kept) => {
                if batch.iter().any(|&image| kept[image * classes].is_nan()) {
                    for (&image, row) in batch.iter().zip(ask()?) {
                        kept[image * classes..(image + 1) * classes].copy_from_slice(&row);
                    }
                }
                let rows = batch.iter();
                rows.flat_map(|&image| &kept[image * classes..(image + 1) * classes])
                    .copied()
                    .collect()
            }
        };
        let data = TensorData::new(logits, [batch.len(), classes]);
        Ok(Tensor::from_data(data, device))
    }
}

fn imported(bytes: &[u8], classes: usize) -> Result<Vec<u8>, TrainError> {
    let state = StateDict::parse(bytes).context(WeightsSnafu)?;
    let input = InputSpec::cifar100();
    let backbone = state.recognise(&input).context(DataSnafu {
        reason: "the teacher is no weights of this project and no network that it knows; bring it in with `meanet train import-pytorch`",
    })?;
    state
        .blob(backbone, classes, input, Block::Cloud)
        .context(WeightsSnafu)
}
