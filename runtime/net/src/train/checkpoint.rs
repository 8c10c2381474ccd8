//! All that a run needs to go on as if it had not stopped, in one file.

use std::collections::HashMap;
use std::fs;
use std::io;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use snafu::ResultExt;

use crate::train::run::{FileSnafu, Run, TrainError, WeightsSnafu};
use crate::weights::{Tensors, decode_tensors};

const FILE: &str = "checkpoint.safetensors";
/// The one metadata entry: epochs done.
const EPOCHS: &str = "epochs";
const PARTS: [&str; 3] = ["weights.", "velocity.", "average."];

/// State after a whole number of epochs.
#[derive(Debug, PartialEq)]
pub(super) struct Checkpoint {
    pub(super) epochs: usize,
    pub(super) weights: Tensors,
    pub(super) velocities: Tensors,
    /// Empty where nothing is averaged.
    pub(super) average: Tensors,
}

impl Checkpoint {
    /// The weights that the run gives: the averaged ones where there are any.
    pub(super) fn result(self) -> Tensors {
        if self.average.is_empty() {
            self.weights
        } else {
            self.average
        }
    }

    /// Replaces the run's checkpoint in one go.
    pub(super) fn write(&self, run: &Run) -> Result<(), TrainError> {
        let mut bytes = Vec::new();
        for (part, tensors) in PARTS.iter().zip([&self.weights, &self.velocities, &self.average]) {
            for (key, values) in tensors {
                let data: Vec<u8> = values.data.iter().flat_map(|v| v.to_le_bytes()).collect();
                bytes.push((format!("{part}{key}"), &values.shape, data));
            }
        }
        let content = |error: safetensors::SafeTensorError| TrainError::Content {
            path: run.path(FILE),
            reason: error.to_string(),
        };
        let views = bytes
            .iter()
            .map(|(key, shape, data)| Ok((key, TensorView::new(Dtype::F32, (*shape).clone(), data)?)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(content)?;
        let metadata = HashMap::from([(EPOCHS.to_owned(), self.epochs.to_string())]);
        let file = safetensors::serialize(views, Some(metadata)).map_err(content)?;
        run.replace(FILE, &file)
    }

    /// The run's checkpoint, if it has one.
    pub(super) fn read(run: &Run) -> Result<Option<Self>, TrainError> {
        let path = run.path(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(source).context(FileSnafu { path }),
        };
        let epochs = SafeTensors::read_metadata(&bytes)
            .ok()
            .and_then(|(_, metadata)| metadata.metadata().as_ref()?.get(EPOCHS)?.parse().ok())
            .ok_or_else(|| TrainError::Content {
                path: path.clone(),
                reason: "it does not say how many epochs are done; remove it to begin anew".to_owned(),
            })?;
        let mut parts = [Tensors::new(), Tensors::new(), Tensors::new()];
        for (key, values) in decode_tensors(&bytes).context(WeightsSnafu)? {
            for (part, tensors) in PARTS.iter().zip(&mut parts) {
                if let Some(key) = key.strip_prefix(part) {
                    tensors.insert(key.to_owned(), values.clone());
                }
            }
        }
        let [weights, velocities, average] = parts;
        Ok(Some(Self {
            epochs,
            weights,
            velocities,
            average,
        }))
    }
}
